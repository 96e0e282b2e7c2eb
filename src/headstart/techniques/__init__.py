"""Techniques, which act inside a stage, as in ``full+mixout``; one file each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headstart.plugins.registry import Registry

if TYPE_CHECKING:
    from headstart.techniques._base import Technique

TECHNIQUES: Registry[type[Technique]] = Registry("technique", "headstart.techniques", "TECHNIQUE")
