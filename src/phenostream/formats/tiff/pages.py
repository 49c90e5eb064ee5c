"""One page of a TIFF: what it claims, its stored strips or tiles, and its pixels.

Strips and tiles of byte codecs are unpacked here into exactly the room that the page leaves them; other codecs are
decoded by tifffile's own functions, from the same bytes.
"""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import imagecodecs
import numpy as np

from phenostream.errors import DamagedError, WrongDtypeError
from phenostream.formats.limits import Limits, check_claim, check_dtype

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from phenostream.formats.tiff.file import StoreFile

_AT_ONCE = 8
_FETCH_AGAIN = "fetch the file again, or tell whoever keeps it"
# Codecs whose output is plain bytes, so that its length can be held against what the page says.
_CODECS: dict[int, Callable[..., Any]] = {
    5: imagecodecs.lzw_decode,
    8: imagecodecs.deflate_decode,
    32946: imagecodecs.deflate_decode,
    32773: imagecodecs.packbits_decode,
    50000: imagecodecs.zstd_decode,
}


@dataclass(frozen=True, slots=True)
class Page:
    """What one page says of itself: all that is needed to fetch and decode it without its file.

    Attributes:
        key: of the file.
        shape: rows, columns, samples.
        segment: rows and columns of a strip or tile.
        tiled: tiles rather than strips.
        planar: each segment holds one sample only, all segments of a sample follow each other.
        dtype: in the byte order of the file.
        compression: TIFF tag 259.
        predictor: TIFF tag 317.
        spans: first byte and end of each segment.
        decode: tifffile's own decoder, for codecs that are not byte codecs; segment and index to rows.
    """

    key: str
    shape: tuple[int, int, int]
    segment: tuple[int, int]
    tiled: bool
    planar: bool
    dtype: np.dtype[Any]
    compression: int
    predictor: int
    spans: tuple[tuple[int, int], ...]
    decode: Callable[[bytes, int], NDArray[Any]] | None

    @property
    def samples(self) -> int:
        """Samples in one segment."""
        return 1 if self.planar else self.shape[2]

    @property
    def across(self) -> int:
        """Segments side by side."""
        return -(-self.shape[1] // self.segment[1])

    @property
    def down(self) -> int:
        """Segments one below another."""
        return -(-self.shape[0] // self.segment[0])


def described(page: Any, key: str, size: int, limits: Limits) -> Page:
    """What tifffile's `page` claims, compared with the file's `size` and the caps.

    Raises:
        WrongDtypeError: samples that are not integers to 32 bits or float32.
        TooLargeError: the page or a segment claims too much.
        DamagedError: segments that do not fit the page or reach behind the end.
    """
    if page.dtype is None:
        raise WrongDtypeError(f"{key} has samples of {page.bitspersample} bits and format {page.sampleformat}")
    check_dtype(page.dtype, key)
    shape = (page.imagelength, page.imagewidth, page.samplesperpixel)
    segment = (page.tilelength, page.tilewidth) if page.is_tiled else (min(page.rowsperstrip, shape[0]), shape[1])
    check_claim(shape, page.dtype, f"a page of {key}", stored=size, limits=limits)
    check_claim((*segment, shape[2]), page.dtype, f"a segment of {key}", stored=size, limits=limits)
    found = Page(
        key=key,
        shape=shape,
        segment=segment,
        tiled=page.is_tiled,
        planar=page.planarconfig == 2,
        dtype=page.dtype.newbyteorder(page.parent.byteorder),
        compression=int(page.compression),
        predictor=int(page.predictor),
        spans=_spans(page, key),
        decode=None if _is_plain(page) else _decoder(page),
    )
    _check_spans(found, size, page.imagedepth)
    return found


def stored(file: StoreFile, page: Page) -> list[bytes]:
    """Stored bytes of each segment; neighbours come in one request."""
    groups: list[list[tuple[int, int]]] = []
    for span in page.spans:
        if groups and groups[-1][-1][1] == span[0]:
            groups[-1].append(span)
        else:
            groups.append([span])
    blobs = _at_once(lambda group: file.span(group[0][0], group[-1][1]), groups)
    return [
        blob[start - group[0][0] : stop - group[0][0]]
        for group, blob in zip(groups, blobs, strict=True)
        for start, stop in group
    ]


def decoded(page: Page, blobs: Sequence[bytes]) -> NDArray[Any]:
    """The picture (Y, X), or (Y, X, samples) where there are several, in native byte order. Raises DamagedError."""
    segments = [_segment(page, at, blob) for at, blob in enumerate(blobs)]
    each = page.across * page.down
    parts = [_assembled(page, segments[at : at + each]) for at in range(0, len(segments), each)]
    picture = np.concatenate(parts, axis=2)[: page.shape[0], : page.shape[1]]
    return np.ascontiguousarray(picture.reshape(page.shape if page.shape[2] > 1 else page.shape[:2]))


def _is_plain(page: Any) -> bool:
    """Whether segments are plain bytes once unpacked."""
    whole = page.bitspersample == 8 * page.dtype.itemsize and page.fillorder == 1
    predicted = page.predictor == 1 or (page.predictor == 2 and page.dtype.kind in "ui")
    return bool(page.compression in (1, *_CODECS) and whole and predicted)


def _decoder(page: Any) -> Callable[[bytes, int], NDArray[Any]]:
    decode, how = page.decode, {"_fullsize": page.is_tiled}
    if page.compression in (6, 7, 34892, 33007):
        how |= {"jpegtables": page.jpegtables, "jpegheader": page.jpegheader}
    return lambda blob, at: np.asarray(decode(blob, at, **how)[0][0])


def _spans(page: Any, key: str) -> tuple[tuple[int, int], ...]:
    """First byte and end of each segment, from the tags themselves: tifffile cuts lists that are too long."""
    starts, counts = (page.tags.get(code) for code in ((324, 325) if page.is_tiled else (273, 279)))
    if starts is None or counts is None:
        return tuple(
            (start, start + count) for start, count in zip(page.dataoffsets, page.databytecounts, strict=False)
        )
    if starts.count != counts.count:
        raise DamagedError(f"{key} has {starts.count} segments but {counts.count} lengths", remedy=_FETCH_AGAIN)
    found = zip(np.ravel(starts.value).tolist(), np.ravel(counts.value).tolist(), strict=True)
    return tuple((start, start + count) for start, count in found)


def _check_spans(page: Page, size: int, depth: int) -> None:
    needed = page.across * page.down * (page.shape[2] if page.planar else 1)
    if len(page.spans) != needed or depth != 1:
        raise DamagedError(f"{page.key} has {len(page.spans)} segments where its size of {page.shape} needs {needed}")
    if any(start <= 0 or stop > size or stop <= start for start, stop in page.spans):
        raise DamagedError(f"{page.key} is truncated: a segment ends behind byte {size:,}", remedy=_FETCH_AGAIN)


def _at_once(one: Callable[[Any], bytes], many: Sequence[Any]) -> list[bytes]:
    if len(many) == 1:
        return [one(many[0])]
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return list(pool.map(one, many))


def _segment(page: Page, at: int, blob: bytes) -> NDArray[Any]:
    """One strip or tile (rows, columns, samples), in native byte order. Raises DamagedError."""
    rows = page.segment[0]
    if not page.tiled:
        rows = min(rows, page.shape[0] - at % page.down * rows)
    shape = (rows, page.segment[1], page.samples)
    found = _unpacked(page, shape, at, blob) if page.decode is None else _foreign(page, at, blob)
    if found.shape != shape:
        raise DamagedError(f"segment {at} of {page.key} has shape {found.shape}, not {shape}", remedy=_FETCH_AGAIN)
    return found.astype(page.dtype.newbyteorder("="), copy=False)


def _foreign(page: Page, at: int, blob: bytes) -> NDArray[Any]:
    assert page.decode is not None  # noqa: S101  (only called where there is one)
    try:
        return page.decode(blob, at)
    except Exception as error:
        raise DamagedError(f"segment {at} of {page.key} does not decode: {error}", remedy=_FETCH_AGAIN) from error


def _unpacked(page: Page, shape: tuple[int, int, int], at: int, blob: bytes) -> NDArray[Any]:
    expected = math.prod(shape) * page.dtype.itemsize
    # Some writers fill the last strip up; what is over is cut off.
    most = page.segment[0] * math.prod(shape[1:]) * page.dtype.itemsize
    data = blob if page.compression == 1 else _inflated(page, blob, most)
    if len(data) not in (expected, most):
        raise DamagedError(f"segment {at} of {page.key} holds {len(data):,} of {expected:,} bytes", remedy=_FETCH_AGAIN)
    native = np.frombuffer(data[:expected], page.dtype).reshape(shape).astype(page.dtype.newbyteorder("="))
    if page.predictor == 1:
        return native
    # Differences of integers along a row, modulo their range (TIFF 6.0, section 14).
    return np.cumsum(native, axis=1, dtype=native.dtype)


def _inflated(page: Page, blob: bytes, most: int) -> bytes:
    try:
        # One byte more than may come, for some codecs stop without a word where the room ends.
        return bytes(_CODECS[page.compression](blob, out=bytearray(most + 1)))
    except RuntimeError as error:
        raise DamagedError(f"{page.key} does not decode: {error}", remedy=_FETCH_AGAIN) from error


def _assembled(page: Page, segments: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """Strips one below another, tiles row by row."""
    starts = range(0, len(segments), page.across)
    return np.concatenate([np.concatenate(segments[at : at + page.across], axis=1) for at in starts])
