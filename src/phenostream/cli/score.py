"""The command ``score``: what a model understands of a screen, beside what needs no model."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003  (typer reads the annotations)
from typing import Annotated, Any

import typer
from rich.table import Table

from phenostream.cli import exits, typed
from phenostream.cli.options import NOTHING, Json, Settings
from phenostream.cli.show import as_json, console

EPILOG = (
    "\b\nExamples:\n  phenostream score sites.parquet --pack screen-pack --model screen-training/package\n"
    "  phenostream score sites.parquet --json\n"
    "  phenostream score sites.parquet --set perturbation=Metadata_Gene --set relations=corum.csv\n\n" + exits.HELP
)
_SCORES = {
    "retrieval": "retrieval mAP",
    "other_batch_neighbour": "neighbour in another experiment",
    "activity": "mAP against controls",
    "consistency": "consistency (cosine)",
    "magnitude": "magnitude (energy distance)",
}


def score(
    embeddings: Annotated[Path, typer.Argument(help="Table with a row a site (Parquet).", show_default=False)],
    *,
    pack: Annotated[
        str | None, typer.Option(help="Packed screen: make EMBEDDINGS of it first, with --model.", show_default=False)
    ] = None,
    model: Annotated[str | None, typer.Option(help="Model package of the task classify.", show_default=False)] = None,
    set_: Settings = NOTHING,
    threads: Annotated[int | None, typer.Option(min=1, help="Of the model.", show_default=False)] = None,
    json_: Json = False,
) -> None:
    """Score a screen: accuracy on unseen experiments, embeddings, and trivial baselines beside both."""
    from phenostream.benchmark.scoring import ScoreSettings  # noqa: PLC0415
    from phenostream.benchmark.scoring import score as judged  # noqa: PLC0415

    settings = typed.settings(ScoreSettings, set_)
    if (pack is None) != (model is None):
        raise typer.BadParameter("--pack and --model go together")
    if pack is not None and model is not None:
        from phenostream.datasets import open_pack  # noqa: PLC0415
        from phenostream.training.classification.applying import write_embeddings  # noqa: PLC0415

        write_embeddings(model, open_pack(pack), embeddings, threads=threads)
    told = judged(embeddings, settings)
    if json_:
        as_json(told)
    else:
        _tell(told)


def _tell(told: dict[str, Any]) -> None:
    screen = told["screen"]
    console.print(
        f"{screen['sites']:,} sites of {screen['wells']:,} wells, {len(screen['experiments'])} unseen experiments,"
        f" {screen['perturbations']:,} perturbations"
    )
    if screen["sites_without_label"]:
        console.print(f"{screen['sites_without_label']:,} sites without a label are not judged")
    if "accuracy" in told and screen["sites_of_unknown_class"]:
        console.print(f"{screen['sites_of_unknown_class']:,} sites are of classes that were not learnt: called wrong")
    if left_out := screen["sites_left_out"]:
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in left_out.items())
        console.print(f"{sum(left_out.values()):,} sites have no numbers: {reasons}")
    if "accuracy" in told:
        console.print(_accuracies(told["accuracy"]))
    console.print(_embeddings(told["embedding"]))


def _accuracies(told: dict[str, Any]) -> Table:
    table = Table("accuracy", "top 1", "top 5", "balanced", box=None, title_justify="left")
    for level in ("site", "well"):
        table.add_row(f"by {level}", *(_figure(told[level][name]) for name in ("top1", "top5", "balanced")))
        for kind, found in told["by_cell_type"].items():
            table.add_row(f"  {kind}", *(_figure(found[level][name]) for name in ("top1", "top5", "balanced")))
    for name, found in told["baselines"].items():
        table.add_row(f"{name.replace('_', ' ')} alone" if name != "chance" else name, _figure(found), style="dim")
    table.add_section()
    for name, found in told["layout_informed"].items():
        if isinstance(found, dict):
            table.add_row(f"well, with {name.replace('_', ' ')}: no generalisation", _figure(found))
    return table


def _embeddings(told: dict[str, Any]) -> Table:
    names = [(method, correction) for method, found in told.items() for correction in found]
    table = Table("embedding", *(f"{method} {correction}".replace("_", " ") for method, correction in names), box=None)
    scores = dict(_SCORES)
    model = told["model"]["raw"].get("relationship_recall", {})
    for key, words in scores.items():
        table.add_row(words, *(_figure(told[method][one].get(key, {})) for method, one in names))
    for key in (key for key in model if key.startswith("recall_")):
        cells = (_figure(told[method][one].get("relationship_recall", {}).get(key, {})) for method, one in names)
        table.add_row(f"relations, {key.replace('_', ' ')}", *cells)
    return table


def _figure(told: dict[str, Any]) -> str:
    if told.get("value") is None:
        return "-"
    if told.get("low") is None:
        return f"{told['value']:.3f}"
    return f"{told['value']:.3f} ({told['low']:.3f}-{told['high']:.3f})"
