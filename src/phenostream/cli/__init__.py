"""The door: commands that parse, call one function, and print."""

from __future__ import annotations

import sys


def main() -> None:
    """Entry point of the command ``phenostream``."""
    from phenostream.cli.app import app  # noqa: PLC0415
    from phenostream.cli.exits import guarded  # noqa: PLC0415

    sys.exit(guarded(app))
