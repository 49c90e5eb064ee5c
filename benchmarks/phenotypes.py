"""Phenotypes of the MitoCheck crops: weighted F1 by features, rescaling, model and split.

Run ``python benchmarks/phenotypes.py --out FOLDER [--data FOLDER] [--splits image well]``. One core, for all
about half an hour. Described crops are kept in FOLDER and used again.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

# One core each: the numerical libraries read this when they are imported.
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

# ruff: noqa: E402
from phenostream.benchmark.phenotyping import cross_validate, evaluate
from phenostream.profiles.phenotypes import CropTable, DescribeSettings, describe, labelled, read_crops
from phenostream.profiles.tables import Held, open_table, whole, write_table
from phenostream.values import columns_of

EMBEDDING = "cellnet"
SETS = {
    "classical": lambda column: column.family not in ("Scattering", "embedding"),
    "classical, scattering": lambda column: column.family != "embedding",
    "classical, scattering, embedding": lambda _: True,
}


def cells(data, out, rescale):
    """The described crops, from FOLDER where they were described before."""
    path = out / f"cells_{rescale}.parquet"
    if not path.is_file():
        folder = data / "mitocheck"
        settings = CropTable(
            table=folder / "mitocheck_cells_dev.csv",
            images=tuple(folder / f"mitocheck_cells_dev_part{part}.zip" for part in (1, 2)),
            name="{phenotype}/{file}",
            label="phenotype",
            exclude=("Folded",),
            rescale=rescale,
        )
        start = time.perf_counter()
        write_table(Held(describe(read_crops(settings), DescribeSettings(embedding=EMBEDDING))), path)
        print(f"described in {time.perf_counter() - start:.0f} s ({rescale})")
    return whole(open_table(path))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("PHENOSTREAM_TEST_DATA", "../shared/data")))
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--splits", nargs="*", default=["cell", "image", "well", "plate"])
    parser.add_argument("--models", nargs="*", default=["elastic_net", "discriminant"])
    given = parser.parse_args()
    given.out.mkdir(exist_ok=True)
    for rescale in ("none", "range"):
        table = cells(given.data, given.out, rescale)
        for name, wanted in SETS.items():
            shown = [one for one in columns_of(table.schema) if one.role == "feature" and not one.positional]
            told = [one.name for one in shown if wanted(one)]
            known = labelled(table, features=told)
            for model in given.models:
                for by in given.splits:
                    start = time.process_time()
                    found = evaluate(cross_validate(known, model, by=by), permutations=0)
                    span, split = found["more"]["interval"], found["split"]
                    print(
                        f"| {name} | {'rescaled' if rescale == 'range' else 'as is'} | {model} | {by} |"
                        f" {split['weighted_f1']:.3f} ({span['low']:.2f} to {span['high']:.2f}) |"
                        f" {split['macro_f1']:.3f} |"
                        f" {time.process_time() - start:.0f} s |",
                        flush=True,
                    )


if __name__ == "__main__":
    main()
