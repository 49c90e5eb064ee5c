"""Mechanisms of BBBC021, and time and memory of mean average precision at 10^5 profiles.

Run ``python benchmarks/similarity.py mechanisms|controls|all [--data FOLDER] [--sizes 10000 100000]``. One core; time
is the processor's. ``controls``: against the controls of the plate. ``all``: against all profiles of other groups.
"""

from __future__ import annotations

import argparse
import os
import resource
import time
from pathlib import Path

# One core each: the numerical libraries read this when they are imported.
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

# ruff: noqa: E402
import numpy as np
import pyarrow as pa
from pyarrow import csv

from phenostream.benchmark.mechanisms import MechanismSettings, leave_compound_out, mechanisms, treated
from phenostream.benchmark.metrics.average_precision import Partners, average_precision, mean_average_precision
from phenostream.profiles.operating import operate
from phenostream.profiles.operations.replicates import whitening, within_covariance
from phenostream.profiles.roles import described
from phenostream.profiles.statistics import matrix
from phenostream.profiles.tables import feature_names

TREATMENT = ["Image_Metadata_Compound", "Image_Metadata_Concentration"]
CONTROL = {"Image_Metadata_Compound": "DMSO"}
SETTINGS = MechanismSettings(
    mechanism="moa", compound=TREATMENT[0], treatment=tuple(TREATMENT), batch="week", exclude=("DMSO",)
)


def bbbc021(folder):
    """Wells with compound, concentration, mechanism and week; features z-scored on the DMSO wells of each plate."""
    folder = folder / "fields/profiles_bbbc021"
    wells = csv.read_csv(folder / "ljosa_jbiomolscreen_2013_per_well_mean.csv.gz")
    images = csv.read_csv(folder / "BBBC021_v1_image.csv.gz")
    known = csv.read_csv(folder / "BBBC021_v1_moa.csv")
    named = {
        (row["Image_Metadata_Plate_DAPI"], row["Image_Metadata_Well_DAPI"]): (row[TREATMENT[0]], row[TREATMENT[1]])
        for row in images.to_pylist()
    }
    moa = {(row["compound"], row["concentration"]): row["moa"] for row in known.to_pylist()}
    place = [
        named[row]
        for row in zip(*(wells[f"Image_Metadata_{one}"].to_pylist() for one in ("Plate", "Well")), strict=True)
    ]
    wells = wells.append_column(TREATMENT[0], pa.array([compound for compound, _ in place]))
    wells = wells.append_column(TREATMENT[1], pa.array([str(dose) for _, dose in place]))
    wells = wells.append_column("moa", pa.array([moa.get(one) for one in place]))
    week = [plate.split("_")[0] for plate in wells["Image_Metadata_Plate"].to_pylist()]
    wells = described(wells.append_column("week", pa.array(week)))
    return operate(wells, "normalise", by=["Image_Metadata_Plate"], controls=CONTROL).table()


def transforms(normal):
    """Tables by name of the transform; none of them looks at a mechanism."""
    yield "z-score on DMSO by plate", normal
    kept = operate(normal, "select", rules=["missing"]).table()
    yield "sphering on DMSO, shrinkage 0.1", operate(kept, "sphere", controls=CONTROL, shrinkage=0.1).table()
    compressed = operate(kept, "compress", width=1.0).table()
    yield "arcsinh", compressed
    yield (
        "arcsinh, sphering on DMSO, shrinkage 0.1",
        operate(compressed, "sphere", controls=CONTROL, shrinkage=0.1).table(),
    )
    for width in (1.0, 3.0):
        compressed = operate(kept, "compress", width=width).table()
        for strength in (0.1, 0.3, 1.0):
            whitened = operate(compressed, "replicates", by=TREATMENT, regularisation=strength).table()
            yield f"arcsinh (width {width:g}), replicates ({strength:g})", whitened


def judged(folder):
    """Not-same-compound accuracy by transform, and of the choice among transforms on compounds it has not seen."""
    normal = bbbc021(folder)
    for name, table in transforms(normal):
        told = mechanisms(table, SETTINGS).told
        span, other = told["nsc"]["interval"], told["nscb"]
        print(
            f"| {name} | {told['nsc']['accuracy']:.3f} ({span['low']:.2f} to {span['high']:.2f}) |"
            f" {other['answerable_accuracy']:.3f} of {other['answerable']} |"
        )
    left = unseen(normal)
    print(f"| chosen and fitted without the compound that is judged | {left.accuracy:.3f} | |")
    counts = {one: list(left.chosen.values()).count(one) for one in set(left.chosen.values())}
    print("chosen:", counts)


def unseen(normal):
    """Width and strength chosen on, and covariance fitted on, all compounds but one; judged on that one."""
    treatments, _ = treated(normal, SETTINGS)
    names = [name for name in feature_names(normal.schema) if not np.isnan(matrix(normal, [name])).any()]
    values = matrix(normal, names)
    words = [" ".join(row) for row in zip(*(normal[one].to_pylist() for one in TREATMENT), strict=True)]
    place = {name: number for number, name in enumerate(treatments.names)}
    code = np.array([place.get(word, -1) for word in words])
    control = np.array([word.startswith("DMSO") for word in words])

    def fit(seen, candidate):
        width, strength = candidate
        bent = width * np.arcsinh(values / width)
        chosen = control | ((code >= 0) & seen[np.maximum(code, 0)])
        white = bent @ whitening(within_covariance(bent[chosen], code[chosen] + 1), strength)
        return np.stack([white[code == one].mean(axis=0) for one in range(len(seen))])

    grid = [(width, strength) for width in (1.0, 3.0, 10.0) for strength in (0.1, 0.3, 1.0, 3.0)]
    return leave_compound_out(fit, grid, treatments.mechanisms, treatments.compounds)


def growth(sizes, features, rules):
    """Time and memory by number of profiles, six replicates each, after the loops are compiled."""
    for size in (1000, *sizes):
        profiles = np.random.default_rng(0).normal(size=(size, features))
        drug, positives, negatives, queries = rules(size)
        start = time.process_time()
        found = average_precision(profiles, positives, negatives, queries=queries)
        ranked = time.process_time()
        mean_average_precision(found, drug)
        ended = time.process_time()
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        if size in sizes:
            print(
                f"| {size:,} | {ranked - start:.1f} s | {ended - ranked:.1f} s |"
                f" {peak:.0f} MiB, of which profiles {profiles.nbytes >> 20} MiB |",
                flush=True,
            )


def against_controls(size):
    """384-well plates with 32 controls each."""
    control = np.arange(size) % 12 == 0
    drug = np.where(control, -1, np.random.default_rng(1).permutation(size) // 6)
    return drug, Partners((drug,), among=~control), Partners((np.arange(size) // 384,), among=control), ~control


def against_all(size):
    """No controls, no plates."""
    drug = np.random.default_rng(1).permutation(size) // 6
    return drug, Partners((drug,)), Partners((), (drug,)), None


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["mechanisms", "controls", "all"])
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("PHENOSTREAM_TEST_DATA", "../shared/data")))
    parser.add_argument("--sizes", type=int, nargs="*", default=[10_000, 100_000])
    parser.add_argument("--features", type=int, default=300)
    given = parser.parse_args()
    if given.what == "mechanisms":
        judged(given.data)
    else:
        growth(given.sizes, given.features, against_controls if given.what == "controls" else against_all)
