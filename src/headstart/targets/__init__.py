"""Kinds of target: what a label is; one file each, listed without importing torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headstart.plugins.registry import Registry

if TYPE_CHECKING:
    from headstart.targets._base import TargetKind

TARGETS: Registry[type[TargetKind]] = Registry("kind of target", "headstart.targets", "TARGET")
