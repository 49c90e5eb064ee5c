"""The commands ``phenostream models ...``: what models there are, what they say of themselves, and moving them."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from phenostream.cli import exits, show
from phenostream.cli.options import Json, group
from phenostream.cli.show import as_json

if TYPE_CHECKING:
    from phenostream.inference import Package

app = group("models", "Model packages: list, show, test, import, export.")

Model = Annotated[str, typer.Argument(help="Name, or folder of a package.", show_default=False)]
Replace = Annotated[bool, typer.Option("--replace", help="Replace a package of the same name.")]


@app.command(
    "list", epilog="\b\nExamples:\n  phenostream models list\n  phenostream models list --json | jq '.[].name'"
)
def list_(*, json_: Json = False) -> None:
    """Every model that is shipped, in a folder of PHENOSTREAM_MODELS, or imported; verified one by one."""
    from phenostream.inference import names  # noqa: PLC0415

    found = [_line(name, folder) for name, folder in sorted(names().items())]
    if json_:
        as_json(found)
    elif not found:
        typer.echo("no models: import one with phenostream models import")
    else:
        show.console.print(_table(("name", "version", "takes", "gives", "sha256", "state"), found))


@app.command(
    "show", epilog="\b\nExamples:\n  phenostream models show nuclei\n  phenostream models show ./my-model --json"
)
def show_(model: Model, *, json_: Json = False) -> None:
    """The card of one model: what it takes and gives, how it was made, its figures, its files."""
    from phenostream.inference import find  # noqa: PLC0415

    told = _card(find(model))
    as_json(told) if json_ else show.console.print(_facts(told))


@app.command(
    "test", epilog="\b\nExamples:\n  phenostream models test nuclei\n  phenostream models test nuclei --device cpu"
)
def check(
    model: Model,
    *,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    threads: Annotated[int | None, typer.Option(help="Of one operation.", show_default=False)] = None,
    json_: Json = False,
) -> None:
    """Run the model on its own test tensors, whole and in tiles, and compare; exit code 7 where it differs."""
    import dataclasses  # noqa: PLC0415

    from phenostream.errors import RecipeError  # noqa: PLC0415
    from phenostream.inference import find, prove  # noqa: PLC0415

    if device not in ("auto", "cpu", "cuda"):
        raise RecipeError(f"there is no device {device!r}", remedy="give auto, cpu or cuda")
    told: Any = device
    checks = [dataclasses.asdict(one) for one in prove(find(model), device=told, threads=threads)]
    as_json(checks) if json_ else show.console.print(_table(("name", "state", "detail"), checks))
    if any(one["state"] == "failed" for one in checks):
        raise typer.Exit(exits.FAULTY)


@app.command(
    "import",
    epilog="\b\nExamples:\n  phenostream models import ./my-model\n"
    "  phenostream models import my-model.zip --name mine\n"
    "  phenostream models import https://github.com/OWNER/PROJECT/releases/download/v1/model.zip --sha256 HASH",
)
def import_(
    source: Annotated[str, typer.Argument(help="Folder, zip, or https URL of a zip.", show_default=False)],
    *,
    name: Annotated[str | None, typer.Option(help="Under which to keep it.", show_default=False)] = None,
    sha256: Annotated[str, typer.Option(help="That the downloaded zip must have.", show_default=False)] = "",
    replace: Replace = False,
    json_: Json = False,
) -> None:
    """Verify a package and copy it among your models ($PHENOSTREAM_HOME/models, else your data folder)."""
    from phenostream.inference import import_package  # noqa: PLC0415

    with tempfile.TemporaryDirectory() as scratch:
        place = _fetched(source, Path(scratch), sha256) if "://" in source else Path(source)
        package = import_package(place, name=name, replace=replace)
    told = {"name": package.name, "folder": str(package.folder), "sha256": package.sha256}
    as_json(told) if json_ else typer.echo(f"{package.name} in {package.folder}, sha256 {package.sha256}")


@app.command("export", epilog="\b\nExamples:\n  phenostream models export nuclei --out nuclei.zip")
def export(
    model: Model,
    *,
    out: Annotated[Path, typer.Option("--out", "-o", help="Zip to write.", show_default=False)],
    json_: Json = False,
) -> None:
    """Write a model as one zip that bioimage.io tools read; the same model gives the same bytes."""
    from phenostream.inference import export_package, find  # noqa: PLC0415

    package = find(model)
    path = export_package(package, out)
    as_json({"zip": str(path), "sha256": package.sha256}) if json_ else typer.echo(path)


def _fetched(url: str, scratch: Path, sha256: str) -> Path:
    """The zip that lies at `url`; plain http only from this machine."""
    from urllib.parse import urlsplit  # noqa: PLC0415

    from phenostream.errors import RecipeError, TooLargeError  # noqa: PLC0415
    from phenostream.inference import Limits  # noqa: PLC0415
    from phenostream.sources import download, open_store  # noqa: PLC0415
    from phenostream.sources.names import is_loopback  # noqa: PLC0415

    parts = urlsplit(url)
    if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(parts.hostname or "")):
        raise RecipeError(f"models come over https, not {parts.scheme}", remedy="download it yourself, then import it")
    base, _, key = url.rpartition("/")
    store = open_store(base)
    if store.size(key) > (most := Limits().onnx_bytes):
        raise TooLargeError(f"{key} has {store.size(key):,} bytes, over the cap of {most:,}")
    path = scratch / (Path(parts.path).name or "model.zip")
    download(store, key, path, sha256=sha256)
    return path


def _line(name: str, folder: Path) -> dict[str, Any]:
    """One model of the list; one that is refused is listed with its reason."""
    from phenostream.errors import PhenostreamError  # noqa: PLC0415
    from phenostream.inference import open_package  # noqa: PLC0415

    try:
        package = open_package(folder, name=name)
    except PhenostreamError as error:
        return {"name": name, "folder": str(folder), "state": error.reason, "message": str(error)}
    return {
        "name": name,
        "folder": str(folder),
        "version": str(package.description.version or ""),
        "takes": f"{package.axes}: {', '.join(package.channels)}",
        "gives": ", ".join(package.outputs),
        "sha256": package.sha256[:12],
        "state": "ok",
    }


def _card(package: Package) -> dict[str, Any]:
    """Everything that a package says of itself, as plain values."""
    from phenostream.inference.frame import Frame  # noqa: PLC0415

    told, frame = package.description, Frame.of(package.description)
    return {
        "name": package.name,
        "title": told.name,
        "description": told.description,
        "version": str(told.version or ""),
        "licence": told.license or "",
        "authors": [str(author.get("name", "")) for author in told.authors],
        "cite": [str(one.get("doi") or one.get("url") or one.get("text", "")) for one in told.cite],
        "folder": str(package.folder),
        "sha256": package.sha256,
        "input": {"axes": package.axes, "channels": list(package.channels), "dtype": package.graph.inputs[0].dtype,
                  "stride": list(frame.stride), "minimum": list(frame.minimum), "pixel_size_um": _pixel(told)},
        "outputs": {tensor.id: {"channels": list(tensor.channels), "description": tensor.description,
                                "ratio": [str(ratio) for ratio in frame.ratios[tensor.id]]} for tensor in told.outputs},
        "halo": list(frame.halo) if frame.halo is not None and frame.cuttable else None,
        "settings": dict(package.settings),
        "metrics": _json(package, told.own.metrics),
        "training": _json(package, told.own.training),
        "opset": package.graph.opset,
        "files": {path: {"sha256": sha256, "bytes": (package.folder / path).stat().st_size}
                  for path, sha256 in sorted(package.files.items())},
    }  # fmt: skip


def _pixel(told: Any) -> list[float] | None:
    return [axis.scale for axis in told.input.space] if all(a.unit == "micrometer" for a in told.input.space) else None


def _json(package: Package, file: Any) -> Any:
    from phenostream.errors import DamagedError  # noqa: PLC0415

    try:
        return json.loads(package.read(file.source)) if file is not None else None
    except (ValueError, RecursionError) as error:
        raise DamagedError(f"{file.source} is not JSON", remedy="get the package again") from error


def _facts(told: dict[str, Any]) -> Any:
    table = show.facts()
    for key in ("name", "title", "description", "version", "licence", "folder", "sha256"):
        table.add_row(key, _plain(told[key]))
    for key in ("authors", "cite"):
        table.add_row(key, _plain("; ".join(told[key])))
    table.add_row("takes", _plain(_words(told["input"])))
    for name, one in told["outputs"].items():
        table.add_row("gives", _plain(f"{name}: {_words(one)}"))
    halo = "the whole image at once" if told["halo"] is None else f"tiles, halo {told['halo']} pixels"
    table.add_row("cuts", _plain(halo))
    for key in ("settings", "metrics", "training"):
        for name, value in (told[key] or {}).items() if isinstance(told[key], dict) else ():
            table.add_row(
                key, _plain(f"{name}: {value if isinstance(value, str | int | float) else json.dumps(value)}")
            )
    for path, one in told["files"].items():
        table.add_row("file", _plain(f"{path}  {show.size(one['bytes'])}  {one['sha256'][:12]}"))
    return table


def _words(told: dict[str, Any]) -> str:
    return "; ".join(f"{key} {_value(value)}" for key, value in told.items() if value not in (None, "", []))


def _value(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _table(columns: tuple[str, ...], rows: list[dict[str, Any]]) -> Any:
    return show.listing(columns, ([_plain(row.get(column, "")) for column in columns] for row in rows))


def _plain(text: object) -> Any:
    from rich.text import Text  # noqa: PLC0415

    # What a stranger wrote is shown as it is: no markup, no control characters that would steer the terminal.
    return Text("".join(one if one.isprintable() or one == "\n" else "\N{REPLACEMENT CHARACTER}" for one in str(text)))
