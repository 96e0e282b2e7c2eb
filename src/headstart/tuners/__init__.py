"""Tuners, which train in a stage beside the head; one file each, listed without torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headstart.plugins.registry import Registry

if TYPE_CHECKING:
    from headstart.tuners._base import Tuner

TUNERS: Registry[type[Tuner]] = Registry("tuner", "headstart.tuners", "TUNER")
