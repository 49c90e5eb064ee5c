"""Time and peak memory of operations on tables, beside pycytominer: every figure from a process of its own.

python benchmarks/profiles.py --cells 100000 --pycytominer /path/to/python-with-pycytominer
python benchmarks/profiles.py --cells 10000000 --limit 12      # GiB of address space a process may take
python benchmarks/profiles.py --cells 100000000 --features 4 --kind float32 --only normalise,aggregate
python benchmarks/profiles.py --cells 1000000 --only merge,merge-shuffled,modz,select-ranks

From Parquet file to Parquet file: read, operate, write. Where both ran, their numbers are compared first. Time is the
processor's; that of the clock stands in brackets. `merge` is two programs' tables of the same cells, half of `features`
each, fields in the same order; for `merge-shuffled` the fields of the second come in another.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

# One core each: the numerical libraries read this when they are imported.
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

# ruff: noqa: E402
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

OPERATIONS = ("normalise", "select", "sphere", "aggregate")
OURS_ALONE = ("merge", "merge-shuffled", "modz", "select-ranks")
CONTROLS = {"Metadata_Control": "negative"}


def make(path: Path, cells: int, features: int, plates: int, kind: str) -> None:
    """Plates of 384 wells with a quarter controls; features in correlated pairs, two per cent missing in one of ten."""
    from phenostream.profiles.parts import writer_options
    from phenostream.values import Column, with_columns

    rng = np.random.default_rng(0)
    names = [f"Nuclei_Texture_F{place}_DNA" for place in range(features)]
    writer = None
    for start in range(0, cells, 65_536):
        rows = min(65_536, cells - start)
        place = np.arange(start, start + rows) * (plates * 384) // cells
        base = rng.normal(size=(rows, (features + 1) // 2))
        columns = {
            "Metadata_Plate": pa.array([f"P{one:03d}" for one in place // 384]),
            "Metadata_Well": pa.array([f"{chr(65 + one // 24)}{one % 24 + 1}" for one in place % 384]),
            "Metadata_Control": pa.array(np.where(place % 4 == 0, "negative", "compound").astype(str)),
        }
        for number, name in enumerate(names):
            values = base[:, number // 2] * (1 + number) + (0.3 * rng.normal(size=rows) if number % 2 else 0)
            if number % 10 == 9:
                values[rng.random(rows) < 0.02] = np.nan
            columns[name] = values.astype(kind)
        table = with_columns(pa.table(columns), [Column(name, "feature", "Nuclei", "Texture") for name in names])
        if writer is None:
            writer = pq.ParquetWriter(path, table.schema.remove_metadata(), **writer_options(table.schema))
        writer.write_table(table)
    writer.close()


def make_sides(path: Path, cells: int, features: int, *, shuffled: bool) -> None:
    """Two tables of the same cells, 240 a field, the second moved by a pixel and a fiftieth of it missing."""
    from phenostream.profiles.parts import writer_options
    from phenostream.values import Column, with_columns

    rng = np.random.default_rng(0)
    fields = max(1, cells // 240)
    order = rng.permutation(fields) if shuffled else np.arange(fields)
    for side, turns in (("", np.arange(fields)), (".other", order)):
        writer = None
        for start in range(0, fields, 256):
            field = np.repeat(turns[start : start + 256], 240)
            cell = np.tile(np.arange(240), len(field) // 240)
            kept = rng.random(len(field)) > (0.02 if side else 0)
            field, cell = field[kept], cell[kept]
            columns = {
                "Metadata_Plate": pa.array([f"P{one:03d}" for one in field // 384]),
                "Metadata_Well": pa.array([f"{chr(65 + one // 24)}{one % 24 + 1}" for one in field % 384]),
                "Location_Center_X": (cell % 20) * 60 + rng.normal(size=len(cell)),
                "Location_Center_Y": (cell // 20) * 60 + rng.normal(size=len(cell)),
            }
            names = [f"Nuclei_Texture_F{place}_DNA" for place in range(features // 2)]
            columns |= {name: rng.normal(size=len(cell)) for name in names}
            table = with_columns(pa.table(columns), [Column(name, "feature", "Nuclei", "Texture") for name in names])
            if writer is None:
                place = path.with_name(path.name + side)
                writer = pq.ParquetWriter(place, table.schema.remove_metadata(), **writer_options(table.schema))
            writer.write_table(table)
        writer.close()


def ours(operation: str, source: str, target: str) -> None:
    from phenostream.profiles.operating import operate

    settings: dict[str, dict[str, Any]] = {
        "normalise": {"method": "mad", "by": ["Metadata_Plate"], "controls": CONTROLS},
        "select": {"rules": ["missing", "variance", "correlation"]},
        "sphere": {"features": _whole(source)},
        "aggregate": {"method": "median"},
        "merge": {"table": source + ".other", "by": ["Metadata_Plate", "Metadata_Well"], "memory": 256 << 20},
        "modz": {"by": ["Metadata_Plate", "Metadata_Well"], "method": "modz", "features": _whole(source)},
        "select-ranks": {"rules": ["correlation"], "correlation_method": "spearman"},
    }
    settings["merge-shuffled"] = settings["merge"]
    name = {"merge-shuffled": "merge", "modz": "consensus", "select-ranks": "select"}.get(operation, operation)
    operate(source, name, **settings[operation]).write(target)


def theirs(operation: str, source: str, target: str) -> None:
    import pandas as pd
    from pycytominer import aggregate, feature_select, normalize

    frame = pd.read_parquet(source)
    features = [name for name in frame.columns if name.startswith("Nuclei_")]
    meta = [name for name in frame.columns if name.startswith("Metadata_")]
    if operation == "normalise":
        parts = [
            normalize(part, features=features, meta_features=meta, method="mad_robustize",
                      samples="Metadata_Control == 'negative'")
            for _, part in frame.groupby("Metadata_Plate", sort=False)
        ]  # fmt: skip
        made = pd.concat(parts)
    elif operation == "select":
        made = feature_select(
            frame, features=features, operation=["drop_na_columns", "variance_threshold", "correlation_threshold"]
        )
    elif operation == "sphere":
        chosen = _whole(source)
        made = normalize(frame, features=chosen, meta_features=meta, method="spherize", spherize_method="ZCA-cor")
    else:
        made = aggregate(frame, features=features, operation="median", compute_object_count=True,
                         object_feature="Metadata_Control")  # fmt: skip
    made.to_parquet(target, index=False, compression="zstd")


def _whole(source: str) -> list[str]:
    """Features without missing values: what sphering can take."""
    names = [name for name in pq.read_schema(source).names if name.startswith("Nuclei_")]
    return [name for number, name in enumerate(names) if number % 10 != 9]


def child(who: str, operation: str, source: str, target: str) -> None:
    before, busy = time.perf_counter(), time.process_time()
    (ours if who == "ours" else theirs)(operation, source, target)
    clock, busy = time.perf_counter() - before, time.process_time() - busy
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"seconds": round(busy, 1), "clock": round(clock), "peak": round(peak)}))


def measured(python: str, who: str, operation: str, source: Path, target: Path, limit: int) -> dict[str, float] | str:
    def held() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (limit << 30, limit << 30))

    command = [python, __file__, "--child", who, operation, str(source), str(target)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, preexec_fn=held)
    if ended.returncode:
        last = (ended.stderr.strip().splitlines() or ["killed"])[-1]
        return (
            f"no result in {limit} GiB" if "emory" in last or "llocate" in last or ended.returncode < 0 else last[:60]
        )
    return json.loads(ended.stdout.strip().splitlines()[-1])


def _told(who: str, one: dict[str, float] | str) -> str:
    return (
        f"{who}: {one['seconds']} s ({one['clock']}), {one['peak']} MiB" if isinstance(one, dict) else f"{who}: {one}"
    )


def difference(one: Path, two: Path) -> float:
    """The largest difference of any feature, relative to its spread; infinite where columns or rows differ."""
    files = pq.ParquetFile(one), pq.ParquetFile(two)
    names = [name for name in files[0].schema_arrow.names if name.startswith("Nuclei_")]
    if names != [name for name in files[1].schema_arrow.names if name.startswith("Nuclei_")]:
        return float("inf")
    largest = 0.0
    for name in names:
        first, second = (file.read(columns=[name]).column(0).to_numpy() for file in files)
        if len(first) != len(second) or not np.array_equal(np.isnan(first), np.isnan(second)):
            return float("inf")
        largest = max(largest, float(np.nanmax(np.abs(first - second)) / max(np.nanstd(second), 1e-300)))
    return largest


def main() -> int:
    if "--child" in sys.argv:
        child(*sys.argv[sys.argv.index("--child") + 1 :])
        return 0
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, default=100_000)
    parser.add_argument("--features", type=int, default=100)
    parser.add_argument("--plates", type=int, default=5)
    parser.add_argument("--kind", default="float64", choices=["float32", "float64"])
    parser.add_argument("--pycytominer", default="", help="a Python that has pycytominer; none: ours alone")
    parser.add_argument("--limit", type=int, default=16, help="GiB of address space of a process")
    parser.add_argument("--only", default=",".join(OPERATIONS), help=f"of these and {', '.join(OURS_ALONE)}")
    parser.add_argument("--folder", default=None, help="where tables are written")
    told = parser.parse_args()
    failed = False
    with tempfile.TemporaryDirectory(dir=told.folder) as folder:
        source = Path(folder) / "cells.parquet"
        make(source, told.cells, told.features, told.plates, told.kind)
        print(f"{told.cells:,} cells, {told.features} features ({told.kind}), {source.stat().st_size / 1e9:.2f} GB")
        # Kernels are compiled once for all processes: not part of what is compared.
        small = Path(folder) / "small.parquet"
        make(small, 2000, told.features, 1, told.kind)
        sides = Path(folder) / "sides.parquet", Path(folder) / "small_sides.parquet"
        for operation in told.only.split(","):
            read, warm = source, small
            if operation.startswith("merge"):
                read, warm = sides
                make_sides(read, told.cells, told.features, shuffled=operation == "merge-shuffled")
                make_sides(warm, 2000, told.features, shuffled=False)
            measured(sys.executable, "ours", operation, warm, Path(folder) / "warm.parquet", told.limit)
            results, targets = {}, {who: Path(folder) / f"{who}.parquet" for who in ("ours", "theirs")}
            results["ours"] = measured(sys.executable, "ours", operation, read, targets["ours"], told.limit)
            if told.pycytominer and operation not in OURS_ALONE:
                results["theirs"] = measured(told.pycytominer, "theirs", operation, read, targets["theirs"], told.limit)
            words = [_told(who, one) for who, one in results.items()]
            if all(isinstance(one, dict) for one in results.values()) and len(results) == 2:
                away = difference(targets["ours"], targets["theirs"])
                failed |= away > 1e-6
                words.append(f"largest difference {away:.1e}")
            failed |= not isinstance(results["ours"], dict)
            print(f"{operation:10s} " + "; ".join(words), flush=True)
            for target in targets.values():
                target.unlink(missing_ok=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
