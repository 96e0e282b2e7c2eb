"""Kinds of input: what a row gives the model; one file each, listed without importing torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headstart.plugins.registry import Registry

if TYPE_CHECKING:
    from headstart.inputs._base import InputKind

INPUTS: Registry[type[InputKind]] = Registry("kind of input", "headstart.inputs", "INPUT")
