"""The plan: every wanted field as a unit with a key, and the frames each plate's illumination is fitted from."""

from __future__ import annotations

import hashlib
import heapq
import json
import struct
import zlib
from array import array
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from phenostream import __version__, formats, images, objects, profiles, values
from phenostream.errors import NotFoundError, PhenostreamError, RecipeError
from phenostream.sources import LocalStore, catalogs
from phenostream.sources.stores import scheme_of
from phenostream.stream.packed import BLOCK, KEY_BYTES, Samples, Unit, Units, line, pack, problem_of, unpack
from phenostream.stream.recipe import digest

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from phenostream.stream.recipe import Recipe
    from phenostream.values import Store

    Name = tuple[str, str]

__all__ = ["Plan", "Unit", "fingerprint_of", "make_plan", "step_versions"]

_LAYOUT = 1


@dataclass(frozen=True, slots=True)
class Plan:
    """All units in order, and for each (study, plate) the fields sampled for its illumination.

    Attributes:
        fits: identity of each plate's illumination fit: its sample and its settings.
    """

    units: Units
    samples: Samples
    fits: Mapping[Name, str]

    def dump(self) -> Iterator[tuple[str, bytes]]:
        """The plan as named blobs, for :meth:`load`."""
        units, samples = self.units, self.samples
        yield "plates", _blob([units.plates, list(samples), list(self.fits.items()), units.unplaced])
        yield "plate_of", zlib.compress(struct.pack(f"<{len(units)}I", *units.plate_of))
        yield "keys", units.keys
        yield from ((f"block {number:06d}", block) for number, block in enumerate(units.blocks))
        yield from ((f"sample {number:06d}", block) for number, block in enumerate(samples.packed.values()))

    @classmethod
    def load(cls, blobs: Mapping[str, bytes]) -> Plan:
        """The plan that was dumped."""
        plates, sampled, fits, unplaced = json.loads(zlib.decompress(blobs["plates"]))
        numbers = zlib.decompress(blobs["plate_of"])
        plate_of = array("I", struct.unpack(f"<{len(numbers) // 4}I", numbers))
        units = Units(_series(blobs, "block "), blobs["keys"], [tuple(one) for one in plates], plate_of, unplaced)
        samples = dict(zip(map(tuple, sampled), _series(blobs, "sample "), strict=True))
        return cls(units, Samples(samples), {tuple(plate): fit for plate, fit in fits})


def make_plan(recipe: Recipe, store: Store) -> Plan:
    """Ask the catalog, expand its containers, select, and key every unit.

    Raises:
        NotFoundError: nothing is selected, or a container is not there.
        RecipeError: the catalog names a field twice.
    """
    samplers: dict[Name, _Sampler] = {}
    stamped = _Stamped(store)

    def every() -> Iterator[values.Field]:
        for one in _expand(catalogs.units(recipe.source, store), store):
            if recipe.correct.method == "basic" and one.planes:
                plate = (one.id.study, one.id.plate)
                if plate not in samplers:
                    samplers[plate] = _Sampler(recipe.correct.frames, recipe.seed, stamped)
                samplers[plate].offer(one)
            yield one

    everything = every()
    chosen = _Chosen(stamped)
    for one in recipe.select.apply(everything):
        chosen.add(one)
    if not len(chosen.plate_of):
        raise NotFoundError("the recipe selects no field", remedy="loosen `select`, or check the catalog's tables")
    for _ in everything:  # a limit may have stopped the selection early: the samples still come from whole plates
        pass
    sampled = {plate: samplers[plate].lines() for plate in sorted(chosen.plates.keys() & samplers.keys())}
    fits = {plate: _fit_key(lines, recipe) for plate, lines in sampled.items()}
    units = chosen.keyed(digest([recipe.steps(), step_versions(recipe)]), fits)
    return Plan(units, Samples({plate: pack(lines) for plate, lines in sampled.items()}), fits)


def fingerprint_of(recipe: Recipe, tables: Mapping[str, str]) -> str:
    """Fingerprint of the plan, where tables alone decide it: equal ones, equal plans. Empty where none can be had.

    Args:
        recipe: what is planned.
        tables: sha256 of each local file that the recipe names.
    """
    if not catalogs.closed(recipe.source) or scheme_of(catalogs.base(recipe.source)) == "local":
        return ""  # files beside the tables have a say: local ones are looked at anew each time
    whole = recipe.model_dump(mode="json")
    return digest(
        [_LAYOUT, __version__, whole["source"], whole["select"], recipe.steps(), step_versions(recipe), dict(tables)]
    )


