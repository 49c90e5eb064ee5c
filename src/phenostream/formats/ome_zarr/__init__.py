"""OME-Zarr plates and images, OME-NGFF 0.4 (Zarr v2) and 0.5 (Zarr v3): read plane by plane, and written.

`Plane.key` is the folder of the plate or image, `Plane.inner` the array of one resolution (``A/4/0/0``), or the image
group (``A/4/0``) for its finest. Source: https://ngff.openmicroscopy.org/0.4 and /0.5.
"""

from phenostream.formats.ome_zarr.reader import fields, labels, read, touch
from phenostream.formats.ome_zarr.writer import Layout, WellImage, write_image, write_plate

__all__ = ["Layout", "WellImage", "fields", "labels", "read", "touch", "write_image", "write_plate"]
