"""Settings as they stand in a file or behind ``--set``: names and values, not validated yet."""

from __future__ import annotations

import datetime
import tomllib
from pathlib import Path
from typing import Any

from headstart.errors import ConfigError
from headstart.files.contents import UnreadableError, read_text
from headstart.files.jsonfile import check_plain
from headstart.files.yamlfile import load_yaml

TRUST = "trust_remote_code"
"""The setting by which code that comes with a model may run."""
_NO = (None, False, 0, "", "0", "false", "no", "off", "n", "f", "null")


def read_settings(path: Path) -> dict[str, Any]:
    """Read settings by name, not validated yet, from a YAML or TOML file.

    Raises ``ConfigError`` if the file is missing, broken, or not a table.
    """
    try:
        text = read_text(path)
        values = _from_toml(text) if path.suffix == ".toml" else load_yaml(text, path)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError("a file in TOML", f"{path}: {error}", "Mend that line.") from None
    except (OSError, UnreadableError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ConfigError(
            "a readable settings file", f"{path}: {reason}", "Check --config."
        ) from None
    if not isinstance(values, dict):
        raise ConfigError(
            "a table of settings, one 'name: value' a line",
            f"{path} holds {'nothing' if values is None else type(values).__name__}",
            "See `headstart fit --help` for the names.",
        )
    return {str(key): value for key, value in values.items()}


def _from_toml(text: str) -> Any:
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        raise
    # A day that no month has, a number of thousands of digits, brackets by the thousand.
    except (ValueError, RecursionError) as error:
        raise UnreadableError(str(error)) from None
    check_plain(values, finite=False, more=(datetime.date, datetime.time))
    return values


def without_trust(values: Any, where: object, *, said: bool) -> Any:
    """Remove ``trust_remote_code`` from settings that were read from a disk.

    Whoever wrote the file or the folder is not the one whose machine the code would run on: the
    user says so himself, for each call. ``where`` is what a message calls the place, ``said``
    whether this call says itself if such code may run. Values come back without a word of it, in
    whatever depth. Raises ``ConfigError`` if the settings ask for it and the call says nothing.
    """
    if isinstance(values, list | tuple):
        return [without_trust(value, where, said=said) for value in values]
    if not isinstance(values, dict):
        return values
    own = [name for name in values if str(name).replace("-", "_") == TRUST]
    if not said and any(_asks(values[name]) for name in own):
        raise ConfigError(
            "--trust-remote-code in this call (in Python trust_remote_code=True)",
            f"it in {where} alone",
            "Code that comes with a model runs on your word, not on that of a file. Read the code "
            "that comes with the model, then pass --trust-remote-code, or "
            "--no-trust-remote-code to do without.",
        )
    return {
        name: without_trust(value, where, said=said)
        for name, value in values.items()
        if name not in own
    }


def _asks(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return any(map(_asks, value))
    return (value.strip().lower() if isinstance(value, str) else value) not in _NO


def read_assignments(items: tuple[str, ...] | list[str]) -> dict[str, Any]:
    """Read ``name=value`` pairs as given with ``--set``, not validated yet.

    A value stays text, which its field then reads; ``null`` takes a setting back to its default;
    ``[a, b]`` is a list, and so is ``a,b`` where one is asked for. Raises ``ConfigError`` if an
    item has no ``=``, or a setting comes twice.
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
        read = load_yaml(value, "--set")
    except ConfigError:
        return value
    return read if isinstance(read, list) else value
