"""Memory: the peak of a worker on a plate of twenty times its cap (counted in float64, as steps hold pixels).

python benchmarks/memory.py                  # 480 MiB cap, fields of 8 channels of 768 x 768
python benchmarks/memory.py --times 2        # a shorter plate
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from phenostream.stream import Processes, run
from phenostream.testing.plates import large_recipe
from phenostream.testing.watch import WorkerWatch


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=float, default=20)
    parser.add_argument("--cap", type=int, default=480, help="MiB")
    parser.add_argument("--side", type=int, default=768)
    parser.add_argument("--channels", type=int, default=8)
    told = parser.parse_args()
    cap, field = told.cap << 20, told.side**2 * told.channels * 8
    wells = int(told.times * cap / field) + 1
    with tempfile.TemporaryDirectory() as folder:
        recipe = large_recipe(Path(folder) / "images", wells=wells, side=told.side, channels=told.channels, memory=cap)
        with WorkerWatch() as seen:
            result = run(recipe, Path(folder) / "run", executor=Processes(1))
    print(f"{result.done} of {wells} fields, {wells * field / 1e9:.1f} GB of pixels, {result.seconds:.0f} s")
    print(f"cap {cap >> 20} MiB, peak {seen.peak >> 20} MiB ({100 * seen.peak / cap:.0f} %)")
    return int(seen.peak > 1.1 * cap or result.done < wells)


if __name__ == "__main__":
    sys.exit(main())