class _Chosen:
    """Collects the fields of a plan, packed as they come."""

    def __init__(self, stamped: _Stamped) -> None:
        self.plates: dict[Name, int] = {}
        self.plate_of = array("I")
        self._stamped = stamped
        self._unplaced: list[int] = []
        self._blocks: list[bytes] = []
        self._lines: list[str] = []

    def add(self, one: values.Field) -> None:
        plate = (one.id.study, one.id.plate)
        if problem_of(one):
            self._unplaced.append(len(self.plate_of))
        self.plate_of.append(self.plates.setdefault(plate, len(self.plates)))
        self._lines.append(self._stamped.line(one))
        if len(self._lines) == BLOCK:
            self._close()

    def _close(self) -> None:
        if self._lines:
            self._blocks.append(pack(self._lines))
            self._lines.clear()

    def keyed(self, base: str, fits: Mapping[Name, str]) -> Units:
        """The units, each key the hash of the steps, the plate's fit, the field's identity and its files' stamps."""
        self._close()
        plates = list(self.plates)
        heads = [f'["{base}","{fits.get(plate, "")}",' for plate in plates]
        keys, plate_of = bytearray(), iter(self.plate_of)
        for block in self._blocks:
            for text in unpack(block):
                told, _, stamps = text.split("\t")
                content = f"{heads[next(plate_of)]}{told},{stamps}]"
                keys += hashlib.blake2b(content.encode(), digest_size=KEY_BYTES).digest()
        units = Units(self._blocks, bytes(keys), plates, self.plate_of, self._unplaced)
        _refuse_twins(units)
        return units


def _refuse_twins(units: Units) -> None:
    halves = np.frombuffer(units.keys, dtype="<u8").reshape(-1, 2)
    order = np.lexsort(halves.T)
    twins = np.flatnonzero((halves[order[1:]] == halves[order[:-1]]).all(axis=1))
    if twins.size:
        twin = units[int(order[twins + 1].min())]
        raise RecipeError(f"the catalog names the same field twice: {twin.field.id}", remedy="remove the duplicate row")


def _expand(found: Iterable[values.Field | values.Container], store: Store) -> Iterator[values.Field]:
    for one in found:
        if isinstance(one, values.Field):
            yield one
        else:
            for inner in formats.fields(store, one):
                yield replace(inner, pixels=None)


def step_versions(recipe: Recipe) -> dict[str, Any]:
    """Code versions of the steps that decide a part's bytes."""
    return {
        "formats": formats.VERSION,
        "images": images.VERSION,
        "objects": objects.build(recipe.segment).digest,
        "features": recipe.measure.versions(),
        "profiles": profiles.VERSION,
    }


class _Stamped:
    """Packs a field with size and time of its local files, so that a replaced one counts as another.

    Remote blobs are taken as immutable.
    """

    def __init__(self, store: Store) -> None:
        self._store = store if isinstance(store, LocalStore) else None

    def line(self, one: values.Field) -> str:
        if self._store is None:
            return line(one)
        return line(one, [_stamp(self._store, key) for key in sorted({plane.key for plane in one.planes})])


def _stamp(store: LocalStore, key: str) -> str:
    try:
        blob = store.arrive(key, 0, 0)
    except PhenostreamError:  # a folder, or a file that fetching will find missing
        return ""
    return f"{blob.size} {blob.version}"


def _fit_key(sample: Iterable[str], recipe: Recipe) -> str:
    parts = [text.split("\t") for text in sample]
    told = [[json.loads(identity), stamps] for identity, _, stamps in parts]
    return digest([told, recipe.correct.model_dump(mode="json"), recipe.seed, images.VERSION])


def _series(blobs: Mapping[str, bytes], prefix: str) -> list[bytes]:
    return [blobs[name] for name in sorted(blobs) if name.startswith(prefix)]


def _blob(value: Any) -> bytes:
    return zlib.compress(json.dumps(value, separators=(",", ":")).encode())


class _Sampler:
    """The n fields of a plate whose seeded hash is smallest: the same ones in whatever order they come."""

    def __init__(self, count: int, seed: int, stamped: _Stamped) -> None:
        self._count = count
        self._seed = seed
        self._stamped = stamped
        self._heap: list[tuple[int, str, str]] = []

    def offer(self, one: values.Field) -> None:
        name = f"{self._seed}\0{one.id}\0{one.id.z}"
        rank = -int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "big")
        if len(self._heap) < self._count:
            heapq.heappush(self._heap, (rank, name, self._stamped.line(one)))
        elif (rank, name) > self._heap[0][:2]:
            heapq.heapreplace(self._heap, (rank, name, self._stamped.line(one)))

    def lines(self) -> list[str]:
        """The sampled fields, by name."""
        return [text for _, _, text in sorted(self._heap, key=lambda item: item[1])]
