"""Percent replicating and percent matching of a table of profiles."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from phenostream.benchmark.activity import codes_of, directed, usable, whole_of
from phenostream.benchmark.metrics.percent_replicating import percent_replicating
from phenostream.profiles.groups import known_rows
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
        by: column of the perturbation (percent replicating) or mechanism (percent matching).
        differ: column that two profiles of a pair must not share. Rows without a value (null or empty) in either take
            no part, counted.
        draws: null sets.
        seed: of the null sets.

    Returns:
        ``share``, ``threshold``, ``groups``, ``groups_without_pair``, ``rows_without_annotation``, and what else was
        left out, as plain JSON values.

    Raises:
        NotFoundError: a column that is missing. RecipeError: nothing to compare.
    """
    source = open_table(where)
    names = feature_names(source.schema())
    keys = [by, *([differ] if differ else [])]
    require(source.schema(), keys)
    table = whole_of(source, [*keys, *names])
    known = known_rows(table, keys)
    taken = usable(table, names, known)
    good = directed(taken.values)
    table = table.filter(pa.array(taken.rows)).filter(pa.array(good))
    apart = codes_of(table, [differ]) if differ else None
    found = percent_replicating(taken.values[good], codes_of(table, [by]), differ=apart, draws=draws, rng=seed)
    defined = np.isfinite(found.similarity)
    return {
        "share": found.share,
        "threshold": found.threshold,
        "groups": int(defined.sum()),
        "groups_without_pair": int((~defined).sum()),
        "rows_without_annotation": int((~known).sum()),
        **taken.told,
        "profiles_without_direction": int((~good).sum()),
    }
