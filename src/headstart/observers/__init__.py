"""Observers, which measure something in a run beside its scores; one file each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from headstart.plugins.registry import Registry

if TYPE_CHECKING:
    from headstart.steps.callback import Observer

OBSERVERS: Registry[type[Observer]] = Registry("observer", "headstart.observers", "OBSERVER")


def observer(measure: Mapping[str, Any]) -> Observer:
    """Make an observer of its ``name`` and its options.

    Raises ``ConfigError`` if there is none of that name.
    """
    options = {name: value for name, value in measure.items() if name != "name"}
    return OBSERVERS.get(measure["name"])(**options)
