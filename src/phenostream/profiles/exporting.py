"""Export: the cells of a run or file as what other tools open. A format is a module of ``profiles/exporters``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol, cast

from pydantic import BaseModel, ValidationError

from phenostream.errors import RecipeError
from phenostream.values.plugs import Plugs

if TYPE_CHECKING:
    from collections.abc import Callable

_PLUGS = Plugs("phenostream.profiles.exporters", "phenostream.exporters", "export format")


class Exporter(Protocol):
    """What a module of ``profiles/exporters`` offers: its settings, and one function."""

    Settings: type[BaseModel]
    write: Callable[[Path, Any, Any], list[Path]]


def export_formats() -> list[str]:
    """Names of all export formats, sorted."""
    return list(_PLUGS.names())


def export(
    run: str | Path,
    format: str,  # noqa: A002
    out: str | Path | BinaryIO,
    *,
    batch_size: int = 10,
    **options: Any,
) -> list[Path]:
    """Write the profiles of `run` in another format, streaming: memory holds a few parts at a time.

    Every file appears whole under its name or not at all.

    Args:
        run: run folder (``idrstream`` needs one), or Parquet file of profiles.
        format: ``parquet``, ``csv``, ``idrstream``, ``anndata``, or one that a plug-in brings.
        out: the file to write (a folder for ``idrstream``); ``csv`` also takes a binary stream.
        batch_size: fields a ``batch_N.csv.gz``; of no meaning to the others.
        options: settings of that format.

    Returns:
        The files written.

    Raises:
        RecipeError: unknown format or option, or a folder that holds other files.
        NotFoundError: no profiles there, or a column that the format must have is not.
        MissingExtraError: the format needs a package that is not installed.
        DiskFullError: no room; what stood at `out` before is untouched.
    """
    module = _exporter(format)
    if "batch_size" in module.Settings.model_fields:
        options["batch_size"] = batch_size
    try:
        settings = module.Settings.model_validate(options)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        known = ", ".join(module.Settings.model_fields) or "none"
        raise RecipeError(f"export {format}: option {place!r}: {first['msg']}", remedy=f"options: {known}") from error
    return module.write(Path(run), out if hasattr(out, "write") else Path(str(out)), settings)


def _exporter(name: str) -> Exporter:
    return cast("Exporter", _PLUGS.load(name))
