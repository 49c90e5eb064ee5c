"""Audits: every site read and judged before anything is written, and what packing would take."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from phenostream import formats
from phenostream.datasets._pool import ahead
from phenostream.datasets.looking import Finding, Kind, finding, kind_of, look, separate
from phenostream.datasets.screens import Screen
from phenostream.datasets.settings import PackSettings
from phenostream.datasets.strategies import cut, shelves

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from phenostream.datasets._pool import Executor
    from phenostream.values import Field

_BATCH = 16
_DEFAULTS = PackSettings()


@dataclass(frozen=True, slots=True)
class Audit:
    """What was found in a screen.

    Attributes:
        inputs: sites given, absent ones and repeats included.
        sound: of these, sites with nothing to say of them.
        findings: one for each fault or suspicion, in the order of the screen.
        kind: channels, shape and type that the sites have.
        unmatched: files that nothing explains.
    """

    inputs: int
    sound: int
    findings: tuple[Finding, ...] = field(repr=False)
    kind: Kind
    unmatched: tuple[str, ...] = field(repr=False)

    @property
    def reasons(self) -> dict[str, int]:
        """How often each word was found."""
        return dict(Counter(one.reason for one in self.findings).most_common())


@dataclass(frozen=True, slots=True)
class Estimate:
    """What packing would take, without writing.

    Attributes:
        sites: that would be packed if none is at fault.
        kind: channels, shape and type.
        arrays: of the pack.
        shards: files of pixels.
        raw_bytes: of all pixels, decoded.
        bytes: of all shards, estimated.
        sampled: sites that were read and compressed for the estimate.
    """

    sites: int
    kind: Kind
    arrays: int
    shards: int
    raw_bytes: int
    bytes: int
    sampled: int


def audit(
    screen: Screen | Iterable[Field],
    *,
    settings: PackSettings = _DEFAULTS,
    workers: int = 1,
    executor: Executor | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Audit:
    """Read every site of a screen and name what is wrong with it; every site is accounted for.

    Args:
        screen: sites to look at.
        settings: `channels` and `saturated_share` are of meaning.
        workers: threads.
        executor: where to read instead, see `phenostream.datasets.pack`.
        progress: hears (sites done, sites in all).

    Raises:
        EmptyError: no sites.
        ChannelMissingError: a channel that no site has.
        PhenostreamError: a fault that may pass, or none of the sites can be read.
    """
    given = screen if isinstance(screen, Screen) else Screen(tuple(screen))
    fields, found = separate(given)
    kind = kind_of(fields, settings.channels)
    batches = [fields[start : start + _BATCH] for start in range(0, len(fields), _BATCH)]
    calls = [(number, tuple(batch)) for number, batch in enumerate(batches)]
    seen: dict[int, list[Finding]] = {}
    call = partial(_judged, kind, settings.saturated_share)
    for number, told in ahead(call, calls, workers=workers, executor=executor):
        seen[number] = told
        if progress:
            progress(min(len(seen) * _BATCH, len(fields)), len(fields))
    judged = [one for number in sorted(seen) for one in seen[number]]
    inputs = len(fields) + len(found)
    wrong = len({one.id for one in judged}) + len(found)
    return Audit(inputs, inputs - wrong, (*judged, *found), kind, given.unmatched)


def estimate(screen: Screen | Iterable[Field], *, settings: PackSettings = _DEFAULTS, sample: int = 8) -> Estimate:
    """What packing would take: shards, and bytes by compressing a few sites spread over the screen.

    Raises as `audit` does, and RecipeError where the strategy does not fit the sites.
    """
    fields, _ = separate(screen)
    kind = kind_of(fields, settings.channels)
    given = {one.id for one in fields}
    most = kind.coding.sites_in(settings.shard_mb * 1_000_000)
    imageless = screen.imageless if isinstance(screen, Screen) else ()
    cuts = [len(list(cut(shelf, most, given))) for shelf in shelves(fields, imageless, settings)]
    sizes = _sampled(fields, kind, sample)
    shards = sum(cuts)
    mean = sum(sizes) / len(sizes) if sizes else kind.coding.nbytes
    total = round(mean * len(fields)) + 16 * len(fields) + 4 * shards
    return Estimate(
        len(fields), kind, sum(map(bool, cuts)), shards, len(fields) * kind.coding.nbytes, total, len(sizes)
    )


def _judged(kind: Kind, saturated_share: float, call: tuple[int, tuple[Field, ...]]) -> tuple[int, list[Finding]]:
    """What is to be said of a batch of sites; runs in any process."""
    number, batch = call
    told = []
    with formats.together(batch):
        for one in batch:
            seen = look(one, kind, saturated_share=saturated_share)
            told += (
                [seen.fault] if seen.fault else [finding(one, word, "its pixels say so") for word in seen.suspicions]
            )
    return number, told


def _sampled(fields: Sequence[Field], kind: Kind, sample: int) -> list[int]:
    step = max(1, len(fields) // sample)
    seen = (look(one, kind, saturated_share=1.0).pixels for one in fields[step // 2 :: step][:sample])
    return [len(kind.coding.encode(pixels)) for pixels in seen if pixels is not None]
