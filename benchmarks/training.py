"""Examples a second of the fit loop beside a bare PyTorch loop: same network, same batches, same optimizer.

    python benchmarks/training.py [--device cuda] [--steps 60] [--rounds 5] [--json FILE]

Rows: batches that cost nothing (what the loop itself costs), batches augmented in this process, and in two worker
processes. The loops take turns and the best round of each counts. Beside the clock's time stands the processor's (of
this process, without the workers'), which a busy machine does not spoil. The first steps load kernels: left out.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from pydantic import BaseModel
from scipy import ndimage
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader

from phenostream.training import FitSettings, Task, devices, fit
from phenostream.training.order import Order


class Settings(BaseModel):
    size: int = 64
    augmented: bool = False


class Net(nn.Sequential):
    """A plain stack of convolutions with norms, 0.3 million weights."""

    def __init__(self, width: int = 32) -> None:
        def block(inputs: int, outputs: int) -> list[nn.Module]:
            return [nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]

        super().__init__(
            *block(1, width), nn.MaxPool2d(2), *block(width, 2 * width), nn.MaxPool2d(2), *block(2 * width, 4 * width),
            *block(4 * width, 4 * width), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4 * width, 10),
        )  # fmt: skip


class Random(Task):
    """Random images of ten kinds; a rotation by a random angle where augmentation is wanted."""

    def __init__(self, settings: Settings, examples: int) -> None:
        self._settings = settings
        self._images = np.random.default_rng(0).normal(size=(examples, 1, settings.size, settings.size)).astype("f4")

    @property
    def settings(self) -> Settings:
        return self._settings

    def network(self) -> nn.Module:
        return Net()

    def __len__(self) -> int:
        return len(self._images)

    def example(self, index: int, rng: np.random.Generator) -> dict[str, object]:
        image = self._images[index]
        if self._settings.augmented:
            image = ndimage.rotate(image, rng.uniform(0, 360), axes=(1, 2), reshape=False, order=1)
        return {"image": image, "kind": index % 10}

    def loss(self, network, batch):
        return functional.cross_entropy(network(batch["image"]), batch["kind"]), {}


_WARM = 8


def bare(task: Random, batch_size: int, workers: int, device: torch.device) -> tuple[float, float]:
    """Examples a second, by clock and by processor, of the loop that everybody writes first: no log, no clipping."""

    class Examples(torch.utils.data.Dataset):
        def __len__(self) -> int:
            return len(task)

        def __getitem__(self, index: int) -> dict[str, object]:
            return task.example(index, np.random.default_rng(index))

    torch.manual_seed(0)
    network = task.network().to(device, memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3)
    loader = DataLoader(
        Examples(), batch_size, shuffle=True, drop_last=True, num_workers=workers, collate_fn=task.collate,
        pin_memory=device.type == "cuda",
    )  # fmt: skip
    for step, batch in enumerate(loader):
        if step == _WARM:
            start = time.perf_counter(), time.process_time()
        moved = {name: one.to(device, non_blocking=True) for name, one in batch.items()}
        optimizer.zero_grad()
        loss, _ = task.loss(network, moved)
        loss.backward()
        optimizer.step()
    float(loss.detach())
    taken = (len(loader) - _WARM) * batch_size
    return taken / (time.perf_counter() - start[0]), taken / (time.process_time() - start[1])


def ours(task: Random, batch_size: int, workers: int, device: torch.device) -> tuple[float, float]:
    """The same of `fit` with everything on: clipping, running mean, CSV, checkpoints."""
    settings = FitSettings(
        epochs=1, batch_size=batch_size, workers=workers, ema=0.999, precision="fp32", tensorboard=False,
        log_every=_WARM,
    )  # fmt: skip
    told: list[tuple[int, float, float]] = []
    with tempfile.TemporaryDirectory() as folder:
        fit(
            task, settings, folder=folder, device=str(device),
            progress=lambda at: told.append((at.step, time.perf_counter(), time.process_time())),
        )  # fmt: skip
    first, last = told[0], told[-1]
    taken = (last[0] - first[0]) * batch_size
    return taken / (last[1] - first[1]), taken / (last[2] - first[2])


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--device", default="auto")
    words.add_argument("--steps", type=int, default=60)
    words.add_argument("--batch-size", type=int, default=32)
    words.add_argument("--rounds", type=int, default=5)
    words.add_argument("--json", type=Path)
    asked = words.parse_args()
    device = devices.pick(asked.device)
    told = []
    for name, augmented, workers in (("free", False, 0), ("augmented", True, 0), ("augmented, 2 workers", True, 2)):
        task = Random(Settings(augmented=augmented), asked.steps * asked.batch_size)
        rates = [
            (bare(task, asked.batch_size, workers, device), ours(task, asked.batch_size, workers, device))
            for _ in range(asked.rounds)
        ]
        row: dict[str, object] = {"batches": name}
        for clock, kind in enumerate(("wall", "cpu")):
            plain, full = (max(pair[who][clock] for pair in rates) for who in (0, 1))
            row |= {f"bare_{kind}": plain, f"phenostream_{kind}": full, f"ratio_{kind}": full / plain}
            print(
                f"{name:22s} {kind:5s} bare {plain:8.1f}/s  phenostream {full:8.1f}/s  {full / plain:.3f}", flush=True
            )
        told.append(row)
    order = Order(100_000, 32, seed=0)
    start = time.perf_counter()
    for step in range(1000):
        order.batch(step)
    print(f"order of a batch of 32: {1e3 * (time.perf_counter() - start):.1f} us; threads {torch.get_num_threads()}")
    if asked.json:
        asked.json.write_text(json.dumps({"device": str(device), "rows": told}, indent=2))


if __name__ == "__main__":
    main()
