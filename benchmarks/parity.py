"""Largest relative difference of every column from CellProfiler's own output; writes ``docs/parity.md``.

Run ``python benchmarks/parity.py FOLDER_WITH_FIELDS``: that of the public example images with CellProfiler's CSVs.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from phenostream.testing.cellprofiler import example_fly, example_human, table_of_differences

PAGE = Path(__file__).resolve().parents[1] / "docs" / "parity.md"
HEAD = """# Difference from CellProfiler, column by column

The largest relative difference over all objects between `phenostream.measure` and CellProfiler's own output; values
below 1e-6 count as 1e-6. ExampleHuman: 121 nuclei, channels DNA and PH3, CellProfiler 4.0.6, whose masks were recovered
exactly from its outlines. ExampleFly, an older CellProfiler: 22 nuclei that its threshold alone gives, and the cells
and cytoplasms that our propagation finds round them, 20 of 22 with CellProfiler's area to the pixel. Written by
`python benchmarks/parity.py FOLDER`; a test keeps it true. An empty cell: not in that output.

What differs by more than rounding has a reason:

* `AreaShape_Orientation`: CellProfiler 4.0 wrote radians (they agree to 1e-9 in degrees).
* ExampleFly: that CellProfiler had another `Center`, `Perimeter` (so `FormFactor` and `Compactness`) and ellipse, and
  for cells and cytoplasms other radii. Ours are those of 4.2, as ExampleHuman and cp_measure show.
* `AreaShape_Solidity`: the convex hull of both versions is older than 4.2's, to which cp_measure is the witness.
* `Location_MaxIntensity`: among equally bright pixels CellProfiler takes any, we the first.
* `Correlation_RWC`: ranks are over the pixels of all nuclei of an image, of which some masks are unknown. Over
  the whole images they agree to 1e-6.
* `Correlation_Costes`: that CellProfiler searched the threshold in another way. By the search of 4.2, to which
  cp_measure is the witness, there is none over the pixels of these nuclei.

What cannot be compared, because no output with known masks and raw pixels is at hand: granularity, radial distribution
and radial Zernikes (measured after an illumination correction whose functions are not there), skeletons (no output at
all), neighbours (measured among objects of which some masks are unknown; two NF1 nuclei agree to what their masks
allow). cp_measure is their witness, scikit-image that of skeletons.

"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("fields", type=Path)
    folder = parser.parse_args().fields
    sets = {"ExampleHuman": example_human(folder / "examplehuman")}
    sets |= {f"ExampleFly {name}": pairs for name, pairs in example_fly(folder / "examplefly").items()}
    PAGE.write_text(HEAD + table_of_differences(sets), encoding="utf-8")


if __name__ == "__main__":
    main()
