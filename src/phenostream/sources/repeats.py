"""Repeats: files that would be what others are already, and which of them is taken.

A site may lie twice below a base: a folder copied aside, a plate listed again. One copy is read, always the same one;
what is left over is told, so that an audit can name it and a pack can do with it what its policy says.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from phenostream.errors import RecipeError
from phenostream.sources.names import natural

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from phenostream.values import FieldId

File = TypeVar("File")


@dataclass(frozen=True, slots=True)
class Repeat:
    """A further copy of a site, or of some of its channels.

    Attributes:
        id: which site.
        kept: the files that are read as these channels of it.
        files: those that would be the same.
    """

    id: FieldId
    kept: tuple[str, ...]
    files: tuple[str, ...]


def one_each(
    files: Mapping[str, Sequence[File]], key: Callable[[File], str]
) -> tuple[dict[str, File], list[dict[str, File]]]:
    """One file for each channel of a site, and the copies that are left over, each by channel.

    The folder that holds most of the channels comes first, then that whose name does in natural order: channels of one
    acquisition stay together, whatever stray file lies beside them, and in whichever order files were listed.

    Args:
        files: the files that are each channel, at least one.
        key: name of a file.
    """
    if all(len(found) == 1 for found in files.values()):
        return {channel: found[0] for channel, found in files.items()}, []
    held = Counter(_folder(key(one)) for found in files.values() for one in found)

    def order(one: File) -> tuple[object, ...]:
        folder = _folder(key(one))
        return -held[folder], natural(folder), natural(key(one)), key(one)

    ranked = {channel: sorted(found, key=order) for channel, found in files.items()}
    copies = range(1, max(map(len, ranked.values())))
    rest = [{channel: found[k] for channel, found in ranked.items() if len(found) > k} for k in copies]
    return {channel: found[0] for channel, found in ranked.items()}, rest


def of_site(
    site: FieldId, kept: Mapping[str, File], copies: Sequence[Mapping[str, File]], key: Callable[[File], str]
) -> list[Repeat]:
    """What is left over of one site, a `Repeat` a copy."""
    return [
        Repeat(
            site,
            tuple(dict.fromkeys(key(kept[channel]) for channel in copy)),
            tuple(dict.fromkeys(key(one) for one in copy.values())),
        )
        for copy in copies
    ]


def refuse(found: Sequence[Repeat], *, remedy: str) -> None:
    """Raise RecipeError where a site is there more than once; it names the first two files, and says how many sites."""
    if found:
        first = found[0]
        others = f", and {len(found) - 1:,} more copies of sites" if len(found) > 1 else ""
        raise RecipeError(f"two files are one channel of one site: {first.kept[0]} and {first.files[0]}{others}",
                          remedy=remedy)  # fmt: skip


def _folder(key: str) -> str:
    return key.rpartition("/")[0]
