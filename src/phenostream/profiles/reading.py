"""Foreign tables by name or by look, as rows with roles. A format is a module of ``profiles/readers``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

from pydantic import BaseModel, ValidationError

from phenostream.errors import NotFoundError, RecipeError
from phenostream.profiles.tables import open_table
from phenostream.values import recipes
from phenostream.values.plugs import Plugs

if TYPE_CHECKING:
    from collections.abc import Callable

    from phenostream.profiles.tables import Source

GROUP = "phenostream.profile_readers"
_PLUGS = Plugs("phenostream.profiles.readers", GROUP, "profile format")


class ProfileReader(Protocol):
    """What a module of ``profiles/readers`` offers."""

    Settings: type[BaseModel]
    recognises: Callable[[Path], bool]
    read: Callable[[Path, Any], Source]


def reader_names() -> tuple[str, ...]:
    """Every format that can be imported, sorted."""
    return _PLUGS.names()


def read_foreign(path: str | Path, format: str = "auto", **options: Any) -> Source:  # noqa: A002
    """Rows of another program's table, with a role on every column.

    Args:
        path: file or folder.
        format: ``cellprofiler_csv``, ``cellprofiler_sqlite``, ``deepprofiler``, ``idrstream``, ``table`` (CSV and
            Parquet), ``anndata``; ``auto`` takes the one that recognises it. Run folders and Parquet files of this
            package are known, too.
        options: settings of that format.

    Returns:
        A source that streams; :func:`phenostream.profiles.tables.write_table` makes it a Parquet file.

    Raises:
        NotFoundError: nothing there.
        RecipeError: unknown format or option, or nothing recognises it.
        DamagedError: the bytes are not what the format says.
    """
    where = Path(path)
    if not where.exists():
        raise NotFoundError(f"nothing at {where}", remedy="give a table, or the folder that a program wrote")
    if format == "auto" and (where / "ledger.db").is_file():
        return open_table(where)
    module = _reader(_recognised(where) if format == "auto" else format)
    try:
        settings = module.Settings.model_validate(options)
    except ValidationError as error:
        raise RecipeError(f"reader: {recipes.faults(error, most=1)}") from error
    return module.read(where, settings)


def _recognised(path: Path) -> str:
    for name in reader_names():
        if _reader(name).recognises(path):
            return name
    raise RecipeError(f"cannot tell what {path} is", remedy=f"name its format: {', '.join(reader_names())}")


def _reader(name: str) -> ProfileReader:
    return cast("ProfileReader", _PLUGS.load(name))
