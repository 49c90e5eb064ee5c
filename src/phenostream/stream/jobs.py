"""One field on its way through a run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from phenostream import values
    from phenostream.stream.fetch import Bundle
    from phenostream.stream.plan import Unit


@dataclass(slots=True, eq=False)
class Job:
    """A unit to be measured, or (without `unit`) a sample to be shrunk for its plate's illumination.

    Attributes:
        name: key of the unit; of the unit of the same field for a sample.
        lease: bytes of disk to ask for, 0 where nothing is known yet.
        deaths: how often a worker died with this job alone in hand.
        bundle: its captured bytes, once they are here.
        refetched: whether damaged bytes of it were asked for once more.
    """

    name: str
    field: values.Field
    plate: tuple[str, str]
    unit: Unit | None = None
    lease: int = 0
    deaths: int = 0
    bundle: Bundle | None = None
    refetched: bool = False

    @property
    def spool_name(self) -> str:
        """Its folder in the spool; a sample and a unit of one field do not collide."""
        return self.name if self.unit else f"sample-{self.name}"

    def drop(self) -> None:
        """Delete its bytes and give their lease back."""
        if self.bundle:
            self.bundle.discard()
            self.bundle = None


def place(field: values.Field) -> dict[str, object]:
    """The words that say where an error happened."""
    return {"plate": field.id.plate, "well": field.id.well, "site": field.id.site, "frame": field.id.time + 1}
