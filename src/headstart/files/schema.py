"""Records from a file, each field of the type that it is declared with."""

from __future__ import annotations

import functools
from collections.abc import Hashable
from typing import Annotated, Any, TypeVar, cast

from pydantic import AfterValidator, BeforeValidator, TypeAdapter, ValidationError

from headstart.files.contents import UnreadableError

T = TypeVar("T")
_SHOWN = 60


def _numbers(values: Any) -> Any:
    """Replace the ``null`` that JSON has for NaN."""
    if not isinstance(values, dict):
        return values
    return {name: float("nan") if value is None else value for name, value in values.items()}


Scores = Annotated[dict[str, float], BeforeValidator(_numbers)]
"""Numbers by name, of which any may be none in a file."""


def known(**types: type) -> Any:
    """Make a validator for ``Annotated``: of an open table, some of whose fields' types are known.

    A field may be missing or ``None``.
    """

    def check(values: dict[str, Any]) -> dict[str, Any]:
        for name, kind in types.items():
            value = values.get(name)
            if value is not None and (not isinstance(value, kind) or isinstance(value, bool)):
                raise ValueError(f"{name} is no {kind.__name__}")
        return values

    return AfterValidator(check)


def as_record(kind: type[T], values: Any) -> T:
    """Make a record of plain data.

    Raises ``UnreadableError`` if a field is missing or of another type; it is named.
    """
    try:
        return cast(T, _adapter(cast(Hashable, kind)).validate_python(values))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        found = "" if first["type"] == "missing" else f", found {repr(first['input'])[:_SHOWN]}"
        raise UnreadableError(f"{place or 'the whole'}: {first['msg'].lower()}{found}") from None


@functools.cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)
