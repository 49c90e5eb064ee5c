"""phenostream: microscopy in, comparable numbers out, on the disk you have.

The functions here take arrays and give arrays or Arrow tables; the command line and recipes are built on the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from phenostream.lazy import on_first_use

__version__ = "0.1.0"

if TYPE_CHECKING:
    from phenostream.features import embed, measure
    from phenostream.images import fit_illumination
    from phenostream.objects import segment
    from phenostream.profiles import read_profiles
    from phenostream.report import run

__all__ = ["__version__", "embed", "fit_illumination", "measure", "read_profiles", "run", "segment"]

# Looked up on first use, so that importing the package costs next to nothing.
__getattr__ = on_first_use(
    __name__,
    {
        "segment": "objects",
        "measure": "features",
        "embed": "features",
        "fit_illumination": "images",
        "run": "report",
        "read_profiles": "profiles",
    },
)


def __dir__() -> list[str]:
    return sorted(__all__)
