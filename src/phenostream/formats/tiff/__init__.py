"""TIFF and OME-TIFF: pages, compressed or not, in strips or tiles; written too.

`Plane.key` is the file. `Plane.inner` is ``page/7`` for the page of that index, ``image/1`` for the second image of an
OME-TIFF, or empty: then c, t, z are looked up in the OME-XML or ImageJ description, and t counts the pages of a plain
file. Source: TIFF 6.0 (Adobe, 1992); OME-TIFF specification, https://ome-model.readthedocs.io/en/stable/ome-tiff/.
"""

from phenostream.formats.tiff.reader import fields, read, touch
from phenostream.formats.tiff.writer import write

__all__ = ["fields", "read", "touch", "write"]
