"""Packed sites as PyTorch tensors: a loader whose threads work outside the interpreter's lock, and a plain data set."""

from __future__ import annotations

from collections import deque
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from phenostream.datasets.loading.augmenting import Transform, moved
from phenostream.datasets.loading.batches import Batch
from phenostream.datasets.loading.steps import State
from phenostream.errors import MissingExtraError, RecipeError

try:
    import torch
    from torch.utils.data import DataLoader, Dataset
except ModuleNotFoundError as error:
    raise MissingExtraError.of("PyTorch", "train") from error

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import ArrayLike, NDArray

    from phenostream.datasets.loading.augmenting import Moves
    from phenostream.datasets.loading.batches import Batches
    from phenostream.datasets.loading.steps import Step
    from phenostream.datasets.packs import Pack

Tensors: TypeAlias = "dict[str, torch.Tensor]"

_PLAIN = Transform()
# Types in which PyTorch can do little else than be told the bytes of.
_CARRIERS = {torch.uint16: torch.int16, torch.uint32: torch.int32}


class TorchLoader:
    """Batches as tensors; going over it gives an epoch, the next one each time.

    A batch is a mapping: ``pixels`` (N, C, y, x), ``site`` (N,) int64, ``group`` (N,) int64, ``repeated`` (N,) bool,
    and a tensor for each given column.

    Attributes:
        batches: what it goes over.
        state: after the last batch that was given.
    """

    def __init__(
        self,
        batches: Batches,
        transform: Transform,
        columns: Mapping[str, torch.Tensor],
        device: torch.device,
        workers: int,
    ) -> None:
        """Use `torch_loader`."""
        self.batches = batches
        self.state = batches.course.start(0)
        self._transform = transform
        self._columns = columns
        self._device = device
        self._workers = workers
        self._moving: deque[tuple[Any, torch.Tensor]] = deque()
        if device.type == "cuda" and not workers:
            batches.use_memory(_pinned)

    def __len__(self) -> int:
        """Batches of an epoch, the same for every process."""
        return len(self.batches)

    def __iter__(self) -> Iterator[Tensors]:
        """What is left of the epoch of `state`; then that is the beginning of the next."""
        begun, course = self.state, self.batches.course
        yield from self._told(self._parallel(course.steps(begun)) if self._workers else self.batches.resume(begun))
        self.state = course.start(begun.epoch + 1)

    def forever(self) -> Iterator[Tensors]:
        """One stream over all epochs, from `state` on; reading ahead does not pause between them."""
        begun, course = self.state, self.batches.course
        yield from self._told(self._parallel(course.forever(begun)) if self._workers else self.batches.forever(begun))

    def set_epoch(self, epoch: int) -> None:
        """Begin this epoch next."""
        self.state = self.batches.course.start(epoch)

    def state_dict(self) -> dict[str, Any]:
        """Where it stands, for a checkpoint: after the last batch that was given."""
        return asdict(self.state)

    def load_state_dict(self, told: Mapping[str, Any]) -> None:
        """Go on from there. Raises RecipeError for a state of something else."""
        self.state = self.batches.course.checked(State(**told))

    def _told(self, found: Iterator[Batch]) -> Iterator[Tensors]:
        for batch in found:
            tensors = self._tensors(batch)
            self.state = batch.state
            yield tensors

    def _parallel(self, steps: Iterator[Step]) -> Iterator[Batch]:
        """The same batches from worker processes."""
        loader: DataLoader[Any] = DataLoader(
            _Reading(self.batches),
            batch_size=None,
            sampler=steps,
            num_workers=self._workers,
            collate_fn=_as_it_is,
            generator=torch.Generator().manual_seed(0),
        )
        for pixels, kept, after in loader:
            sites, groups, keys, repeated = (one.numpy() for one in kept)
            yield Batch(pixels.numpy(), sites, groups, keys, repeated, after, self.batches.pack)

    def _tensors(self, batch: Batch) -> Tensors:
        pixels = torch.from_numpy(batch.pixels)
        if self._device.type != "cpu":
            pixels = self._sent(pixels)
        told = {"site": batch.sites, "group": batch.groups, "repeated": batch.repeated}
        found = {name: torch.from_numpy(np.ascontiguousarray(one)) for name, one in told.items()}
        found |= {name: column[found["site"]] for name, column in self._columns.items()}
        moves = self._transform.moves(batch)
        return {"pixels": transformed(pixels, moves), **{name: one.to(self._device) for name, one in found.items()}}

    def _sent(self, pixels: torch.Tensor) -> torch.Tensor:
        """On the device; pinned memory is held until it has been copied."""
        sent = pixels.to(self._device, non_blocking=True)
        if self._device.type == "cuda" and pixels.is_pinned():
            event: Any = torch.cuda.Event
            copied = event()
            copied.record(torch.cuda.current_stream(self._device))
            self._moving.append((copied, pixels))
            while self._moving and (self._moving[0][0].query() or len(self._moving) > 2):
                self._moving.popleft()[0].synchronize()
        return sent


