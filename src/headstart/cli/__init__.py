"""The command line. Importing it is light: each command imports what it needs when it runs."""

from __future__ import annotations

from headstart.cli._app import app
from headstart.cli._main import main

__all__ = ["app", "main"]
