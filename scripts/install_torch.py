"""Install torch into this environment, as a CPU build where there is one.

On Linux the torch of the public index brings GPU libraries of several gigabytes. This script asks
first for the CPU build, in two ways, and takes the large one only if both fail. It uses nothing
but the standard library, because it runs before anything is installed.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys

ANY = "torch>=2.6"
CPU_BUILD = "torch==2.13.0+cpu"
PIP = ("pip", "install", "--quiet", "--disable-pip-version-check")
UV = ("uv", "pip", "install", "--quiet", "--python", sys.executable)


def main() -> int:
    """Install torch unless it is there, and return the exit code."""
    asked = os.environ.get("TORCH", "").strip()
    if asked:
        return install(f"installing {asked}, as TORCH asks", *PIP, asked)
    if importlib.util.find_spec("torch"):
        print("== torch is already installed")
        return 0
    if sys.platform != "linux":
        return install("installing torch", *PIP, ANY)
    if attempt("installing the CPU build of torch (about 200 MB)", *PIP, CPU_BUILD):
        return 0
    if attempt("not on this index: installing uv, which knows another", *PIP, "uv") and attempt(
        "installing the CPU build of torch by uv", *UV, "--torch-backend", "cpu", ANY
    ):
        return 0
    return install("WARNING: installing torch with GPU libraries of several GB", *PIP, ANY)


def install(what: str, module: str, *arguments: str) -> int:
    """Say what happens and run a module of this interpreter, showing all that it says.

    Its exit code is returned.
    """
    print(f"== {what}", flush=True)
    return subprocess.run([sys.executable, "-m", module, *arguments], check=False).returncode


def attempt(what: str, module: str, *arguments: str) -> bool:
    """Do the same, but of a failure show the first error alone: there is another way.

    Whether it succeeded is returned.
    """
    print(f"== {what}", flush=True)
    command = [sys.executable, "-m", module, *arguments]
    done = subprocess.run(command, check=False, stderr=subprocess.PIPE, text=True)
    errors = [line for line in done.stderr.splitlines() if line.lower().startswith("error")]
    if done.returncode:
        print(f"   {(errors or ['failed'])[0].split(' (from')[0]}", flush=True)
    return done.returncode == 0


if __name__ == "__main__":
    sys.exit(main())
