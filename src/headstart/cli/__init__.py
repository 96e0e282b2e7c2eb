"""The command line. Importing it is light: each command imports what it needs when it runs."""

from __future__ import annotations

from headstart.cli.shared.app import app
from headstart.cli.shared.main import main

__all__ = ["app", "main"]
