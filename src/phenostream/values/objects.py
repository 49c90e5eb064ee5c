"""Objects: a label image and the identities of what it shows."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from phenostream.values.field import FieldId


@dataclass(frozen=True, slots=True, eq=False)
class Objects:
    """The objects of one field.

    Attributes:
        field: identity of the field they lie in.
        labels: (Y, X) int32, 0 is background; numbers need not be consecutive.
        compartment: what the objects are, as it stands in column names (``Nuclei``).
        model: name and hash of what segmented them; part of every cell id.
    """

    field: FieldId
    labels: NDArray[np.int32]
    compartment: str = "Nuclei"
    model: str = ""

    def numbers(self) -> NDArray[np.int32]:
        """The labels in use, ascending: the row order of every table about these objects."""
        largest = int(self.labels.max(initial=0))
        if largest <= self.labels.size:  # counting is many times faster than sorting, where the numbers are not wild
            found = np.flatnonzero(np.bincount(self.labels.ravel(), minlength=1)[1:]) + 1
        else:
            found = np.unique(self.labels)
            found = found[found > 0]
        return found.astype(np.int32)


def cell_id(field: FieldId, number: int, model: str) -> str:
    """Identity of one object, 32 hex digits: the same tomorrow, elsewhere and in any batch size.

    BLAKE2b over study, plate, well, site, time, z, object number and segmenter, length-prefixed so that no two
    different identities share an input.
    """
    digest = hashlib.blake2b(digest_size=16)
    for part in (field.study, field.plate, field.well, field.site, field.time, field.z, number, model):
        text = str(part).encode()
        digest.update(len(text).to_bytes(4, "little") + text)
    return digest.hexdigest()
