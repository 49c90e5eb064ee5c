"""A thousand to a million units: making the plan, beginning, going on, asking for the status, and the cost of a unit.

    python benchmarks/scale.py                         # 10^3 to 10^6 units, table and figure
    python benchmarks/scale.py --units 1000 100000     # only these
    python benchmarks/scale.py --again                 # table and figure from the figures kept in benchmarks/scale.json

Plates, tables, ledger and part files are as a real run has them; the work itself is simulated (a transfer writes one
small file, computing gives a ready part at once), so that what is left is the engine. Every figure comes from a process
of its own. All but the last 1,000 units are written into ledger and folder (as empty files) as done; the engine does
the rest, three times from the same state: the cost of a unit is the smallest of the three. A million units take 7 GB of
disk; with TMPDIR in memory, 3 GB.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
import uuid
from concurrent.futures import Future
from pathlib import Path
from typing import Any

LEFT = 1000
PLATES, WELLS = 2600, 384
PART_BYTES = 400
TIMES = 3
DATA = Path(__file__).with_suffix(".json")
FIGURE = Path(__file__).parent.parent / "docs" / "images" / "scale.png"


def tables(folder: Path, units: int) -> dict[str, Any]:
    """A work list of so many frames over up to 2,600 plates, a fileset table, and the recipe for them."""
    plates = min(PLATES, -(-units // WELLS))
    names = [f"LT{number // 4:04d}_{number % 4 + 1:02d}" for number in range(plates)]
    filesets, work_list = folder / "idr0013.csv", folder / "data_to_process.tsv"
    filesets.write_text(
        "".join(
            f"idr0013/{name}.ome.zarr,S-BIAD865/{uuid.uuid5(uuid.NAMESPACE_URL, name)},{18000 + number}\r\n"
            for number, name in enumerate(names)
        ),
        newline="",
    )
    head = ("", "Plate", "Well", "Frames", "Well Number", "Control Type", "Original Gene Target", "Gene_Replicate")
    with work_list.open("w") as file:
        print(*head, "Site", sep="\t", file=file)
        place = dict.fromkeys(names, 0)
        for number in range(units):
            plate = names[number * plates // units]
            site, well = divmod(place[plate], WELLS)
            place[plate] += 1
            name = f"{chr(65 + well // 24)}{well % 24 + 1}"
            print(number, plate, name, 50, well + 1, "", f"GENE{well}", 1, site + 1, sep="\t", file=file)
    source = {"catalog": "idr", "work_list": str(work_list), "filesets": [str(filesets)]}
    return {"source": source, "correct": {"method": "basic", "frames": 48}}


class Simulated:
    """Gives a ready part for every unit at once."""

    workers = 2

    def __init__(self, *, stop_at_first: bool) -> None:
        self.first: tuple[float, float] | None = None
        self._stop_at_first = stop_at_first

    def submit(self, function: Any, *_: Any) -> Future[Any]:
        import numpy as np

        from phenostream.stream import steps

        told: Future[Any] = Future()
        if function is steps.process:
            if self.first is None:
                self.first = time.monotonic(), time.process_time()
                if self._stop_at_first:
                    raise KeyboardInterrupt
            payload = os.urandom(PART_BYTES)
            told.set_result(steps.Product(payload, 200, {"n_objects": 200.0}, {"segment": 1.0}))
        elif function is steps.shrink:
            told.set_result(steps.Shrunk(np.zeros((1, 8, 8), np.float32), (1024, 1344)))
        else:
            told.set_result(os.urandom(PART_BYTES))
        return told

    def revive(self) -> None:
        pass

    def close(self, *, kill: bool = False) -> None:
        pass


def simulate_transfers() -> None:
    from phenostream.stream import fetch

    def pretend(fetcher: Any, name: str, _: Any, lease: Any) -> Any:
        folder = fetcher._spool / name  # noqa: SLF001
        folder.mkdir(parents=True)
        lease.spend(4096)
        (folder / "000001").write_bytes(b"x")
        lease.shrink()
        return fetch.Bundle(folder, lease, "0" * 64, 0.0)

    fetch.Fetcher.fetch = pretend  # type: ignore[method-assign]


# ---- one figure each, in a process of its own ------------------------------------------------------------------------


def measure_plan(recipe: dict[str, Any], run: Path) -> dict[str, float]:
    from phenostream.stream.plan import make_plan
    from phenostream.stream.recipe import Recipe
    from phenostream.stream.start import store_of

    asked = Recipe.load(recipe)
    wall, cpu = time.monotonic(), time.process_time()
    plan = make_plan(asked, store_of(asked))
    assert len(plan.units)
    assert not run.exists()
    return {"plan_s": time.monotonic() - wall, "plan_cpu": time.process_time() - cpu, "plan_mb": peak()}


def measure_begin(recipe: dict[str, Any], run: Path) -> dict[str, float]:
    """From nothing to the first unit: plan, enrol, illumination of the first plate."""
    return {f"begin_{key}": value for key, value in _run(recipe, run, stop_at_first=True).items()}


def measure_resume(recipe: dict[str, Any], run: Path) -> dict[str, float]:
    return {f"resume_{key}": value for key, value in _run(recipe, run, stop_at_first=False).items()}


def measure_again(recipe: dict[str, Any], run: Path) -> dict[str, float]:
    """Nothing is left to do."""
    return {"again_s": _run(recipe, run, stop_at_first=False)["total_s"]}


def _run(recipe: dict[str, Any], run: Path, *, stop_at_first: bool) -> dict[str, float]:
    begun = process_start()
    simulate_transfers()
    from phenostream.stream import run as run_recipe

    executor = Simulated(stop_at_first=stop_at_first)
    told = run_recipe(recipe, run, executor=executor)
    end, end_cpu = time.monotonic(), time.process_time()
    figures = {"total_s": end - begun, "mb": peak()}
    if executor.first:
        figures |= {"first_s": executor.first[0] - begun, "first_cpu": executor.first[1]}
        if not stop_at_first:
            assert told.done + told.rejected == told.inputs
            figures |= {
                "unit_ms": 1000 * (end - executor.first[0]) / LEFT,
                "unit_cpu_ms": 1000 * (end_cpu - executor.first[1]) / LEFT,
            }
    return figures


def process_start() -> float:
    """When this process began, on the monotonic clock: importing counts."""
    ticks = float(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
    return ticks / os.sysconf("SC_CLK_TCK")


def peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000


def measure_status(_: dict[str, Any], run: Path) -> dict[str, float]:
    from phenostream.stream import status

    start = time.monotonic()
    status(run)
    inside = time.monotonic() - start
    start = time.monotonic()
    command = [sys.executable, "-c", "from phenostream.cli import main; main()", "status", str(run), "--json"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    size = (run / "ledger.db").stat().st_size
    return {"status_s": inside, "status_command_s": time.monotonic() - start, "ledger_mb": size / 1e6}


MEASURES = {
    "plan": measure_plan, "begin": measure_begin, "resume": measure_resume,
    "again": measure_again, "status": measure_status,
}  # fmt: skip


# ---- around them -----------------------------------------------------------------------------------------------------


def finish_all_but_the_last(run: Path) -> None:
    """Write parts and outcomes of all but the last 1,000 units, as the engine would have."""
    import hashlib

    database = sqlite3.connect(run / "ledger.db", isolation_level=None)
    keys = [row[0] for row in database.execute("SELECT key FROM units WHERE state='waiting' ORDER BY position")][:-LEFT]
    for shelf in range(256):
        (run / "parts" / f"{shelf:02x}").mkdir(exist_ok=True)
    database.execute("PRAGMA synchronous=OFF")
    database.execute("BEGIN")
    now = time.time()
    for number, key in enumerate(keys):
        sha256 = hashlib.sha256(key.encode()).hexdigest()
        part = f"parts/{sha256[:2]}/{sha256}.parquet"
        (run / part).touch()
        database.execute("INSERT INTO parts VALUES(?,?,?,?)", (part, sha256, 4, 200))
        ending = (part, "0" * 64, '{"n_objects": 200.0, "focus_DNA": 12.5}', '{"fetch": 1.1, "segment": 1.0}')
        database.execute(
            "UPDATE units SET state='done', rows=200, bytes=4, finished=?, part=?, source=?, qc=?, seconds=?"
            " WHERE key=?",
            (now - len(keys) + number, *ending, key),
        )
    database.execute("COMMIT")
    database.close()


def child(measure: str, recipe: Path, run: Path) -> dict[str, float]:
    command = [sys.executable, __file__, "--child", measure, str(recipe), str(run)]
    told = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    figures: dict[str, float] = json.loads(told.splitlines()[-1])
    return figures


def figures_of(units: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        recipe, run = folder / "recipe.json", folder / "run"
        recipe.write_text(json.dumps(tables(folder, units)))
        found = {"units": float(units)} | child("plan", recipe, run) | child("begin", recipe, run)
        finish_all_but_the_last(run)
        found |= child("status", recipe, run) | resumed(recipe, run) | child("again", recipe, run)
        print(f"# {units:,}: {found}", file=sys.stderr)
        return found


def resumed(recipe: Path, run: Path) -> dict[str, float]:
    """What going on takes, the first time; what a unit costs, at the best of times."""
    ledger, kept = run / "ledger.db", run.parent / "ledger.kept"
    shutil.copyfile(ledger, kept)
    found = []
    for _ in range(TIMES):
        shutil.copyfile(kept, ledger)
        found.append(child("resume", recipe, run))
    costs = ("resume_unit_ms", "resume_unit_cpu_ms")
    return found[0] | {cost: min(one[cost] for one in found) for cost in costs}


ROWS = (
    ("plan made, s of wall time", "plan_s", "{:.1f}"), ("plan made, s of one core", "plan_cpu", "{:.1f}"),
    ("plan made, peak MB", "plan_mb", "{:.0f}"), ("from nothing to the first unit, s", "begin_first_s", "{:.1f}"),
    ("... of one core", "begin_first_cpu", "{:.1f}"), ("... peak MB", "begin_mb", "{:.0f}"),
    ("resume to the first unit, s", "resume_first_s", "{:.1f}"), ("... of one core", "resume_first_cpu", "{:.1f}"),
    ("... peak MB", "resume_mb", "{:.0f}"), ("engine, ms a unit", "resume_unit_ms", "{:.2f}"),
    ("... of one core", "resume_unit_cpu_ms", "{:.2f}"), ("run with nothing to do, s", "again_s", "{:.1f}"),
    ("status, s", "status_s", "{:.2f}"), ("`phenostream status`, s", "status_command_s", "{:.2f}"),
    ("ledger, MB", "ledger_mb", "{:.0f}"),
)  # fmt: skip


def table(found: list[dict[str, float]]) -> None:
    print("| units | " + " | ".join(f"{int(one['units']):,}" for one in found) + " |")
    print("|---" * (len(found) + 1) + "|")
    for words, key, form in ROWS:
        print(f"| {words} | " + " | ".join(form.format(one[key]) for one in found) + " |")


def figure(found: list[dict[str, float]], path: Path) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    x = [one["units"] for one in found]
    drawing, (left, right) = plt.subplots(1, 2, figsize=(8.4, 3.2), layout="constrained")
    for words, key in (
        ("plan", "plan_cpu"), ("nothing to first unit", "begin_first_cpu"),
        ("resume to first unit", "resume_first_cpu"), ("status", "status_s"),
    ):  # fmt: skip
        left.loglog(x, [one[key] for one in found], marker="o", label=words)
    for limit, words in ((60, "plan"), (10, "resume"), (1, "status")):
        left.axhline(limit, color="0.7", lw=0.8, ls=":")
        left.annotate(f"{words} < {limit} s", (x[0], limit * 1.08), fontsize=7, color="0.4")
    left.set(xlabel="units", ylabel="seconds of one core")
    left.legend(fontsize=7, frameon=False)
    right.semilogx(x, [one["resume_unit_ms"] for one in found], marker="o", label="wall time")
    right.semilogx(x, [one["resume_unit_cpu_ms"] for one in found], marker="o", label="one core")
    right.set(xlabel="units", ylabel="engine, ms a unit")
    right.set_ylim(bottom=0)
    right.legend(fontsize=7, frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    drawing.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--units", type=int, nargs="+", default=[1_000, 10_000, 100_000, 1_000_000])
    parser.add_argument("--figure", type=Path, default=FIGURE)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--again", action="store_true", help="measure nothing")
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    told = parser.parse_args()
    if told.child:
        measure, recipe, run = told.child
        print(json.dumps(MEASURES[measure](json.loads(Path(recipe).read_text()), Path(run))))
        return
    if not told.again:
        told.data.write_text(json.dumps([figures_of(units) for units in told.units], indent=1) + "\n")
    found = json.loads(told.data.read_text())
    table(found)
    figure(found, told.figure)


if __name__ == "__main__":
    main()
