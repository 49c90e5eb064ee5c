"""How packed sites are loaded."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class LoadSettings(BaseModel):
    """Threads, memory, and what happens to the end of an epoch and to damaged sites."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    together: tuple[str, ...] = Field(
        (),
        description="Columns whose equal values keep sites together, such as plate and well; batches then count these.",
    )
    last: Literal["spread", "drop", "pad"] | None = Field(
        None,
        description="What does not fill a batch: spread evenly over the processes; dropped, other sites each epoch; or "
        "filled up with sites that repeat. None: drop for orders made of whole batches, else spread.",
    )
    faults: Literal["fail", "skip"] = Field(
        "fail", description="Damaged and missing sites: an error, or left out of their batch and counted."
    )
    threads: int = Field(
        0, ge=0, description="That read and decode; 0: two more than there are usable cores, 16 at most."
    )
    prefetch_mb: int = Field(256, ge=0, description="Megabytes of decoded batches made ahead; one batch at least.")
    ahead_mb: int = Field(
        96,
        ge=1,
        description="Remote: megabytes of stored sites fetched ahead; where one batch takes more than a third of it, "
        "three batches.",
    )
    cache_mb: int = Field(256, ge=0, description="Remote: megabytes of stored sites kept for when they come again.")
    connections: int = Field(8, ge=1, le=64, description="Remote: requests at one time.")
    gap_kb: int = Field(
        128, ge=0, description="Remote: sites with at most so many kilobytes between them share a request."
    )
    request_mb: int = Field(8, ge=1, description="Remote: megabytes of one request, unless one site is larger.")
