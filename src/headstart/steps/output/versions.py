"""The versions beneath a result."""

from __future__ import annotations

import platform
from functools import cache
from importlib.metadata import PackageNotFoundError, version

PACKAGES = (
    "headstart", "torch", "transformers", "tokenizers", "accelerate", "peft", "numpy",
    "scikit-learn", "scipy", "datasets",
)  # fmt: skip


def versions() -> dict[str, str]:
    """Return the versions of Python, the platform and the libraries that shape a result."""
    own = {"python": platform.python_version(), "platform": platform.platform()}
    return own | {package: _version(package) for package in PACKAGES}


@cache
def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
