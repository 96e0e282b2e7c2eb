"""Two processes that train together."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import forked
import headstart


def forked_twice(code: str, *words: object) -> None:
    """Run code in two processes at once, without the launcher and without its imports.

    ``words`` are what it finds in ``sys.argv[1:]``.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    common = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    both = [
        forked.Forked(code, *words, RANK=rank, LOCAL_RANK=rank, LOCAL_WORLD_SIZE="2", **common)
        for rank in "01"
    ]
    for process in both:
        _, errors = process.communicate()
        assert process.returncode == 0, errors


def two_processes(script: str, folder: Path, argument: Path, *paths: Path) -> str:
    """Run a script twice at once, on the processor, and return what it prints.

    With ``--cpu`` accelerate starts a single process; ``--multi_gpu`` starts several anywhere, and
    the script's own setting of the device keeps them on the processor. The script is written to
    ``folder`` and works there; ``paths`` are what it imports from, beside headstart's.
    """
    (folder / "child.py").write_text(script)
    command = [
        sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2",
        "--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no",
        "--main_process_port", "0", str(folder / "child.py"), str(argument),
    ]  # fmt: skip
    path = os.pathsep.join(map(str, (Path(headstart.__file__).parent.parent, *paths)))
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=300, check=False, cwd=folder,
        env=os.environ | {"PYTHONPATH": path},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout
