"""What holds for every test: no network, one thread a process, no traces in the user's caches."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile

CACHE = tempfile.mkdtemp(prefix="headstart-tests-")
atexit.register(shutil.rmtree, CACHE, ignore_errors=True)

# Read when the libraries are imported, so set before any test module is; subprocesses inherit it.
os.environ.update(
    HF_HOME=CACHE,
    HEADSTART_CACHE=CACHE,
    HF_HUB_OFFLINE="1",
    HF_DATASETS_OFFLINE="1",
    TRANSFORMERS_OFFLINE="1",
    TOKENIZERS_PARALLELISM="false",
    OMP_NUM_THREADS="1",
    MKL_NUM_THREADS="1",
    COLUMNS="160",  # tables are not folded, whatever terminal the tests run in
)

from hypothesis import settings  # noqa: E402  after the environment is set

# The same cases on every machine: a failure elsewhere is a failure here.
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.load_profile("repeatable")
