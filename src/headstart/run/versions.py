"""The versions beneath a result."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

PACKAGES = (
    "headstart", "torch", "transformers", "tokenizers", "accelerate", "peft", "numpy",
    "scikit-learn", "scipy", "datasets",
)  # fmt: skip


def versions() -> dict[str, str]:
    """Return the versions of Python, the platform and the libraries that shape a result."""
    found = {"python": platform.python_version(), "platform": platform.platform()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found
