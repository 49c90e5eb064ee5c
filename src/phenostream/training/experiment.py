"""One recipe, one folder: the fit, what it measured, and the model package that came of it."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from phenostream.inference import Package, open_package
from phenostream.training import checkpoints, curves, devices, registry
from phenostream.training.durable import replace_text
from phenostream.training.fitting import FitResult, Progress, fit
from phenostream.training.provenance import provenance
from phenostream.training.recipe import Recipe

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from phenostream.training.plug import Task

_README = """This folder is one phenostream experiment. It explains itself:

recipe.yaml      what was learnt and how, every default filled in
provenance.json  versions, machine, seed, sha256 of what was learnt from
steps.csv        every step: loss, what the task tells, norm of the gradient, learning rate, examples a second
validations.csv  every validation
curves.png       both as a picture; tensorboard/ holds the same for `tensorboard --logdir`
metrics.json     metrics of the chosen weights, and how the fit went
package/         the model package, for `phenostream segment --package`, `embed --model` and the like
best-*.safetensors the weights with the best watched metric (of that step), where one was watched
checkpoints/     where the fit goes on after a stop; may be deleted at the end

Running the same recipe again goes on where it stopped.
"""


@dataclass(frozen=True, slots=True)
class Experiment:
    """A finished experiment.

    Attributes:
        folder: of everything.
        package: the model package; None in the processes of a team that do not write.
        metrics: validation metrics of the chosen weights.
        fit: how the fit went: steps, epochs, stopped, batch_size, seconds, samples_per_s, device.
    """

    folder: Path
    package: Package | None
    metrics: Mapping[str, float]
    fit: Mapping[str, Any]


def train(
    recipe: Recipe | Mapping[str, Any] | str | Path,
    folder: Path | str | None = None,
    *,
    overrides: Iterable[str] = (),
    device: str = "auto",
    progress: Callable[[Progress], None] | None = None,
) -> Experiment:
    """Do what `recipe` says in `folder`; again after any stop, it goes on at the last checkpoint.

    Args:
        recipe: a YAML file, a mapping or a recipe.
        folder: of the experiment; by default named like the recipe's file, with ``-training``.
        overrides: ``train.epochs=5`` and the like.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:1``.
        progress: told after each reading of the loss.

    Raises as :meth:`Recipe.load` and :func:`phenostream.training.fit`.
    """
    resolved = Recipe.load(recipe, overrides)
    folder = Path(folder) if folder is not None else _folder_for(recipe, resolved)
    task = registry.build(resolved.task, resolved.settings)
    if devices.leads() and not checkpoints.paths(folder / "checkpoints"):
        _begun(folder, resolved, task)
    told = fit(task, resolved.train, folder=folder, device=device, seed=resolved.seed, progress=progress)
    summary = _summary(told)
    if not devices.leads():
        return Experiment(folder, None, told.metrics, summary)
    return Experiment(folder, _written(folder, resolved, task, told, summary), told.metrics, summary)


def _begun(folder: Path, recipe: Recipe, task: Task) -> dict[str, Any]:
    """Write what is known before the first step; the origin of what is to come."""
    folder.mkdir(parents=True, exist_ok=True)
    origin = provenance(recipe, task)
    replace_text(folder / "README.txt", _README)
    replace_text(folder / "recipe.yaml", recipe.text())
    replace_text(folder / "provenance.json", _json(origin))
    return origin


def _written(folder: Path, recipe: Recipe, task: Task, told: FitResult, summary: dict[str, Any]) -> Package:
    """Write all that stands beside the fit; what is there from before is replaced, but for this fit's package."""
    origin = _begun(folder, recipe, task)
    curves.draw(folder, folder / "curves.png")
    home = folder / "package"
    training = json.loads(_json({**origin, "fit": summary}))
    package = _standing(home, training) or _exported(task, told, home, training)
    replace_text(folder / "metrics.json", _json({"metrics": dict(told.metrics), "fit": summary}))
    return package


def _standing(home: Path, training: dict[str, Any]) -> Package | None:
    """The package in `home` where it came from this very fit; one of another recipe is deleted."""
    if not home.is_dir():
        return None
    package = open_package(home)
    known = json.loads((home / "training.json").read_text())
    same = all(known.get(name) == training[name] for name in ("recipe", "seed", "data"))
    if same and known.get("fit", {}).get("step") == training["fit"]["step"]:
        return package
    shutil.rmtree(home)
    return None


def _exported(task: Task, told: FitResult, home: Path, training: dict[str, Any]) -> Package:
    return task.export(told.network, home, training=training, metrics=told.metrics)


def _summary(told: FitResult) -> dict[str, Any]:
    left_out = ("network", "metrics", "folder")
    return {name: getattr(told, name) for name in FitResult.__slots__ if name not in left_out}


def _folder_for(recipe: object, resolved: Recipe) -> Path:
    stem = Path(recipe).stem if isinstance(recipe, str | Path) else resolved.task
    return Path(f"{stem}-training")


def _json(value: Any) -> str:
    return json.dumps(value, indent=2, sort_keys=True, default=str) + "\n"