class SiteDataset(Dataset[Any]):
    """Sites one by one, for a `torch.utils.data.DataLoader` of your own; several at a time are read in order of place.

    An item is a mapping: ``pixels`` (C, Y, X), ``site``, and each given column.
    """

    def __init__(self, pack: Pack, columns: Mapping[str, torch.Tensor]) -> None:
        """Use `torch_dataset`."""
        self.pack = pack
        self._columns = columns

    def __len__(self) -> int:
        return len(self.pack)

    def __getitem__(self, site: int) -> Tensors:
        """Site by number. Raises as `Pack` does."""
        return self.__getitems__([site])[0]

    def __getitems__(self, sites: Sequence[int]) -> list[Tensors]:
        """Several at once, which PyTorch asks for where it can."""
        numbers = torch.as_tensor(list(sites), dtype=torch.int64)
        pixels = torch.from_numpy(self.pack.read(numbers.numpy()))
        found = {"pixels": pixels, "site": numbers, **{name: one[numbers] for name, one in self._columns.items()}}
        return [{name: one[at] for name, one in found.items()} for at in range(len(numbers))]


def torch_loader(
    batches: Batches,
    *,
    transform: Transform = _PLAIN,
    columns: Mapping[str, ArrayLike] | None = None,
    device: str = "cpu",
    workers: int = 0,
) -> TorchLoader:
    """Batches of packed sites as tensors on a device.

    Sites go to a GPU in the type of the pack from pinned memory, and are transformed there. The result does not
    depend on the device (up to rounding), nor on `workers`.

    Args:
        batches: what `phenostream.datasets.loading.batches` gives.
        transform: normalisation and augmentation.
        columns: values (sites of the pack,) such as labels, to come with each batch.
        device: ``cpu``, ``cuda`` ...
        workers: processes that read, instead of threads. Threads are faster unless something else holds the
            interpreter's lock.

    Raises:
        RecipeError: a column of another length, or a device that PyTorch does not know.
    """
    try:
        where = torch.device(device)
    except RuntimeError as error:
        raise RecipeError(f"no device is called {device!r}", remedy="cpu, cuda or cuda:1") from error
    return TorchLoader(batches, transform, _columns(batches.pack, columns), where, workers)


def torch_dataset(pack: Pack, *, columns: Mapping[str, ArrayLike] | None = None) -> SiteDataset:
    """Packed sites for a `torch.utils.data.DataLoader`. Raises RecipeError for a column of another length."""
    return SiteDataset(pack, _columns(pack, columns))


def transformed(pixels: torch.Tensor, moves: Moves) -> torch.Tensor:
    """Do `moves` to `pixels` (N, C, Y, X) where they are: what `augmenting.moved` does, on any device."""
    if pixels.device.type == "cpu":
        return torch.from_numpy(moved(pixels.numpy(), moves))
    return on_device(pixels, moves)


def on_device(pixels: torch.Tensor, moves: Moves) -> torch.Tensor:
    """As `transformed`, with PyTorch's own operations."""
    if moves.keep(tuple(pixels.shape)):
        return pixels
    carried = pixels.view(_CARRIERS.get(pixels.dtype, pixels.dtype))
    out = torch.empty((*pixels.shape[:2], *moves.size), dtype=carried.dtype, device=pixels.device)
    for number in range(len(pixels)):
        top, left = int(moves.top[number]), int(moves.left[number])
        view = carried[number, :, top : top + moves.size[0], left : left + moves.size[1]]
        view = view.flip(2) if moves.mirror[number] else view
        out[number] = torch.rot90(view, int(moves.turn[number]), (1, 2))
    out = out.view(pixels.dtype)
    if moves.scale is None or moves.shift is None:
        return out
    scale, shift = (_spread(one, pixels.device) for one in (moves.scale, moves.shift))
    return out.to(torch.float32).mul_(scale).add_(shift)


def channels_of(pixels: torch.Tensor, places: Sequence[int]) -> torch.Tensor:
    """Channels of `pixels` (N, C, Y, X) by place, in this order, in any type and on any device."""
    if list(places) == list(range(pixels.shape[1])):
        return pixels
    carried = pixels.view(_CARRIERS.get(pixels.dtype, pixels.dtype))
    return carried[:, list(places)].view(pixels.dtype)


class _Reading(Dataset[Any]):
    """Whole batches by step: what a worker process does."""

    def __init__(self, batches: Batches) -> None:
        self._batches = batches

    def __getitem__(self, step: Step) -> tuple[torch.Tensor, list[torch.Tensor], State]:
        batch = self._batches.read(step)
        told = (batch.sites, batch.groups, batch.keys, batch.repeated)
        return torch.from_numpy(batch.pixels), [torch.from_numpy(one) for one in told], batch.state


def _as_it_is(one: Any) -> Any:
    return one


def _columns(pack: Pack, columns: Mapping[str, ArrayLike] | None) -> dict[str, torch.Tensor]:
    found = {name: torch.as_tensor(np.asarray(values)) for name, values in (columns or {}).items()}
    for name, values in found.items():
        if len(values) != len(pack):
            raise RecipeError(
                f"{len(values):,} values of {name} for {len(pack):,} sites", remedy="give one a site of the pack"
            )
    return found


def _spread(values: NDArray[np.float32], device: torch.device) -> torch.Tensor:
    return torch.from_numpy(values).to(device, non_blocking=True)[:, :, None, None]


def _pinned(size: int) -> NDArray[np.uint8]:
    return torch.empty(size, dtype=torch.uint8, pin_memory=True).numpy()
