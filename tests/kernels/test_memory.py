"""Settings of the allocator: put back afterwards, and never forced on the user."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from headstart.kernels import memory


class Library:
    """Stands for the C library and writes down what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[int, int]] = []
        self.trimmed = 0

    def mallopt(self, name: int, value: int) -> int:
        self.told.append((name, value))
        return 1

    def malloc_trim(self, _pad: int) -> int:
        self.trimmed += 1
        return 1


def test_memory_is_kept_inside_and_given_back_after(monkeypatch: pytest.MonkeyPatch) -> None:
    library = Library()
    monkeypatch.setattr(memory, "_gnu_library", lambda: library)
    with pytest.raises(KeyError), memory.kept_memory():
        assert library.told == [(-1, 2**31 - 1), (-4, 0)]
        assert library.trimmed == 0
        raise KeyError
    assert library.told[2:] == [(-1, 128 * 1024), (-4, 65536)]
    assert library.trimmed == 1


def test_without_the_gnu_library_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory.platform, "libc_ver", lambda: ("", ""))
    with memory.kept_memory():
        pass


@pytest.mark.skipif(sys.platform != "linux", reason="huge pages are asked for on Linux only")
def test_huge_pages_are_asked_for_before_torch_comes_and_the_user_decides() -> None:
    clean = {k: v for k, v in os.environ.items() if k != "THP_MEM_ALLOC_ENABLE"}
    # It ends where torch would be imported: what is there must have been there before.
    code = """
import os, sys
class Told(Exception): pass
class Finder:
    def find_spec(self, name, *_):
        if name == "torch":
            raise Told(os.environ["THP_MEM_ALLOC_ENABLE"])
sys.meta_path.insert(0, Finder())
import headstart
try:
    headstart.fit
except Told as told:
    print(told)
"""
    for given, expected in (({}, "1"), ({"THP_MEM_ALLOC_ENABLE": "0"}, "0")):
        done = subprocess.run(
            [sys.executable, "-c", code], env={**clean, **given}, capture_output=True, text=True,
            check=True,
        )  # fmt: skip
        assert done.stdout.strip() == expected
