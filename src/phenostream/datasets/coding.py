"""How one site is stored: which codec suits which pixels, and decoding that never takes more than it should.

8-bit pixels go through Zstandard alone, wider ones through Blosc with bit shuffle: on fluorescence images that is the
smallest of the codecs that decode at memory speed, and each is what plain Zarr readers know under its name.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

import imagecodecs
import numcodecs  # type: ignore[import-untyped]
import numpy as np

from phenostream.errors import DamagedError, WrongDtypeError, WrongShapeError
from phenostream.formats.limits import DEFAULT, check_claim
from phenostream.formats.ome_zarr.codecs import Coding as ChunkCoding
from phenostream.formats.ome_zarr.codecs import check_blob

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Blob = bytes | bytearray | memoryview

DTYPES = ("uint8", "uint16", "uint32", "int16", "int32", "float32")
LEVEL = 3
# Raw bytes over stored bytes, roughly, of fluorescence images: what a shard's number of sites is reckoned with.
_USUAL_RATIO = {1: 3.8, 2: 1.7, 4: 1.3}


@dataclass(frozen=True)
class Coding:
    """What every site of a pack has in common.

    Attributes:
        shape: (C, Y, X).
        dtype: name of the pixels' type, one of ``DTYPES``.

    Raises:
        WrongShapeError: not three axes of some length.
        WrongDtypeError: another type.
        TooLargeError: a site of more bytes than a reader may be asked to allocate.
    """

    shape: tuple[int, int, int]
    dtype: str

    def __post_init__(self) -> None:
        if self.dtype not in DTYPES:
            raise WrongDtypeError(f"sites of {self.dtype} cannot be packed", remedy=f"convert to {', '.join(DTYPES)}")
        if len(self.shape) != 3:
            raise WrongShapeError(f"a site of shape {self.shape}", remedy="give (C, Y, X)")
        check_claim(self.shape, self.dtype, "a site")

    @property
    def name(self) -> str:
        """``zstd`` or ``blosc``."""
        return "zstd" if self._item == 1 else "blosc"

    @cached_property
    def nbytes(self) -> int:
        """Bytes of one site, decoded."""
        return math.prod(self.shape) * self._item

    @cached_property
    def _item(self) -> int:
        return np.dtype(self.dtype).itemsize

    @cached_property
    def _encoder(self) -> Any:
        if self.name == "zstd":
            return numcodecs.Zstd(level=LEVEL)
        return numcodecs.Blosc(cname="zstd", clevel=LEVEL, shuffle=numcodecs.Blosc.BITSHUFFLE)

    def sites_in(self, shard_bytes: int) -> int:
        """How many sites make a shard of about so many bytes; the same wherever shape and type are the same."""
        return max(1, round(shard_bytes * _USUAL_RATIO[self._item] / self.nbytes))

    def encode(self, site: NDArray[Any]) -> bytes:
        """The stored bytes of `site` (C, Y, X). Raises WrongShapeError, WrongDtypeError for one of another kind."""
        self._check(site)
        return bytes(self._encoder.encode(np.ascontiguousarray(site, np.dtype(self.dtype).newbyteorder("<"))))

    def decode(self, blob: Blob, out: NDArray[Any] | None = None) -> NDArray[Any]:
        """The site (C, Y, X) of `blob`; in `out` where given, which must be contiguous and of this shape and type.

        The interpreter's lock is free while it decodes.

        Raises:
            DamagedError: the bytes do not decode to exactly one site.
            TooLargeError: they claim more than a site; nothing was allocated.
            WrongShapeError, WrongDtypeError: an `out` of another kind.
        """
        site = np.empty(self.shape, self.dtype) if out is None else out
        if out is not None:
            self._check(out)
        if not site.flags.c_contiguous:
            raise WrongShapeError("out is not contiguous", remedy="give a C-contiguous array")
        flat = site.reshape(-1).view(np.uint8)
        check_blob(cast("bytes", blob), ChunkCoding(self.name), self.nbytes, "of a site", DEFAULT)
        source, target = cast("Any", blob), cast("Any", flat)
        try:
            if self.name == "zstd":
                done = imagecodecs.zstd_decode(source, out=target)
            else:
                done = imagecodecs.blosc_decode(source, out=target, numthreads=1)
        except (imagecodecs.ZstdError, imagecodecs.BloscError, ValueError) as error:
            raise DamagedError(
                f"a site does not decode: {error}", remedy="verify the pack, and pack it again"
            ) from error
        if len(done) != self.nbytes:
            raise DamagedError(f"a site holds {len(done):,} of {self.nbytes:,} bytes", remedy="pack it again")
        return site

    def _check(self, site: NDArray[Any]) -> None:
        if site.shape != self.shape:
            raise WrongShapeError(
                f"a site of shape {site.shape} among sites of {self.shape}", remedy="pack each shape on its own"
            )
        if site.dtype.name != self.dtype:
            raise WrongDtypeError(
                f"a site of {site.dtype.name} among sites of {self.dtype}", remedy="pack each on its own"
            )
