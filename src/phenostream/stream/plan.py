"""The plan: every wanted field as a unit with a key, and the frames each plate's illumination is fitted from."""

from __future__ import annotations

import hashlib
import heapq
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from phenostream import formats, images, objects, profiles, values
from phenostream.errors import NotFoundError, PhenostreamError, RecipeError
from phenostream.sources import LocalStore, catalogs
from phenostream.stream.recipe import digest

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from phenostream.stream.recipe import Recipe
    from phenostream.values import Store


@dataclass(frozen=True, slots=True)
class Unit:
    """One field to be turned into one part. `key` hashes the source and every step before the part."""

    key: str
    position: int
    field: values.Field
    problem: str = ""

    @property
    def plate(self) -> tuple[str, str]:
        """Study and plate: what shares an illumination model."""
        return self.field.id.study, self.field.id.plate


@dataclass(frozen=True, slots=True)
class Plan:
    """All units in order, and for each (study, plate) the fields sampled for its illumination."""

    units: list[Unit]
    samples: dict[tuple[str, str], tuple[values.Field, ...]] = field(default_factory=dict)

    def fit_key(self, plate: tuple[str, str], recipe: Recipe) -> str:
        """Identity of a plate's illumination fit: its sample and its settings."""
        return _fit_key(self.samples.get(plate, ()), recipe)


def make_plan(recipe: Recipe, store: Store) -> Plan:
    """Ask the catalog, expand its containers, select, and key every unit.

    Raises:
        NotFoundError: nothing is selected, or a container is not there.
    """
    samplers: dict[tuple[str, str], _Sampler] = {}
    chosen: list[values.Field] = []

    def every() -> Iterator[values.Field]:
        for one in _expand(catalogs.units(recipe.source, store), store):
            if recipe.correct.method == "basic" and one.planes:
                plate = (one.id.study, one.id.plate)
                samplers.setdefault(plate, _Sampler(recipe.correct.frames, recipe.seed)).offer(one)
            yield one

    everything = every()
    chosen = list(recipe.select.apply(everything))
    if not chosen:
        raise NotFoundError("the recipe selects no field", remedy="loosen `select`, or check the catalog's tables")
    wanted = {(one.id.study, one.id.plate) for one in chosen}
    for _ in everything:  # a limit may have stopped the selection early: the samples still come from whole plates
        pass
    samples = {plate: samplers[plate].sample() for plate in sorted(wanted & samplers.keys())}
    return Plan(list(_units(chosen, samples, recipe, store)), samples)


def _expand(found: Iterable[values.Field | values.Container], store: Store) -> Iterator[values.Field]:
    for one in found:
        if isinstance(one, values.Field):
            yield one
        else:
            for inner in formats.fields(store, one):
                yield replace(inner, pixels=None)


def _units(
    chosen: list[values.Field],
    samples: dict[tuple[str, str], tuple[values.Field, ...]],
    recipe: Recipe,
    store: Store,
) -> Iterator[Unit]:
    base = digest([recipe.steps(), step_versions(recipe)])
    fits = {plate: _fit_key(sample, recipe) for plate, sample in samples.items()}
    seen: dict[str, values.FieldId] = {}
    for position, one in enumerate(chosen):
        fit = fits.get((one.id.study, one.id.plate), "")
        key = digest([base, fit, _identity(one), _stamps(one, store)])
        if key in seen:
            raise RecipeError(f"the catalog names the same field twice: {one.id}", remedy="remove the duplicate row")
        seen[key] = one.id
        yield Unit(key, position, one, one.annotation.get("unresolved", "") if not one.planes else "")


def step_versions(recipe: Recipe) -> dict[str, Any]:
    """Code versions of the steps that decide a part's bytes."""
    return {
        "formats": formats.VERSION,
        "images": images.VERSION,
        "objects": objects.build(recipe.segment).digest,
        "features": recipe.measure.versions(),
        "profiles": profiles.VERSION,
    }


def _identity(one: values.Field) -> list[Any]:
    return [
        [one.id.study, one.id.plate, one.id.well, one.id.site, one.id.time, one.id.z],
        [channel.name for channel in one.channels],
        [[plane.key, plane.format, plane.inner, plane.c, plane.t, plane.z] for plane in one.planes],
        one.pixel_size,
        sorted(one.annotation.items()),
    ]


def _stamps(one: values.Field, store: Store) -> list[str]:
    """Size and time of local files, so that a replaced file is measured again; remote blobs are taken as immutable."""
    if not isinstance(store, LocalStore):
        return []
    return [_stamp(store, key) for key in sorted({plane.key for plane in one.planes})]


def _stamp(store: LocalStore, key: str) -> str:
    try:
        blob = store.arrive(key, 0, 0)
    except PhenostreamError:  # a folder, or a file that fetching will find missing
        return ""
    return f"{blob.size} {blob.version}"


def _fit_key(sample: Iterable[values.Field], recipe: Recipe) -> str:
    settings = recipe.correct.model_dump(mode="json")
    return digest([[_identity(one) for one in sample], settings, recipe.seed, images.VERSION])


class _Sampler:
    """The n fields of a plate whose seeded hash is smallest: the same ones in whatever order they come."""

    def __init__(self, count: int, seed: int) -> None:
        self._count = count
        self._seed = seed
        self._heap: list[tuple[int, str, values.Field]] = []

    def offer(self, one: values.Field) -> None:
        name = f"{self._seed}\0{one.id}\0{one.id.z}"
        rank = int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "big")
        item = (-rank, name, one)
        if len(self._heap) < self._count:
            heapq.heappush(self._heap, item)
        elif item > self._heap[0]:
            heapq.heapreplace(self._heap, item)

    def sample(self) -> tuple[values.Field, ...]:
        return tuple(one for _, _, one in sorted(self._heap, key=lambda item: item[1]))
