"""YAML in which every key of a table stands once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import yaml

from headstart.errors import ConfigError, raise_all


def load_yaml(text: str, where: object, loader: type[Any] = yaml.SafeLoader) -> Any:
    """Read YAML; of a repeated key, PyYAML would take the last value in silence.

    Args:
        text: The document.
        where: What messages call it.
        loader: A safe loader of PyYAML.

    Returns:
        Plain data.

    Raises:
        ConfigError: If it cannot be read.
        HeadstartError: If keys are repeated; each is named with its lines.
    """
    reader = loader(text)
    try:
        node = reader.get_single_node()
        raise_all(_repeated_keys(node, where))
        return None if node is None else reader.construct_document(node)
    except yaml.YAMLError as error:
        raise ConfigError("a file in YAML", f"{where}: {error}", "Mend that line.") from None
    finally:
        reader.dispose()


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
