"""What can be chosen about a pack."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class PackSettings(BaseModel):
    """How sites are packed."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    strategy: Literal["stable", "random", "by_exp_plate_site"] = Field(
        "stable", description="Which sites lie together: see phenostream.datasets.strategies."
    )
    seed: int = Field(42, ge=0, lt=2**32, description="Of the order of sites.")
    by: tuple[str, ...] = Field(("plate",), description="stable: columns whose values make an array each; none: one.")
    sites_per_shelf: int = Field(1500, ge=1, description="random: sites of one array.")
    channels: tuple[str, ...] = Field((), description="Channels by name, in this order; none: all.")
    faults: Literal["drop", "keep-blank", "fail"] = Field(
        "drop", description="Sites that cannot be read: left out, packed as zeros and marked, or an error."
    )
    suspects: Literal["keep", "drop", "fail"] = Field("keep", description="Sites that are blank or saturated.")
    saturated_share: float = Field(
        0.05,
        ge=0,
        le=1,
        description="A channel with a larger share of its pixels at the top of the type, or piled up at the top of a"
        " camera of 10 to 15 bits, is saturated.",
    )
    shard_mb: int = Field(128, ge=1, le=4096, description="Megabytes that a shard of usual images takes, about.")
    licence: str = Field("", description="Of the images, for whoever finds the pack.")
