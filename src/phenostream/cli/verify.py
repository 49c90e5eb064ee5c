"""What the command ``verify`` does."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from phenostream.cli.show import console, duration, first, size
from phenostream.stream.verify import repair, verify

if TYPE_CHECKING:
    from pathlib import Path

    from phenostream.stream.verify import Repair, Verification


def act(folder: Path, *, mend: bool, recipe: Path | None, show: bool) -> tuple[dict[str, Any], bool]:
    """Verify a run folder, mend it where asked: what there is to tell, and whether all is well now.

    With `show`, it is told on the screen too.
    """
    found = verify(folder)
    if show:
        _show(found)
    told: dict[str, Any] = _plain(found)
    if not (mend and found.faults):
        return told, not found.faults
    mended = repair(found, recipe)
    if show:
        _show_repair(mended)
    return told | {"repair": _plain_repair(mended)}, not mended.after.faults


def _plain(found: Verification) -> dict[str, Any]:
    return dataclasses.asdict(found) | {"units": dict(found.units), "sound": not found.faults}


def _plain_repair(mended: Repair) -> dict[str, Any]:
    return {
        "recomputed": list(mended.recomputed),
        "refitted": mended.refitted,
        "changed": list(mended.changed),
        "after": _plain(mended.after),
    }


def _show(found: Verification) -> None:
    console.print(
        f"{found.parts:,} parts and {found.fits:,} illumination models, {size(found.bytes)},"
        f" hashed in {duration(found.seconds)}: {len(found.faults):,} faults"
    )
    rows = [
        (one.kind, one.plate, one.well, one.site, str(one.frame or ""), one.path, one.message) for one in found.faults
    ]
    first(("fault", "plate", "well", "site", "frame", "file", "what"), rows)


def _show_repair(mended: Repair) -> None:
    console.print(
        f"computed anew: {len(mended.recomputed):,} units, {mended.refitted:,} illumination models;"
        f" {len(mended.after.faults):,} faults left"
    )
    if mended.changed:
        console.print(
            f"{len(mended.changed):,} of them gave other bytes than before: an input or a library has changed since"
        )
