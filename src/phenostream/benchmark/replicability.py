"""Percent replicating and percent matching of a table of profiles."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from phenostream.benchmark.activity import codes_of, usable, whole_of
from phenostream.benchmark.metrics.percent_replicating import percent_replicating
from phenostream.profiles.tables import feature_names, open_table, require

if TYPE_CHECKING:
    from pathlib import Path

    from phenostream.profiles.tables import Source


def replicability(
    where: Source | pa.Table | str | Path, *, by: str, differ: str | None = None, draws: int = 1000, seed: int = 0
) -> dict[str, Any]:
    """Share of groups more alike than chance; see :func:`~.metrics.percent_replicating.percent_replicating`.

    Args:
        where: profiles: a table in memory, a Parquet file or folder.
        by: column of the perturbation (percent replicating) or mechanism (percent matching); rows without take no part.
        differ: column that two profiles of a pair must not share.
        draws: null sets.
        seed: of the null sets.

    Returns:
        ``share``, ``threshold``, ``groups``, ``groups_without_pair``, and what was left out, as plain JSON values.

    Raises:
        NotFoundError: a column that is missing. RecipeError: nothing to compare.
    """
    source = open_table(where)
    names = feature_names(source.schema())
    keys = [by, *([differ] if differ else [])]
    require(source.schema(), keys)
    table = whole_of(source, [*keys, *names])
    known = pc.is_valid(table.column(by))
    table = table.filter(known)
    values, left_out = usable(table, names)
    good = left_out.pop("rows")
    apart = codes_of(table, [differ])[good] if differ else None
    found = percent_replicating(values[good], codes_of(table, [by])[good], differ=apart, draws=draws, rng=seed)
    defined = np.isfinite(found.similarity)
    return {
        "share": found.share,
        "threshold": found.threshold,
        "groups": int(defined.sum()),
        "groups_without_pair": int((~defined).sum()),
        **left_out,
    }
