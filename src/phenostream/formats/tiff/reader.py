"""Fields and planes of TIFF files. tifffile finds the pages; strips and tiles are fetched and checked here."""

from __future__ import annotations

import io
import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, TypeVar, cast

import imagecodecs
import numpy as np
import tifffile

from phenostream.errors import DamagedError, OutOfRangeError, PhenostreamError, WrongDtypeError
from phenostream.formats import _memory, attach
from phenostream.formats._grey import grey
from phenostream.formats._places import check_index, join
from phenostream.formats.limits import DEFAULT, Limits, check_claim, check_dtype
from phenostream.formats.tiff import description
from phenostream.values import Channel, Field, FieldId, Plane

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from phenostream.values import Container, Store

T = TypeVar("T")
BLOCK = 4096
HEAD = 8 * BLOCK
# A file up to this size comes whole: its pages are about all there is.
WHOLE = 2**20
_AT_ONCE = 8
_FETCH_AGAIN = "fetch the file again, or tell whoever keeps it"
# Codecs whose output is plain bytes, so that its length can be held against what the page says.
_CODECS: dict[int, Callable[..., Any]] = {
    5: imagecodecs.lzw_decode,
    8: imagecodecs.zlib_decode,
    32946: imagecodecs.zlib_decode,
    32773: imagecodecs.packbits_decode,
    50000: imagecodecs.zstd_decode,
}


@dataclass(frozen=True, slots=True)
class _Page:
    """What one page says of itself: all that is needed to fetch and decode it without its file."""

    key: str
    size: int
    shape: tuple[int, ...]
    segment: tuple[int, int]
    tiled: bool
    dtype: np.dtype[Any]
    compression: int
    predictor: int
    spans: tuple[tuple[int, int], ...]


