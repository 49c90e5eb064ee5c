"""What a run would do, told before a pixel moves."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from phenostream import formats
from phenostream.errors import PhenostreamError
from phenostream.stream.ledger import Ledger
from phenostream.stream.overview import mean_seconds
from phenostream.stream.packed import identity_in, unpack
from phenostream.stream.plan import Plan, Unit, make_plan
from phenostream.stream.recipe import Recipe
from phenostream.stream.start import default_folder, store_of, workers_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from phenostream.stream.packed import Units
    from phenostream.values import Store

_LOOKED_AT = 5
_UNKNOWN_FIELD = 2_800_000
# Seconds of one core for a megapixel of one channel through correct, segment, measure and write; benchmarks/stream.py.
_SECONDS_A_MEGAPIXEL = 2.0
_PART_SHARE = 0.5


@dataclass(frozen=True, slots=True)
class Estimate:
    """What would be done; each guess says what it rests on.

    Attributes:
        bytes_to_move: pixels and metadata of the units to do, and of samples that are not units.
        peak_disk: what downloads, scratch and parts in progress can take at most: the budget, or all there is.
        seconds: of wall time, once bytes come as fast as they are used.
    """

    units: int
    waiting: int
    plates: int
    unresolved: int
    unresolved_example: str
    bytes_to_move: int
    bytes_basis: str
    peak_disk: int
    part_bytes: int
    seconds: float
    seconds_basis: str
    workers: int


def estimate(
    recipe: Recipe | Mapping[str, Any] | str | Path,
    out: str | Path | None = None,
    *,
    overrides: Iterable[str] = (),
) -> Estimate:
    """Plan `recipe` and say what running it into `out` would take; reads tables and metadata, never pixels."""
    resolved = Recipe.load(recipe, overrides)
    hurried = resolved.transport.model_copy(update={"tries": 1})
    store = store_of(resolved.model_copy(update={"transport": hurried}))
    plan = make_plan(resolved, store)
    folder = Path(out) if out is not None else default_folder(recipe)
    waiting, known_seconds = _left(folder, plan.units)
    unresolved = plan.units.unplaced
    to_do = sorted(set(waiting).difference(unresolved))
    each, basis = _bytes_each(plan.units, to_do, store)
    transfers = len(to_do) + _extra_samples(plan, to_do)
    workers = workers_of(resolved)
    seconds_each = known_seconds or each * _SECONDS_A_MEGAPIXEL / 1e6
    return Estimate(
        units=len(plan.units),
        waiting=len(waiting),
        plates=len(plan.units.plates),
        unresolved=len(unresolved),
        unresolved_example=plan.units[unresolved[0]].problem if unresolved else "",
        bytes_to_move=each * transfers,
        bytes_basis=basis,
        peak_disk=min(int(resolved.stream.disk_budget), 2 * each * max(1, transfers)),
        part_bytes=int(_PART_SHARE * each * len(to_do)),
        seconds=seconds_each * len(to_do) / workers,
        seconds_basis="as measured in this run so far"
        if known_seconds
        else "from published benchmarks of this version",
        workers=workers,
    )


def _left(folder: Path, units: Units) -> tuple[list[int], float]:
    """Positions still to do in a folder that may hold a run already, and its seconds of compute a unit."""
    every = range(len(units))
    if not (folder / "ledger.db").is_file():
        return list(every), 0.0
    ledger = Ledger(folder)
    try:
        finished = {row[0] for row in ledger.query("SELECT key FROM units WHERE state IN ('done','rejected')")}
        stages = mean_seconds(ledger)
    finally:
        ledger.close()
    left = [position for position in every if units.key(position) not in finished]
    return left, sum(seconds for stage, seconds in stages.items() if stage != "fetch")


def _bytes_each(units: Units, to_do: list[int], store: Store) -> tuple[int, str]:
    """Bytes of one unit: the mean of a few, spread over the plan."""
    spread = units.at(to_do[:: max(1, len(to_do) // _LOOKED_AT)])
    told = [weight for unit in spread if (weight := _weigh(unit, store))]
    if not told:
        return _UNKNOWN_FIELD, "a guess: the archive did not tell"
    return sum(told) // len(told), f"as {len(told)} of its fields tell"


def _weigh(unit: Unit, store: Store) -> int:
    """Bytes that fetching `unit` would move, 0 where the archive does not tell."""
    scales = _Scales(store)
    for plane in unit.field.planes:
        try:
            formats.touch(scales, plane)
        except PhenostreamError:
            if not scales.weighed:  # a reader that looks into the blank pixels may object once they are weighed
                return 0
    return scales.bytes


class _Scales:
    """A store that weighs what a touch would move: metadata is read, longer stretches are only asked for their size."""

    _METADATA = 64 * 1024

    def __init__(self, store: Store) -> None:
        self._store = store
        self.bytes = 0
        self.weighed = False

    def read(self, key: str, start: int = 0, stop: int | None = None) -> bytes:
        size = self._store.size(key)
        end = size if stop is None else min(stop, size)
        self.bytes += end - start
        if end - start <= self._METADATA:
            return self._store.read(key, start, stop)
        self.weighed = True
        return bytes(end - start)

    def size(self, key: str) -> int:
        return self._store.size(key)

    def keys(self, prefix: str = "") -> Iterator[str]:
        return self._store.keys(prefix)


def _extra_samples(plan: Plan, to_do: list[int]) -> int:
    """Sampled fields that are not units to do: they are fetched for the illumination fit alone."""
    plates = plan.units.by_plate(to_do)
    blocks = (block for plate, block in plan.samples.packed.items() if plate in plates)
    sampled = {identity_in(text) for block in blocks for text in unpack(block)}
    return len(sampled) - sum(identity_in(text) in sampled for _, text in plan.units.lines(to_do))
