"""What several commands have alike: options, and the frame of a group of commands."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from phenostream.cli import exits

#: What a repeatable option holds that is not given.
NOTHING: list[str] = []

Json = Annotated[bool, typer.Option("--json", help="Print one JSON value for scripts.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress bar.")]
Schema = Annotated[bool, typer.Option("--schema", help="Print the JSON Schema of recipes.")]
Settings = Annotated[list[str], typer.Option("--set", metavar="KEY=VALUE", help="A setting (YAML value); repeatable.")]

Images = Annotated[list[Path], typer.Argument(help="One image a channel, then the label image.", show_default=False)]
Channels = Annotated[str | None, typer.Option(help="Channel names, comma separated.", show_default=False)]
TableOut = Annotated[Path, typer.Option("--out", "-o", help="Table to write: .parquet or .csv.", show_default=False)]


def group(name: str, told: str, *, epilog: str | None = exits.HELP) -> typer.Typer:
    """A group of commands that shows its help where nothing is asked; `told` is its line of help."""
    return typer.Typer(
        name=name,
        help=told,
        epilog=epilog,
        no_args_is_help=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )


def words(text: str | None) -> list[str] | None:
    """Words that commas part; None where none are given."""
    return [word.strip() for word in text.split(",")] if text else None
