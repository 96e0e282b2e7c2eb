"""Tensors and arrays, looked at before any memory is taken for them."""

from __future__ import annotations

import io
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headstart.files.contents import UnreadableError

if TYPE_CHECKING:
    import numpy.typing as npt
    import torch

_SHOWN = 200
_HEADER = 10_000  # characters of a header of numpy's


def read_tensors(path: Path) -> dict[str, torch.Tensor]:
    """Read a safetensors file: tensors by name, on the CPU.

    Raises ``OSError`` if it cannot be read, and ``UnreadableError`` if it is cut off or damaged.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if path.exists() and not path.is_file():
        raise UnreadableError("no file")
    try:
        return load_file(path)  # type: ignore[no-any-return]
    # A type of number that torch has not (KeyError), a shape that the bytes do not fill.
    except (SafetensorError, ValueError, TypeError, KeyError, RuntimeError) as error:
        raise UnreadableError(f"no safetensors: {' '.join(str(error).split())[:_SHOWN]}") from None


def parse_array(data: bytes) -> npt.NDArray[Any]:
    """Read an array of numbers in the form of ``.npy``.

    A header that asks for more than there is, is refused, not believed. Raises ``UnreadableError``
    if it is cut off, damaged, or holds anything but numbers.
    """
    import numpy as np

    file = io.BytesIO(data)
    try:
        major, _ = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if major == 1 else (
            np.lib.format.read_array_header_2_0
        )  # fmt: skip
        shape, _, kind = read(file, max_header_size=_HEADER)
        if kind.kind not in "biuf":
            raise UnreadableError(f"an array of {kind}")
        if math.prod(shape) * kind.itemsize != len(data) - file.tell():
            raise UnreadableError("an array that the file's size does not fit")
        return np.load(io.BytesIO(data), allow_pickle=False, max_header_size=_HEADER)  # type: ignore[no-any-return]
    except UnreadableError:
        raise
    except Exception as error:  # noqa: BLE001  the header is a piece of Python, read as such
        raise UnreadableError(f"no array: {' '.join(str(error).split())[:_SHOWN]}") from None
