"""CellH5 movies, with h5py alone: pixels, label regions, features, classes and tracks, read and written.

`Plane.key` is the file, `Plane.inner` the path of a position
(``sample/0/plate/LT0001_02/experiment/00004/position/1``), or empty where the file holds one position only.
Source: C. Sommer et al., CellH5: a format for data exchange in high-content screening, Bioinformatics 29 (2013).
"""

from phenostream.formats.cellh5.position import Position, Region, positions
from phenostream.formats.cellh5.reader import fields, labels, read, touch
from phenostream.formats.cellh5.writer import Movie, Segmented, write

__all__ = ["Movie", "Position", "Region", "Segmented", "fields", "labels", "positions", "read", "touch", "write"]
