"""Calls of a whole table into a file, counted on the way; memory holds one piece."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from phenostream.profiles.phenotypes.classifier import CALL
from phenostream.profiles.tables import write_table

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pyarrow as pa

    from phenostream.profiles.phenotypes.classifier import Classifier
    from phenostream.profiles.tables import Source


def write_calls(
    classifier: Classifier, where: Source | pa.Table | str | Path, out: str | Path, *, each: bool = True
) -> dict[str, Any]:
    """Call every cell of a table and write the calls as Parquet; see :meth:`.classifier.Classifier.apply`.

    Returns:
        ``cells``, ``called`` (cells by class) and ``not_called`` (cells with too few features), as plain JSON values.

    Raises:
        NotFoundError: a column that the classifier needs is missing. DiskFullError: no room; `out` is as it was.
    """
    counted = _Counted(classifier.apply(where, each=each), Counter())
    rows = write_table(counted, Path(out))
    silent = counted.counts.pop(None, 0)
    return {"table": str(out), "cells": rows, "not_called": silent, "called": dict(counted.counts.most_common())}


@dataclass(frozen=True, slots=True)
class _Counted:
    """Another source, whose calls are counted as they pass."""

    of: Source
    counts: Counter[Any]

    def schema(self) -> pa.Schema:
        return self.of.schema()

    def count(self) -> int:
        return self.of.count()

    def tables(self, names: Sequence[str] | None = None) -> Iterator[pa.Table]:
        for table in self.of.tables(names):
            self.counts.update(table.column(CALL).to_pylist())
            yield table
