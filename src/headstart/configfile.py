"""Settings as they stand in a file or behind ``--set``: names and values, not validated yet."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import yaml

from headstart.errors import ConfigError
from headstart.files.yamlfile import load_yaml


def read_settings(path: Path) -> dict[str, Any]:
    """Read settings from a YAML or TOML file.

    Args:
        path: File whose top level is a table of settings.

    Returns:
        Settings by name, not validated yet.

    Raises:
        ConfigError: If the file is missing, broken, or not a table.
    """
    try:
        text = path.read_text(encoding="utf-8")
        values = tomllib.loads(text) if path.suffix == ".toml" else load_yaml(text, path)
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ConfigError(
            "a readable settings file", f"{path}: {reason}", "Check --config."
        ) from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError("a file in TOML", f"{path}: {error}", "Mend that line.") from None
    if not isinstance(values, dict):
        raise ConfigError(
            "a table of settings, one 'name: value' a line",
            f"{path} holds {'nothing' if values is None else type(values).__name__}",
            "See `headstart fit --help` for the names.",
        )
    return {str(key): value for key, value in values.items()}


def read_assignments(items: tuple[str, ...] | list[str]) -> dict[str, Any]:
    """Read ``name=value`` pairs as given with ``--set``.

    Args:
        items: The pairs. A value stays text, which its field then reads; ``null`` takes a setting
            back to its default; ``[a, b]`` is a list, and so is ``a,b`` where one is asked for.

    Returns:
        Settings by name, not validated yet.

    Raises:
        ConfigError: If an item has no ``=``, or a setting comes twice.
    """
    values: dict[str, Any] = {}
    for item in items:
        name, equals, value = item.partition("=")
        if not equals:
            raise ConfigError("--set name=value", repr(item), "Put '=' between the two.")
        field = name.strip().replace("-", "_")
        if field in values:
            raise ConfigError(f"one --set of {field}", "several", "Keep the one that you mean.")
        values[field] = _assigned(value.strip())
    return values


def _assigned(value: str) -> str | list[Any] | None:
    if value == "null":
        return None
    if not value.startswith("["):
        return value
    try:
        read = yaml.safe_load(value)
    except yaml.YAMLError:
        return value
    return read if isinstance(read, list) else value
