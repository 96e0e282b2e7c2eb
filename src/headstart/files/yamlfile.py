"""YAML as people write it: plain values, every key of a table once, and no deeper than a page."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from typing import Any

import yaml

from headstart.errors import ConfigError, raise_all
from headstart.files.contents import UnreadableError
from headstart.files.jsonfile import DEEPEST, check_plain

MOST_VALUES = 100_000
"""Values of a document, those of an alias counted wherever it stands."""
_NOT_A_VALUE = (
    ValueError,  # a day that no month has, a number of thousands of digits
    TypeError,  # a date without its day
    AttributeError,  # a word where its tag promises a date
    LookupError,  # a word where its tag promises yes or no, nothing where it promises a number
    ArithmeticError,  # a number that no float can hold
)
"""What PyYAML lets through when a scalar is not of the kind that it looks like."""


def load_yaml(text: str, where: object, loader: type[Any] = yaml.SafeLoader) -> Any:
    """Read YAML; of a repeated key, PyYAML would take the last value in silence.

    Raises ``ConfigError`` if it cannot be read, and ``HeadstartError`` if keys are repeated; each
    is named with its lines.
    """
    reader = None
    try:
        reader = type("Reader", (_Shallow, loader), {})(text)
        node = reader.get_single_node()
        if node is None:
            return None
        _count(node, {})
        raise_all(_repeated_keys(node, where))
        values = reader.construct_document(node)
        check_plain(values, finite=False, more=(datetime.date,))
    except (yaml.YAMLError, RecursionError, *_NOT_A_VALUE) as error:
        reason = " ".join(str(error).split()) if isinstance(error, UnreadableError) else error
        raise ConfigError("a file in YAML", f"{where}: {reason}", "Mend that line.") from None
    finally:
        if reader is not None:
            reader.dispose()
    return values


class _Shallow:
    """Ends before the levels of a document exhaust the stack."""

    _level = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        """Compose a node, unless it stands too deep."""
        self._level += 1
        if self._level > DEEPEST:
            raise UnreadableError(f"nested deeper than {DEEPEST} levels")
        node = super().compose_node(parent, index)  # type: ignore[misc]
        self._level -= 1
        return node


def _count(node: Any, known: dict[int, int]) -> int:
    """Count a node's values; an alias of a list in itself, or of too many, is refused."""
    if id(node) not in known:
        known[id(node)] = MOST_VALUES + 1  # while it is counted: found again in itself
        inside = [] if isinstance(node, yaml.ScalarNode) else node.value
        if isinstance(node, yaml.MappingNode):
            inside = [part for pair in inside for part in pair]
        known[id(node)] = 1 + sum(_count(part, known) for part in inside)
    if known[id(node)] > MOST_VALUES:
        raise UnreadableError(f"more than {MOST_VALUES:,} values, by aliases of aliases")
    return known[id(node)]


def _repeated_keys(node: Any, where: object) -> Iterator[ConfigError]:
    if isinstance(node, yaml.MappingNode):
        lines: dict[str, int] = {}
        for key, value in node.value:
            line = key.start_mark.line + 1
            # In a settings file batch-size and batch_size are the same.
            name = str(key.value).replace("-", "_") if isinstance(key, yaml.ScalarNode) else ""
            if name and name in lines:
                found = f"{key.value!r} in lines {lines[name]} and {line} of {where}"
                yield ConfigError("each key once", found, "Remove one of the two.")
            lines[name] = line
            yield from _repeated_keys(value, where)
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            yield from _repeated_keys(item, where)
