"""``python -m headstart``, and what ``accelerate launch -m headstart`` runs."""

from __future__ import annotations

import sys

from headstart.imports import without_collection
from headstart.kernels.memory import ask_for_huge_pages


def main() -> int:
    """Run the command line; Ctrl-C is no fault even while it is still being imported."""
    ask_for_huge_pages()
    try:
        with without_collection():
            from headstart.cli import main as run

        return run()
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        return 130


if __name__ == "__main__":
    sys.exit(main())
