"""Batches of sites to learn from and to judge on, through the product's one loader."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, Field

from phenostream.datasets import loading
from phenostream.datasets.loading.tensors import channels_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import numpy as np
    from numpy.typing import ArrayLike, NDArray
    from torch import Tensor

    from phenostream.datasets.loading import orders
    from phenostream.training.classification.sites import Sites
    from phenostream.training.classification.views import ViewSettings
    from phenostream.training.devices import Team
    from phenostream.training.order import Order

_JUDGED = 64


class SamplerSettings(BaseModel):
    """Which sites come in which batch."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["shuffled", "balanced", "groups"] = Field(
        "shuffled",
        description="shuffled: each site once an epoch; balanced: every value of `column` equally often; groups: `each`"
        " sites of each of a few values a batch",
    )
    column: str = Field("", description="balanced, groups: whose values; empty: the label")
    each: int = Field(4, ge=1, description="groups: sites of a value in a batch of one process")
    across: str = Field("", description="groups: column in which sites of one value shall differ, such as experiment")

    def order(self, label: str) -> orders.Order:
        """The loader's order."""
        column = self.column or label
        if self.kind == "balanced":
            return loading.Balanced(column)
        return loading.Groups(column, self.each, self.across) if self.kind == "groups" else loading.Shuffled()


@dataclass(frozen=True, slots=True, eq=False)
class Feed:
    """Batches of sites with what comes with their images.

    Attributes:
        sites: which they are.
        columns: values (sites of the pack, ...) by name.
    """

    sites: Sites
    columns: Mapping[str, ArrayLike]

    def learning(
        self, views: ViewSettings, sampling: orders.Order, order: Order, *, step: int, team: Team, workers: int
    ) -> Iterator[dict[str, Tensor]]:
        """Batches of the sites to learn from, cropped and turned on the device, without end.

        Args:
            views: how they are varied.
            sampling: which come in which batch.
            order: of the fit, whose batch size and seed hold here, too.
            step: with which to begin, counted over all epochs.
            team: this process among those that share each batch.
            workers: processes that read; 0: threads.

        Raises:
            RecipeError: sizes that do not fit the sampling, a column that is not there.
            DamagedError, NotFoundError: a site that is not what was packed.
        """
        batches = loading.batches(
            self.sites.pack, batch_size=order.batch_size // team.world, shuffle=sampling, seed=order.seed,
            sites=self.sites.train, share=loading.Share(team.rank, team.world),
            settings=loading.LoadSettings(last="drop"),
        )  # fmt: skip
        loader = loading.torch_loader(
            batches, transform=loading.Transform(augmentation=views.cut(self.sites.pack.shape)), columns=self.columns,
            device=str(team.device), workers=workers,
        )  # fmt: skip
        loader.state = batches.course.before(step)
        return map(self._chosen, loader.forever())

    def judging(self, rows: NDArray[np.intp], *, device: str) -> Iterator[dict[str, Tensor]]:
        """Batches of the sites `rows`, in their order, as they are packed. Raises as `learning`."""
        batches = loading.batches(self.sites.pack, batch_size=_JUDGED, shuffle=False, sites=rows)
        return map(self._chosen, loading.torch_loader(batches, columns=self.columns, device=device))

    def _chosen(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The chosen channels, under the name that networks are given."""
        told = dict(batch)
        return {**told, "image": channels_of(told.pop("pixels"), self.sites.channels.tolist())}
