"""What can be wrong with a site, under one word each; found by the same look in an audit and in packing.

A *fault* keeps a site from being packed: ``missing``, ``duplicate``, ``damaged``, ``wrong-shape``, ``wrong-dtype``,
``channel-missing`` and the other reasons of the error family. A *suspicion* does not: ``blank`` (every channel has one
value), ``blank-channel``, ``saturated``.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from phenostream.datasets.coding import DTYPES, Coding
from phenostream.datasets.screens import Screen, chosen
from phenostream.datasets.statistics import SiteStatistics, of_site
from phenostream.errors import ChannelMissingError, EmptyError, PhenostreamError, WrongDtypeError, WrongShapeError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from phenostream.values import Field, FieldId

SUSPICIONS: Final = ("blank", "blank-channel", "saturated")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong with one site.

    Attributes:
        id: which site.
        reason: the word for it.
        message: what exactly.
        files: where its pixels were to be.
    """

    id: FieldId
    reason: str
    message: str = ""
    files: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Kind:
    """What every site of a pack must be.

    Attributes:
        channels: names, in order.
        coding: shape and type.
    """

    channels: tuple[str, ...]
    coding: Coding


@dataclass(frozen=True, slots=True, eq=False)
class Look:
    """What one look at a site gave: pixels and statistics, and what is suspicious; or its fault."""

    pixels: NDArray[Any] | None = None
    statistics: SiteStatistics | None = None
    counts: NDArray[np.int64] | None = None
    suspicions: tuple[str, ...] = ()
    fault: Finding | None = None


def look(one: Field, kind: Kind, *, saturated_share: float) -> Look:
    """Read a site and say what it is. Raises what may pass by itself (`PhenostreamError.transient`)."""
    try:
        pixels = read_as(one, kind)
    except PhenostreamError as error:
        if error.transient:
            raise
        return Look(fault=finding(one, error.reason, error.message))
    statistics, counts = of_site(pixels)
    return Look(pixels, statistics, counts, suspicions(statistics, saturated_share))


def read_as(one: Field, kind: Kind) -> NDArray[Any]:
    """The pixels (C, Y, X) of a site, where it is of this kind.

    Raises:
        ChannelMissingError: a channel has no file.
        WrongShapeError, WrongDtypeError: other pixels than those of its pack.
        EmptyError: no pixels are attached.
        PhenostreamError: what reading raises.
    """
    pixels = chosen(one, kind.channels).read()
    if pixels.shape != kind.coding.shape:
        raise WrongShapeError(f"its shape is {pixels.shape}, that of the pack {kind.coding.shape}")
    if pixels.dtype.name != kind.coding.dtype:
        raise WrongDtypeError(f"its type is {pixels.dtype}, that of the pack {kind.coding.dtype}")
    return pixels


def finding(one: Field, reason: str, message: str) -> Finding:
    """A finding about `one`, with the names of its files."""
    return Finding(one.id, reason, message, tuple(plane.key for plane in one.planes))


def suspicions(statistics: SiteStatistics, saturated_share: float) -> tuple[str, ...]:
    """The suspicious words that the pixels of a site deserve."""
    flat = statistics.flat
    words = ["blank"] if flat.all() else ["blank-channel"] if flat.any() else []
    return (*words, *(["saturated"] if (statistics.saturated > saturated_share).any() else []))


def separate(screen: Screen | Iterable[Field]) -> tuple[list[Field], list[Finding]]:
    """The sites of a screen each once, and what stands beside them: sites that come again, copies, absent sites."""
    given = screen if isinstance(screen, Screen) else Screen(tuple(screen))
    known: dict[FieldId, Field] = {}
    beside = []
    for one in given.fields:
        if (first := known.get(one.id)) is None:
            known[one.id] = one
            continue
        keys = ", ".join(plane.key for plane in first.planes) or "another array"
        beside.append(finding(one, "duplicate", f"the same site as {keys}"))
    beside += [
        Finding(one.id, "duplicate", f"the same as {', '.join(one.kept)}, which is read", one.files)
        for one in given.duplicates
    ]
    beside += [Finding(one, "missing", "a table tells of it, and no image is there") for one in given.absent]
    return list(known.values()), beside


def kind_of(fields: Sequence[Field], channels: Sequence[str] = ()) -> Kind:
    """The kind that most sites are of: the commonest channels, and the commonest shape and type of a few of them.

    Raises:
        EmptyError: no sites.
        ChannelMissingError: a channel that no site has.
        PhenostreamError: what reading the first of them raised, where none can be read.
    """
    if not fields:
        raise EmptyError("there are no sites to pack", remedy="check the source's settings")
    names = tuple(channels) or _commonest(fields)
    known = {channel.name for one in fields for channel in one.channels}
    if absent := [name for name in names if name not in known]:
        raise ChannelMissingError(
            f"no site has a channel {absent[0]!r}; there are {', '.join(sorted(known))}", remedy="name one of them"
        )
    return Kind(names, _coding(fields, names))


def _commonest(fields: Sequence[Field]) -> tuple[str, ...]:
    # The most channels win a tie: a site that lacks one is at fault, not those that have it.
    found = Counter(tuple(channel.name for channel in one.channels) for one in fields)
    return max(found, key=lambda names: (found[names], len(names)))


def _coding(fields: Sequence[Field], names: tuple[str, ...], samples: int = 5) -> Coding:
    fit = [one for one in fields if {*names} <= {channel.name for channel in one.channels}] or list(fields)
    seen: Counter[tuple[tuple[int, ...], str]] = Counter()
    first: PhenostreamError | None = None
    # Spread over the screen; where those cannot be read, whichever comes first that can.
    for one in [*fit[:: max(1, len(fit) // samples)][:samples], *fit]:
        if seen.total() >= min(samples, len(fit)) or (seen and one is fit[0]):
            break
        try:
            pixels = chosen(one, names).read()
        except PhenostreamError as error:
            if error.transient:
                raise
            first = first or error.at(plate=one.id.plate, well=one.id.well, site=one.id.site)
            continue
        if pixels.dtype.name in DTYPES:
            seen[pixels.shape, pixels.dtype.name] += 1
    if not seen:
        raise first or WrongDtypeError("no site has pixels that can be packed", remedy=f"types are {', '.join(DTYPES)}")
    (shape, dtype), _ = seen.most_common(1)[0]
    if len(shape) != 3:
        raise WrongShapeError(f"sites of shape {shape}", remedy="give (C, Y, X)")
    return Coding((shape[0], shape[1], shape[2]), dtype)