class _StoreFile(io.RawIOBase):
    """A file on a store: small reads in aligned blocks, large ones as they are; small files come whole."""

    def __init__(self, store: Store, key: str) -> None:
        super().__init__()
        self._store, self._key, self._at = store, key, 0
        head = store.read(key, 0, HEAD)
        self.size = store.size(key)
        if len(head) < self.size <= WHOLE:
            head += store.read(key, len(head), self.size)
        self._blocks = {at // BLOCK: head[at : at + BLOCK] for at in range(0, len(head), BLOCK)}

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = 0) -> int:
        self._at = (0, self._at, self.size)[whence] + offset
        return self._at

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        data = self.span(self._at, min(self.size, self._at + len(view)))
        view[: len(data)] = data
        self._at += len(data)
        return len(data)

    def span(self, start: int, stop: int) -> bytes:
        """Bytes `start` to `stop`, from the blocks that are here where they are."""
        numbers = range(start // BLOCK, -(-stop // BLOCK))
        missing = [number for number in numbers if number not in self._blocks]
        if missing and stop - start > BLOCK:
            return self._store.read(self._key, start, stop)
        for number in missing:
            last = min((number + 1) * BLOCK, self.size)
            self._blocks[number] = self._store.read(self._key, number * BLOCK, last)
        joined = b"".join(self._blocks[number] for number in numbers)
        return joined[start - numbers.start * BLOCK : stop - numbers.start * BLOCK]


def fields(store: Store, container: Container) -> Iterator[Field]:
    """Every field of a file: images, then times, then z. Pages of a plain TIFF are times of one image.

    Wells, sites, channels and pixel size come from the OME-XML where it has them; the container goes before it.

    Raises:
        NotFoundError: no such file.
        DamagedError: not a TIFF, or a description that contradicts itself.
        HostileError: XML entities.
    """
    for image in _ask(_open(store, container.key), container.key, lambda tif: _images(tif, container.key)):
        for t in range(image.sizes["t"]):
            for z in range(image.sizes["z"]):
                yield attach(_field(container, image, t, z), store)


def read(store: Store, plane: Plane, *, limits: Limits = DEFAULT) -> NDArray[Any]:
    """The pixels (Y, X) of one page, in native byte order.

    Touches the chain of page headers up to this page and its strips or tiles; a file up to 1 MiB comes whole.

    Raises:
        NotFoundError: no such file.
        OutOfRangeError: no such page, channel, frame or z.
        DamagedError: truncated, or a page whose strips do not hold what it says.
        TooLargeError: a page that claims more than `limits` allow.
        WrongDtypeError: pixels that are not integers to 32 bits or float32.
        WrongShapeError: real colours.
    """
    page, blobs = _stored(store, plane, limits)
    if isinstance(blobs, np.ndarray):
        return grey(blobs, plane.key)
    return grey(_assembled(page, [_decoded(page, at, blob) for at, blob in enumerate(blobs)]), plane.key)


def touch(store: Store, plane: Plane) -> None:
    """Read the bytes of `plane` as `read` does."""
    _stored(store, plane, DEFAULT)


def _field(container: Container, image: description.Image, t: int, z: int) -> Field:
    planes = []
    for c in range(image.sizes["c"]):
        name, page = image.page(c, t, z, container.key)
        key = join(container.key.rpartition("/")[0], name) if name else container.key
        planes.append(Plane(key, "tiff", f"page/{page}", c, t, z))
    well, site = container.well or image.well, image.site
    names = image.channels or (("DNA",) if len(planes) == 1 else tuple(f"Channel{c}" for c in range(len(planes))))
    identity = FieldId(container.study, container.plate, well, site, t, z)
    return Field(identity, tuple(Channel(name) for name in names), tuple(planes), image.pixel_size)


def _open(store: Store, key: str) -> _StoreFile:
    return _memory.recall(store, "tiff", key, lambda: _StoreFile(store, key))


def _ask(file: _StoreFile, key: str, action: Callable[[tifffile.TiffFile], T]) -> T:
    """What `action` says of the open file; whatever tifffile objects to is damage."""
    file.seek(0)
    try:
        with tifffile.TiffFile(cast("IO[bytes]", file), name=key) as tif:
            return action(tif)
    except PhenostreamError:
        raise
    except Exception as error:
        raise DamagedError(f"{key} cannot be read as TIFF: {error}", remedy=_FETCH_AGAIN) from error


def _images(tif: tifffile.TiffFile, key: str) -> list[description.Image]:
    return description.images(_page_at(tif, 0, key).description, len(tif.pages), key)


def _page_at(tif: tifffile.TiffFile, number: int, key: str) -> Any:
    try:
        return tif.pages[number]
    except IndexError:
        raise OutOfRangeError(f"{key} has {len(tif.pages)} pages, no page {number} (they count from 0)") from None


def _number(tif: tifffile.TiffFile, plane: Plane) -> int:
    """Page of the plane: as it names it, or as the description tells."""
    kind, _, text = plane.inner.partition("/")
    if kind == "page" and text.isdecimal():
        return int(text)
    if plane.inner and not (kind == "image" and text.isdecimal()):
        raise OutOfRangeError(f"{plane.key} has no {plane.inner!r}", remedy="use page/0, image/0 or nothing")
    images = _images(tif, plane.key)
    image = images[check_index(int(text or 0), len(images), "image", plane.key)]
    name, number = image.page(plane.c, plane.t, plane.z, plane.key)
    if name not in ("", plane.key.rpartition("/")[2]):
        raise OutOfRangeError(f"this plane of {plane.key} lies in {name}", remedy="use the planes that fields() gives")
    return number


def _stored(store: Store, plane: Plane, limits: Limits) -> tuple[_Page, list[bytes] | NDArray[Any]]:
    """The page and its stored segments; the decoded page where only tifffile knows its codec."""

    def look(tif: tifffile.TiffFile) -> tuple[_Page, NDArray[Any] | None]:
        found = _page_at(tif, _number(tif, plane), plane.key)
        page = _described(found, plane.key, tif.filehandle.size, limits)
        plain = page.compression in (1, *_CODECS) and page.predictor in (1, 2) and found.fillorder == 1
        plain = plain and found.planarconfig == 1 and found.bitspersample == 8 * page.dtype.itemsize
        plain = plain and (page.predictor == 1 or page.dtype.kind in "ui")
        return page, None if plain else np.asarray(found.asarray(maxworkers=1))

    file = _open(store, plane.key)
    page, pixels = _ask(file, plane.key, look)
    return page, _fetched(file, page) if pixels is None else pixels


def _described(page: Any, key: str, size: int, limits: Limits) -> _Page:
    """Everything that the page claims, compared with the file and the caps."""
    if page.dtype is None:
        raise WrongDtypeError(f"{key} has samples of {page.bitspersample} bits and format {page.sampleformat}")
    check_dtype(page.dtype, key)
    shape = (page.imagelength, page.imagewidth, *((page.samplesperpixel,) if page.samplesperpixel > 1 else ()))
    claim = check_claim(shape, page.dtype, f"a page of {key}", stored=size, limits=limits)
    segment = (page.tilelength, page.tilewidth) if page.is_tiled else (min(page.rowsperstrip, shape[0]), shape[1])
    check_claim((*segment, page.samplesperpixel), page.dtype, f"a segment of {key}", stored=size, limits=limits)
    spans = _spans(page, key)
    many = math.prod(-(-whole // part) for whole, part in zip(shape[:2], segment, strict=True))
    planar = page.samplesperpixel if page.planarconfig == 2 else 1
    if not spans or len(spans) != many * planar or page.imagedepth != 1:
        raise DamagedError(f"{key} has {len(spans)} segments where its size of {claim:,} bytes needs {many * planar}")
    if any(start <= 0 or stop > size or stop <= start for start, stop in spans):
        raise DamagedError(f"{key} is truncated: a segment ends behind byte {size:,}", remedy=_FETCH_AGAIN)
    dtype = page.dtype.newbyteorder(page.parent.byteorder)
    return _Page(key, size, shape, segment, page.is_tiled, dtype, page.compression, page.predictor, spans)


def _spans(page: Any, key: str) -> tuple[tuple[int, int], ...]:
    """First byte and end of each segment, from the tags themselves: tifffile cuts lists that are too long."""
    starts, counts = (page.tags.get(code) for code in ((324, 325) if page.is_tiled else (273, 279)))
    if starts is None or counts is None:
        found = zip(page.dataoffsets, page.databytecounts, strict=False)
    elif starts.count != counts.count:
        raise DamagedError(f"{key} has {starts.count} segments but {counts.count} lengths", remedy=_FETCH_AGAIN)
    else:
        found = zip(np.ravel(starts.value).tolist(), np.ravel(counts.value).tolist(), strict=True)
    return tuple((start, start + count) for start, count in found)


def _fetched(file: _StoreFile, page: _Page) -> list[bytes]:
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


def _at_once(one: Callable[[Any], bytes], many: Sequence[Any]) -> list[bytes]:
    if len(many) == 1:
        return [one(many[0])]
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return list(pool.map(one, many))


def _decoded(page: _Page, at: int, blob: bytes) -> NDArray[Any]:
    """One strip or tile (rows, columns, samples), in native byte order. Raises DamagedError."""
    samples = math.prod(page.shape[2:])
    rows, columns = page.segment
    if not page.tiled:
        rows = min(rows, page.shape[0] - at * rows)
    expected = rows * columns * samples * page.dtype.itemsize
    # Some writers fill the last strip up; what is over is cut off.
    most = page.segment[0] * columns * samples * page.dtype.itemsize
    data = _unpacked(page, blob, most)
    if len(data) not in (expected, most):
        raise DamagedError(f"segment {at} of {page.key} holds {len(data):,} of {expected:,} bytes", remedy=_FETCH_AGAIN)
    native = (
        np.frombuffer(data[:expected], page.dtype).reshape(rows, columns, samples).astype(page.dtype.newbyteorder("="))
    )
    if page.predictor == 2:
        # Differences of integers along a row, modulo their range (TIFF 6.0, section 14).
        return np.cumsum(native, axis=1, dtype=native.dtype)
    return native


def _unpacked(page: _Page, blob: bytes, most: int) -> bytes:
    if page.compression == 1:
        return blob
    try:
        # One byte more than may come, for some codecs stop without a word where the room ends.
        return bytes(_CODECS[page.compression](blob, out=bytearray(most + 1)))
    except RuntimeError as error:
        raise DamagedError(f"{page.key} does not decode: {error}", remedy=_FETCH_AGAIN) from error


def _assembled(page: _Page, segments: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """Strips one below another, tiles row by row."""
    if not page.tiled:
        picture = np.concatenate(segments)
    else:
        across = -(-page.shape[1] // page.segment[1])
        rows = [np.concatenate(segments[at : at + across], axis=1) for at in range(0, len(segments), across)]
        picture = np.concatenate(rows)[: page.shape[0], : page.shape[1]]
    return np.ascontiguousarray(picture.reshape(page.shape))
