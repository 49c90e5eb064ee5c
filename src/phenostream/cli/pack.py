"""The commands ``pack`` and ``unpack``: a screen becomes a pack, and a pack what other tools read."""

from __future__ import annotations

import dataclasses
from contextlib import closing, nullcontext
from typing import TYPE_CHECKING, Annotated, Any

import typer

from phenostream.cli import exits, typed
from phenostream.cli.options import NOTHING, Json, Quiet
from phenostream.cli.progress import bar, of_count
from phenostream.cli.show import SHOWN, as_json, console, first, size

if TYPE_CHECKING:
    from phenostream.datasets import Audit, Estimate, Finding, Packed, Verified
    from phenostream.datasets.looking import Kind

EPILOG = (
    "\b\nExamples:\n  phenostream pack screen.yaml --audit                    (what is wrong with it)\n"
    "  phenostream pack screen.yaml --dry-run                  (what it would take)\n"
    "  phenostream pack screen.yaml --out screen-pack          (again: goes on where it was)\n"
    "  phenostream pack plate7/ --out plate7-pack --set source.preset=imagexpress\n"
    "  phenostream pack --verify screen-pack                   (or its URL)"
)
UNPACK_EPILOG = (
    "\b\nExamples:\n  phenostream unpack screen-pack --format tfrecord --out tfrecords\n"
    "  phenostream unpack screen-pack --format tfrecord --set strategy=by_exp_plate_site --out tfrecords\n"
    "  phenostream unpack screen-pack --format ome_zarr --out plates"
)

# Words and not paths: `Path` makes s3:/bucket of s3://bucket.
Source = Annotated[
    str,
    typer.Argument(
        help="Recipe (YAML) with source and pack, or a folder of images; with --verify, folder or URL of a pack.",
        show_default=False,
    ),
]
Set = Annotated[list[str], typer.Option("--set", metavar="KEY=VALUE", help="Override a setting; repeatable.")]
Workers = Annotated[int, typer.Option(help="Processes; 0 is one a core.")]


def pack(  # noqa: PLR0913
    source: Source,
    *,
    out: Annotated[str | None, typer.Option("--out", "-o", help="Folder of the pack.", show_default=False)] = None,
    audit: Annotated[bool, typer.Option("--audit", help="Read every site, say what is wrong, write nothing.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what packing would take; write nothing.")] = False,
    verify: Annotated[bool, typer.Option("--verify", help="Hash the pack SOURCE again; name what is wrong.")] = False,
    set_: Set = NOTHING,
    workers: Workers = 1,
    quiet: Quiet = False,
    json_: Json = False,
) -> None:
    """Pack a screen: shards of whole sites and an index, in which any site is one read."""
    if verify:
        _verify(source, workers, quiet=quiet, json_=json_)
    elif audit:
        _audit(source, set_, workers, quiet=quiet, json_=json_)
    elif dry_run:
        _dry_run(source, set_, json_=json_)
    elif out is None:
        raise typer.BadParameter("--out is missing (or --audit, --dry-run, --verify)")
    else:
        _pack(source, out, set_, workers, quiet=quiet, json_=json_)


def unpack(
    pack: Annotated[str, typer.Argument(help="Folder or URL of a pack.", show_default=False)],
    *,
    format_: Annotated[str, typer.Option("--format", "-f", help="tfrecord, webdataset, ome_zarr or huggingface.")],
    out: Annotated[str, typer.Option("--out", "-o", help="Folder to write.", show_default=False)],
    set_: Set = NOTHING,
    workers: Workers = 1,
    quiet: Quiet = False,
    json_: Json = False,
) -> None:
    """Write the sites of a pack in the format of another tool; run it again after any stop."""
    from phenostream.datasets import export, open_pack  # noqa: PLC0415

    settings = {"format": format_, **typed.pairs(set_)}
    with _executor(workers) as executor, _bar("files", quiet=quiet or json_) as progress:
        told = export(open_pack(pack), out, settings, executor=executor, progress=progress)
    if json_:
        as_json(dataclasses.asdict(told))
    else:
        console.print(f"{told.sites:,} sites in {len(told.files):,} files, {size(told.bytes)}, in {told.folder}")
        if told.left_out:
            console.print(f"{told.left_out:,} sites are left out by the settings (controls, faults)", style="dim")


def _pack(source: str, out: str, overrides: list[str], workers: int, *, quiet: bool, json_: bool) -> None:
    from phenostream.datasets import open_screen, pack  # noqa: PLC0415
    from phenostream.datasets.recipe import load  # noqa: PLC0415

    recipe = load(source, overrides)
    screen = open_screen(recipe.source)
    with _executor(workers) as executor, _bar("shards", quiet=quiet or json_) as progress:
        told = pack(screen, out, settings=recipe.pack, executor=executor, progress=progress)
    as_json(_plain_packed(told)) if json_ else _show_packed(told)
    if told.findings:
        raise typer.Exit(exits.INCOMPLETE)


