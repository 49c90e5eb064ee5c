"""Learning which proposals are objects, from those of annotated images."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from phenostream.objects.judge import Judge, scaled

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from phenostream.objects.proposals import Proposals

    Floats = NDArray[np.float64]

MEMBERS, _UNITS = 3, 24
_LONGEST, _SHORTEST, _BATCH, _RATE, _DECAY = 1000, 200, 1024, 0.02, 0.3
_ROWS = 10  # proposals a step, as far as there are that many
_SOME = 10  # proposals by which the count of each image is lengthened before it is weighed
_HIT = 0.5  # overlap from which on a proposal is an object


def overlaps(proposals: Proposals, truth: NDArray[np.int32]) -> Floats:
    """The greatest intersection over union (N,) of each proposal with an object of `truth` (Y, X)."""
    count = len(proposals.facts)
    leaves, width = count - len(proposals.children), int(truth.max(initial=0)) + 1
    joint = proposals.fragments.ravel().astype(np.int64) * width + truth.ravel()
    shared = np.zeros((count, width))
    shared[:leaves] = np.bincount(joint, minlength=(leaves + 1) * width).reshape(-1, width)[1:]
    for node, (one, other) in enumerate(proposals.children, leaves):
        shared[node] = shared[one] + shared[other]
    union = shared.sum(axis=1, keepdims=True) + np.bincount(truth.ravel(), minlength=width) - shared
    return np.asarray((shared / union)[:, 1:].max(axis=1, initial=0), np.float64)


def learn(facts: Sequence[Floats], found: Sequence[Floats], seed: int = 0) -> Judge:
    """The judge of proposals that are objects where they overlap one by more than half.

    An image with many proposals counts as about the square root of their number.

    Args:
        facts: (N, F) of each image, as of :func:`phenostream.objects.proposals.propose`.
        found: (N,) of each image, as of :func:`overlaps`.
        seed: of the first of the networks; the same on every machine of one kind.
    """
    rows, hits = np.concatenate(facts), np.concatenate(found) > _HIT
    weight = np.concatenate([np.full(len(one), (_SOME + len(one)) ** -0.5) for one in found])
    middle, spread = rows.mean(axis=0), rows.std(axis=0) + 1e-6
    columns = scaled(rows, middle, spread), hits, weight / weight.mean()
    given = [torch.tensor(one, dtype=torch.float32) for one in columns]
    members = [_member(*given, seed=seed + member) for member in range(MEMBERS)]
    stacked = (np.stack([one[part].detach().numpy() for one in members]) for part in range(4))
    hidden, hidden_bias, output, output_bias = stacked
    return Judge(middle, spread, hidden, hidden_bias, output[:, 0], output_bias[:, 0])


def _member(rows: Tensor, hits: Tensor, weight: Tensor, *, seed: int) -> list[Tensor]:
    """Weights and biases of the hidden layer and of the answer."""
    with torch.enable_grad(), torch.random.fork_rng(devices=[]):  # also while a fit validates
        torch.manual_seed(seed)
        network = nn.Sequential(nn.Linear(rows.shape[1], _UNITS), nn.ReLU(), nn.Linear(_UNITS, 1))
        steps = min(max(len(rows) // _ROWS, _SHORTEST), _LONGEST)
        optimiser = torch.optim.AdamW(network.parameters(), _RATE, weight_decay=_DECAY)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, _RATE, total_steps=steps)
        for _ in range(steps):
            chosen = torch.randint(len(rows), (_BATCH,))
            answer = network(rows[chosen])[:, 0]
            each = nn.functional.binary_cross_entropy_with_logits(answer, hits[chosen], weight=weight[chosen])
            optimiser.zero_grad()
            each.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            schedule.step()
    return list(network.parameters())
