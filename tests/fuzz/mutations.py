"""Changes that a failing disk, a hasty editor or somebody who means harm makes to a file."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable, Iterator
from typing import Any

import yaml

ODD: tuple[Any, ...] = (
    None, True, False, 0, -1, 3, 10**9, 2**63, 10**400, 0.5, -0.0, 1e308, float("nan"),
    float("inf"), "", "x", "0", "nan", "1e400", "../../etc/passwd", "a\x00b", "\ud800", "\x1b[31m",
    "\u202eabc", "=1+1", "é" * 300, "x" * 20_000, [], {}, [None], [[]], [1, "x"], {"": None},
    {"a": {"b": []}}, [{}] * 30,
)  # fmt: skip
"""Values that stand where others belong."""
WHOLE: tuple[bytes, ...] = (
    b"", b" ", b"\n", b"\x00", b"null", b"[]", b"{}", b"3", b'"x"', b"{", b"[" * 50_000,
    b'{"a":' * 50_000, b"[" * 900 + b"]" * 900, b"9" * 6_000, b'{"a": ' + b"9" * 6_000 + b"}",
    b"\xff\xfe\x00", b"\xef\xbb\xbf{}", "é".encode("latin-1"), "{}".encode("utf-16"),
    b"\x93NUMPY\x01\x00", b"PK\x03\x04", b"\x1f\x8b\x08", b"\xff" * 64, b"\x00" * 4096,
    b"- " * 9_000, b"a: &a [*a]", b"a: 2020-13-45", b"a: 0x", b"a: 190:20:30e1",
    b"? {a: b}\n: c", b"%YAML 9.9\n---\n", b"a: !!binary x", b"a: !!timestamp x", b"a: !!int x",
    b"a: !!int", b"a: !!float x", b"a: !!bool x", b"a: !!set {b, c}", b"<<: 3", b"a: =",
    b"\xc2\x85a: 1", b"&a [x, *a, *a, x]", b"{? [1]: 2}", b"a: ~\n~: b", b"a = 2020-13-45",
    b"a = " + b"9" * 6_000, b"a = " + b"[" * 9_000,
)  # fmt: skip
"""Files that are something else altogether."""
BOMB = "\n".join(["a0: &a0 [x, x]", *(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]" for n in range(1, 40))])
"""YAML that is small on the disk and huge in memory, if every alias is written out."""


SIGNS = [bytes([sign]) for sign in b'{}[]:,&*!|>%@`"\t\n0\x00\xff']
"""Bytes that mean something to a parser."""


def bytes_changed(data: bytes, draw: random.Random) -> bytes:
    """Change a few bytes of a file."""
    kind, place = draw.randrange(6), draw.randrange(len(data) + 1)
    if kind == 0:
        return data[:place]
    if kind == 1:
        return data[place:]
    if kind == 2:
        return data[:place] + bytes(draw.randrange(256) for _ in range(8)) + data[place:]
    if kind == 3:
        return data[:place] + data[place + draw.randrange(1, 40) :]
    if kind == 4:
        return data[:place] + draw.choice(SIGNS) + data[place + 1 :]
    changed = bytearray(data)
    for _ in range(draw.randrange(1, 6)):
        if changed:
            changed[draw.randrange(len(changed))] ^= 1 << draw.randrange(8)
    return bytes(changed)


def _places(values: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    several = isinstance(values, dict | list)
    inside = values.items() if isinstance(values, dict) else enumerate(values if several else ())
    for key, value in inside:
        yield from _places(value, (*path, key))


def value_changed(values: Any, draw: random.Random) -> Any:
    """Put something odd in the place of a value, take it out, or add one."""
    changed = copy.deepcopy(values)
    path = draw.choice(list(_places(changed)))
    odd = copy.deepcopy(draw.choice(ODD))
    if not path:
        return odd
    inside = changed
    for key in path[:-1]:
        inside = inside[key]
    kind = draw.randrange(8)
    if kind == 0:
        del inside[path[-1]]
    elif kind == 1 and isinstance(inside, dict):
        inside[draw.choice(["", "x", "__class__", "é", "a\nb", "-"])] = odd
    elif kind == 1:
        inside.append(odd)
    elif kind == 2:
        for _ in range(110):
            odd = [odd]
        inside[path[-1]] = odd
    else:
        inside[path[-1]] = odd
    return changed


def as_json(values: Any) -> bytes:
    """Write JSON as it comes, half surrogates and what is no number included."""
    try:
        return json.dumps(values).encode("utf-8", "surrogatepass")
    except RecursionError:
        return b"[" * 3_000 + b"]" * 3_000


def as_yaml(values: Any) -> bytes:
    """Write YAML, or JSON where YAML cannot."""
    try:
        return yaml.safe_dump(values).encode("utf-8", "surrogatepass")
    except (yaml.YAMLError, RecursionError, UnicodeError):
        return as_json(values)


Write = Callable[[Any], bytes]


def changed(
    data: bytes, values: Any, write: Write | None, draw: random.Random, number: int
) -> bytes:
    """Return the file with a change: first all of ``WHOLE``, then those of values and of bytes."""
    if number < len(WHOLE):
        return WHOLE[number]
    if number == len(WHOLE):
        return BOMB.encode()
    if write is None or number % 2:
        return bytes_changed(data, draw)
    found = values
    for _ in range(draw.choice([1, 1, 1, 2, 3])):
        found = value_changed(found, draw)
    return write(found)