def _audit(source: str, overrides: list[str], workers: int, *, quiet: bool, json_: bool) -> None:
    from phenostream.datasets import audit, open_screen  # noqa: PLC0415
    from phenostream.datasets.recipe import load  # noqa: PLC0415

    recipe = load(source, overrides)
    screen = open_screen(recipe.source)
    with _executor(workers) as executor, _bar("sites", quiet=quiet or json_) as progress:
        told = audit(screen, settings=recipe.pack, executor=executor, progress=progress)
    as_json(dataclasses.asdict(told) | {"reasons": told.reasons}) if json_ else _show_audit(told)
    if told.findings:
        raise typer.Exit(exits.INCOMPLETE)


def _dry_run(source: str, overrides: list[str], *, json_: bool) -> None:
    from phenostream.datasets import estimate, open_screen  # noqa: PLC0415
    from phenostream.datasets.recipe import load  # noqa: PLC0415

    recipe = load(source, overrides)
    told = estimate(open_screen(recipe.source), settings=recipe.pack)
    as_json(dataclasses.asdict(told)) if json_ else _show_estimate(told)


def _verify(base: str, workers: int, *, quiet: bool, json_: bool) -> None:
    from phenostream.datasets import verify_pack  # noqa: PLC0415

    with _executor(workers) as executor, _bar("shards", quiet=quiet or json_) as progress:
        told = verify_pack(base, executor=executor, progress=progress)
    as_json(dataclasses.asdict(told)) if json_ else _show_verified(told)
    if told.faults:
        raise typer.Exit(exits.FAULTY)


def _show_packed(told: Packed) -> None:
    left_out = told.inputs - told.sites
    console.print(f"{told.inputs:,} inputs = {told.sites:,} packed + {left_out:,} left out")
    ratio = f", {told.raw_bytes / told.bytes:.2f} to one" if told.bytes else ""
    console.print(
        f"{told.shards:,} shards ({told.shards_written:,} written now), {size(told.bytes)}{ratio}, in {told.folder}",
        style="dim",
    )
    if told.kept_blank:
        console.print(f"{told.kept_blank:,} sites at fault stand in the pack as zeros")
    _show_findings(told.findings)


def _show_audit(told: Audit) -> None:
    _show_kind(told.inputs, told.kind)
    console.print(f"{told.sound:,} sound, {told.inputs - told.sound:,} with something to say of")
    if told.unmatched:
        console.print(f"{len(told.unmatched):,} files are explained by nothing: {', '.join(told.unmatched[:3])}")
    _show_findings(told.findings)


def _show_estimate(told: Estimate) -> None:
    _show_kind(told.sites, told.kind)
    console.print(
        f"{told.arrays:,} arrays, {told.shards:,} shards, about {size(told.bytes)} for {size(told.raw_bytes)} of pixels"
        f" (from {told.sampled} sites)"
    )


def _show_kind(sites: int, kind: Kind) -> None:
    shape = " x ".join(map(str, kind.coding.shape))
    console.print(f"{sites:,} sites of {shape} {kind.coding.dtype}: {', '.join(kind.channels)}")


def _show_verified(told: Verified) -> None:
    console.print(f"{told.shards:,} shards of {told.sites:,} sites, {size(told.bytes)}: {len(told.faults):,} faults")
    for fault in told.faults[:SHOWN]:
        named = f": {', '.join(fault.sites[:5])}{' ...' * (len(fault.sites) > 5)}" if fault.sites else ""
        console.print(f"  {fault.shard} [{fault.kind}] {fault.message}{named}", markup=False)
    if told.faults:
        console.print("run the packing of this folder again: it writes these anew, and nothing else", style="dim")


def _show_findings(found: tuple[Finding, ...]) -> None:
    rows = [(one.reason, one.id.plate, one.id.well, one.id.site, one.message) for one in found]
    first(("fault", "plate", "well", "site", "what"), rows)


def _plain_packed(told: Packed) -> dict[str, Any]:
    return dataclasses.asdict(told) | {"left_out": told.inputs - told.sites}


def _executor(workers: int) -> Any:
    """Processes of this machine; none for one worker, which is this process."""
    if workers == 1:
        return nullcontext()
    from phenostream.stream import Processes  # noqa: PLC0415

    return closing(Processes(workers))


def _bar(noun: str, *, quiet: bool) -> Any:
    return bar(noun, of_count, quiet=quiet, detailed=False)
