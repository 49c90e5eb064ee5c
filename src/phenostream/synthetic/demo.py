"""The small archive that comes with the package: what ``phenostream demo`` streams."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from phenostream.synthetic.archive import Archive, write_archive
from phenostream.synthetic.camera import Optics
from phenostream.synthetic.plates import Design, Trouble

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

TROUBLES: Mapping[str, Trouble] = MappingProxyType({"A4": "missing", "B3": "empty", "C5": "damaged", "D2": "blurred"})
"""What goes wrong in the demonstration: two wells are rejected, one has no cells, one is out of focus."""


def demo_archive(
    folder: Path | str,
    *,
    seed: int = 0,
    rows: int = 4,
    columns: int = 6,
    shape: tuple[int, int] = (512, 512),
    nuclei: int = 60,
) -> Archive:
    """Write one plate of `rows` x `columns` wells, one field each, DNA and GFP, unevenly lit, 16 bits.

    GFP moves into the nucleus with the dose (from column 2 on; controls in the first and the last column). Of the wells
    in ``TROUBLES`` those are used that the plate has.

    Args:
        folder: absent or empty; gets ``archive``, ``tables`` and ``truth``.
        seed: of everything.
        rows: of wells.
        columns: of wells, at least 2.
        shape: (Y, X) of a field, px.
        nuclei: about so many in an untreated field.

    Raises:
        RecipeError: the folder is not empty.
    """
    design = Design(
        name="DEMO01_01", rows=rows, columns=columns, shape=shape, nuclei=nuclei, seed=seed,
        troubles=TROUBLES, optics=Optics(vignetting=0.5),
    )  # fmt: skip
    return write_archive(folder, [design])
