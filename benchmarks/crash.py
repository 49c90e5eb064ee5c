"""Crashes: kills at random moments, and a fault at every system call that strace can reach.

python benchmarks/crash.py kills --kills 1000 --seed 7     # the nightly series
python benchmarks/crash.py faults --thorough               # every call, not a sample; needs strace
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from phenostream.testing.faults import campaign, why_not
from phenostream.testing.killer import kill_often
from phenostream.testing.plates import FITTED


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("kills", "faults"))
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--units", type=int, default=10)
    parser.add_argument("--thorough", action="store_true")
    told = parser.parse_args()
    if told.what == "faults" and why_not():
        print(why_not())
        return 2
    with tempfile.TemporaryDirectory() as folder:
        if told.what == "kills":
            toll = kill_often(Path(folder), told.kills, seed=told.seed, units=told.units)
            print(f"{toll.kills} kills, {toll.late} too late, {toll.finished} runs finished after them,")
            wrong, seconds = toll.faults, toll.seconds
        else:
            damage = campaign(Path(folder), thorough=told.thorough, steps=FITTED)
            print(f"{damage.hits.total()} faults met their call {dict(damage.hits)}, {damage.missed} did not,")
            print(f"{damage.paused} runs ended with the exit code of a full disk,")
            wrong, seconds = damage.faults, damage.seconds
    print(f"{len(wrong)} lost, doubled, torn or left over, {seconds:.0f} s")
    print(*wrong, sep="\n")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
