"""JSON whose depth and numbers are what a program's records have."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from headstart.files.contents import LARGE, UnreadableError, read_bytes

DEEPEST = 100
"""Levels of lists and tables inside one another."""
_LARGEST = 2**63
_SHOWN = 120


def parse_json(data: bytes | str, *, finite: bool = True) -> Any:
    """Read JSON, text or UTF-8, into plain data.

    Whole numbers have at most 64 bits, text is such as UTF-8 can write, nothing is deeper than
    ``DEEPEST``; ``finite`` refuses infinity and what is no number. Raises ``UnreadableError`` if it
    is no JSON, or holds anything else.
    """
    try:
        values = json.loads(data if isinstance(data, str) else data.decode("utf-8-sig"))
    except RecursionError:
        raise UnreadableError(f"nested deeper than {DEEPEST} levels") from None
    # ValueError itself where a number has thousands of digits.
    except ValueError as error:
        raise UnreadableError(f"no JSON: {str(error)[:_SHOWN]}") from None
    check_plain(values, finite=finite)
    return values


def read_json(path: Path, most: int = LARGE, *, finite: bool = True) -> Any:
    """Read a JSON file of at most ``most`` bytes, as ``parse_json`` does.

    Raises ``OSError`` if it cannot be read, and ``UnreadableError`` if it is larger, or
    ``parse_json`` refuses it.
    """
    return parse_json(read_bytes(path, most), finite=finite)


def read_table(path: Path, most: int = LARGE, *, finite: bool = True) -> dict[str, Any]:
    """Read a JSON file that holds a table.

    Raises ``OSError`` if it cannot be read, and ``UnreadableError`` if it holds anything else.
    """
    values = read_json(path, most, finite=finite)
    if not isinstance(values, dict):
        raise UnreadableError(f"no JSON object but a {type(values).__name__}")
    return values


def check_plain(values: Any, *, finite: bool = True, more: tuple[type, ...] = ()) -> None:
    """Check that plain data is no deeper, and its numbers are no larger, than those of records.

    ``more`` are further types of values that are as plain. Raises ``UnreadableError`` if it is.
    """
    level = [values]
    for _ in range(DEEPEST + 1):
        inside: list[Any] = []
        for value in level:
            if isinstance(value, dict):
                inside += value.keys()
                inside += value.values()
            elif isinstance(value, list):
                inside += value
            elif not isinstance(value, more) and (fault := _fault(value, finite=finite)):
                raise UnreadableError(fault)
        if not inside:
            return
        level = inside
    raise UnreadableError(f"nested deeper than {DEEPEST} levels")


def _fault(value: Any, *, finite: bool) -> str:
    if isinstance(value, str):
        if not value.isascii() and any("\ud800" <= sign <= "\udfff" for sign in value):
            return "text with half of a surrogate pair"
    elif isinstance(value, int):
        if not -_LARGEST <= value < _LARGEST:
            return "a whole number of more than 64 bits"
    elif finite and isinstance(value, float) and not math.isfinite(value):
        return f"the number {value}"
    elif value is not None and not isinstance(value, float):
        return f"a value of the type {type(value).__name__}"
    return ""
