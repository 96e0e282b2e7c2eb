"""Keep the processor's memory between operations.

The C library of Linux gives every block above 32 MB back to the system when it is freed and asks
for it anew a moment later; the system then clears it in pages of 4 KB. For the activations of a
training step that can take longer than the arithmetic on them.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import sys
from collections.abc import Iterator

_TRIM_THRESHOLD, _MMAP_MAX = -1, -4  # from malloc.h
_DEFAULTS = {_TRIM_THRESHOLD: 128 * 1024, _MMAP_MAX: 65536}
_KEEP = {_TRIM_THRESHOLD: 2**31 - 1, _MMAP_MAX: 0}


def ask_for_huge_pages() -> None:
    """Let torch put large tensors into pages of 2 MB, where Linux offers them.

    Torch reads this once, when it is imported: a process that has torch already is left alone. What
    the user has set stays.
    """
    if sys.platform == "linux" and "torch" not in sys.modules:
        os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")


@contextlib.contextmanager
def kept_memory() -> Iterator[None]:
    """Keep freed memory in the process while a block runs; afterwards it goes back to the system.

    Without the GNU C library nothing is changed.
    """
    library = _gnu_library()
    if library is None:
        yield
        return
    for name, value in _KEEP.items():
        library.mallopt(name, value)
    try:
        yield
    finally:
        for name, value in _DEFAULTS.items():
            library.mallopt(name, value)
        library.malloc_trim(0)


def _gnu_library() -> ctypes.CDLL | None:
    if platform.libc_ver()[0] != "glibc":
        return None
    library = ctypes.CDLL(None)
    return library if hasattr(library, "mallopt") and hasattr(library, "malloc_trim") else None
