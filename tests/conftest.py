"""What holds for every test: no network, one thread a process, no traces in the user's caches."""

from __future__ import annotations

import atexit
import gc
import os
import shutil
import signal
import sys
import tempfile
from typing import Any

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # Whoever starts the tests in the background has Ctrl-C ignored, by all processes below too.
    signal.signal(signal.SIGINT, signal.default_int_handler)

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

import pytest  # noqa: E402
import torch  # noqa: E402
from hypothesis import settings  # noqa: E402  after the environment is set

import forked  # noqa: E402
from headstart.study.running import executors  # noqa: E402

executors.START = forked.CONTEXT.get_start_method()
# A processor that multiplies bf16 natively would take it: results are compared by more digits.
for probe in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"):
    setattr(torch.cpu, probe, bool)
torch.ops.mkldnn._is_mkldnn_bf16_supported = bool
# To wait for the disk is a fifth of a tiny run. Whether it is asked for is tested by itself, and
# the processes that are killed in tests do wait.
os.fsync = lambda _: None

# The same cases on every machine: a failure elsewhere is a failure here.
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.load_profile("repeatable")

SOLVER, ITERATIONS = "headstart.training.frozen.solve", 5
"""To fit a head to its optimum takes nine tenths of a tiny run by default, so it is only begun:
tests that are about the optimum are marked with it."""
SAVING = "headstart.models.checkpoints.saving"
"""To read a saved model back takes a tenth of a tiny run, so each process does it for the first one
of each form, and wherever a test sees to it that something else is read."""
MODULES = 100
"""New ones after which what is imported is put aside again."""
_known = _iterations = 0
_compare: Any = None
_load: Any = None
_forms: set[Any] = set()


def _compare_once(model: Any, *rest: Any) -> None:
    tensors = model.state_dict().items()
    problem = getattr(model.config, "problem_type", None)
    form = (type(model), problem, *((name, tensor.shape, tensor.dtype) for name, tensor in tensors))
    if form not in _forms or sys.modules[SAVING].load_saved is not _load:
        _compare(model, *rest)
        _forms.add(form)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Say how much of a run is cut short, and spare the garbage collector what is imported."""
    global _known, _iterations, _compare, _load  # noqa: PLW0603  one process, one collector
    if solver := sys.modules.get(SOLVER):
        _iterations = _iterations or solver.ITERATIONS
        solver.ITERATIONS = _iterations if item.get_closest_marker("optimum") else ITERATIONS
    if saving := sys.modules.get(SAVING):
        _compare, _load = _compare or saving._compare, _load or saving.load_saved
        saving._compare = _compare_once
    if len(sys.modules) > _known + MODULES:
        _known = len(sys.modules)
        gc.collect()
        gc.freeze()
