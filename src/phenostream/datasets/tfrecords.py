"""TFRecord files of rxrx1-utils, or with its keys, that no export of ours describes: their sites read one by one."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from phenostream.datasets._files import local
from phenostream.datasets.coding import DTYPES
from phenostream.datasets.exporters import Example, Kind
from phenostream.datasets.exporters.tfrecord import as_example, parse, records
from phenostream.errors import NotFoundError, RecipeError, WrongDtypeError
from phenostream.formats.limits import check_claim
from phenostream.sources.names import natural

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

_ORIGINAL: Final = (6, 512, 512)
"""(C, Y, X) of every site of RxRx1, whose records do not tell it."""


def read_tfrecords(
    folder: Path | str, *, shape: tuple[int, int, int] | None = None, dtype: str = "uint8"
) -> Iterator[tuple[dict[str, Any], Example]]:
    """Every site of TFRecord files, plain or gzipped, in the order of the files' names and as they lie in them.

    Args:
        folder: of files ``*.tfrecord``, at any depth, or one such file.
        shape: (C, Y, X) of the sites; by default what the records tell (``shape``, as (Y, X, C)), and where they tell
            nothing, that of RxRx1.
        dtype: of the pixels, where the records do not tell it; the original's are ``uint8``.

    Yields:
        What the record tells (``well``, ``well_type``, ``experiment``, ``cell_type``, ``plate``, ``site``; ``sirna``
        only where it is known), with ``file`` and ``place`` in it; and the site, its pixels (C, Y, X).

    Raises:
        NotFoundError: no such file.
        DamagedError: a record fails its checksum, or holds no site of that shape.
        RecipeError: the shape is neither given nor told, and is not that of RxRx1; a URL.
        WrongDtypeError, TooLargeError: a type or a shape that is not read.
    """
    root = local(folder)
    files = [root] if root.is_file() else sorted(root.rglob("*.tfrecord"), key=lambda path: natural(path.as_posix()))
    if not files:
        raise NotFoundError(f"there is no TFRecord file below {root}", remedy="they are called *.tfrecord")
    for path in files:
        name = path.name if path == root else path.relative_to(root).as_posix()
        for place, data in enumerate(records(path)):
            features = parse(data)
            kind = _kind(features, shape, dtype, path)
            found = as_example(features, kind, path)
            yield {**found.row, "file": name, "place": place}, found


def _kind(features: Mapping[str, Any], shape: tuple[int, int, int] | None, dtype: str, path: Path) -> Kind:
    """What a record is to hold."""
    told = (features.get("dtype") or [dtype.encode()])[0]
    name = told.decode("ascii", "replace") if isinstance(told, bytes) else str(told)
    if name not in DTYPES:
        raise WrongDtypeError(f"a record of {path.name} with pixels of {name!r}", remedy=f"types: {', '.join(DTYPES)}")
    image = (features.get("image") or [b""])[0]
    size = len(image) // np.dtype(name).itemsize if isinstance(image, bytes) else 0
    c, y, x = shape or _told(features) or _original(size, path)
    check_claim((c, y, x), name, "a site")
    return Kind((c, y, x), name, ())


def _told(features: Mapping[str, Any]) -> tuple[int, int, int] | None:
    told = features.get("shape", [])
    if len(told) != 3 or not all(isinstance(one, int) and one > 0 for one in told):
        return None
    y, x, c = told
    return c, y, x


def _original(size: int, path: Path) -> tuple[int, int, int]:
    if size != math.prod(_ORIGINAL):
        raise RecipeError(
            f"a record of {path.name} holds {size:,} pixels and does not tell their shape",
            remedy="give shape=(C, Y, X)",
        )
    return _ORIGINAL
