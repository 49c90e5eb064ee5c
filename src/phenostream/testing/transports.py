"""The exam of transports: what every store over every transport must do."""

# ruff: noqa: S101  (an exam asserts)

from __future__ import annotations

import hashlib
import pickle
import random
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from phenostream.errors import HostileError, NotFoundError
from phenostream.sources import LocalStore, RemoteStore, download
from phenostream.values import Store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

__all__ = ["TransportExam"]

_WHOLE = random.Random(0).randbytes(300_000)
_FILES = {
    "plate/A01.tif": _WHOLE,
    "plate/empty.tif": b"",
    "one.bin": b"\x07",
    "a name/with ü, #, % and + in it.tif": _WHOLE[:1000],
}


class TransportExam:
    """Subclass it, say how a store of a folder is made, and pytest sits the exam.

    ``store_of(folder)`` is a context manager that gives a store of the files below `folder`, with default options.
    ``broken_store_of(folder)`` gives one whose first transfer breaks half way, and then recovers; it raises
    NotImplementedError where nothing between store and files can break.
    """

    lists: ClassVar[bool] = True
    """Whether the transport can list."""

    def store_of(self, folder: Path) -> AbstractContextManager[LocalStore | RemoteStore]:
        """A store of the files below `folder`."""
        raise NotImplementedError

    def broken_store_of(self, folder: Path) -> AbstractContextManager[RemoteStore]:
        """The same, over a line that breaks once."""
        raise NotImplementedError

    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        """The files of the exam."""
        for key, data in _FILES.items():
            path = tmp_path / "files" / key
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        return tmp_path / "files"

    @pytest.fixture
    def store(self, folder: Path) -> Iterator[LocalStore | RemoteStore]:
        """A store of them."""
        with self.store_of(folder) as store:
            yield store

    def test_it_is_a_store(self, store: Any) -> None:
        """It has the three methods of a store."""
        assert isinstance(store, Store)

    @pytest.mark.parametrize("key", _FILES)
    def test_whole_blobs_arrive(self, store: Any, key: str) -> None:
        """Whatever their names and lengths."""
        assert store.read(key) == _FILES[key]
        assert store.size(key) == len(_FILES[key])

    @pytest.mark.parametrize("span", [(0, 1), (0, 300_000), (10, 20), (299_999, 300_000), (65_535, 131_073), (7, None)])
    def test_ranges_arrive(self, store: Any, span: tuple[int, int | None]) -> None:
        """As slices would."""
        assert store.read("plate/A01.tif", *span) == _WHOLE[span[0] : span[1]]

    @pytest.mark.parametrize("span", [(5, 5), (0, 0), (300_000, None), (300_000, 300_010), (400_000, 400_001)])
    def test_empty_ranges_are_empty(self, store: Any, span: tuple[int, int | None]) -> None:
        """Also those behind the end."""
        assert store.read("plate/A01.tif", *span) == b""

    def test_a_range_is_cut_at_the_end(self, store: Any) -> None:
        """As slices are."""
        assert store.read("plate/A01.tif", 299_990, 999_999) == _WHOLE[-10:]

    def test_a_range_moves_little_more_than_itself(self, store: Any) -> None:
        """Ranges are there to save bytes."""
        store.read("plate/A01.tif", 1000, 2000)
        assert store.traffic.bytes == 1000
        assert store.traffic.requests <= 2

    @pytest.mark.parametrize("key", ["nothing.tif", "plate/A02.tif", "plate"])
    def test_what_is_not_there_is_named(self, store: Any, key: str) -> None:
        """A folder is no blob."""
        with pytest.raises(NotFoundError, match=key):
            store.read(key)
        with pytest.raises(NotFoundError, match=key):
            store.size(key)

    @pytest.mark.parametrize("key", ["", "../secret", "plate/../../secret", "/etc/passwd", "./one.bin", "a//b", "a\0b"])
    def test_keys_that_leave_the_store_are_refused(self, store: Any, key: str) -> None:
        """Before anything is asked of the network."""
        with pytest.raises(HostileError):
            store.read(key)
        assert store.traffic.requests == 0

    def test_listing(self, store: Any) -> None:
        """Keys are sorted and relative to the root; who cannot list says so."""
        if not self.lists:
            with pytest.raises(NotFoundError, match="listed"):
                store.keys()
            return
        assert list(store.keys()) == sorted(_FILES)
        assert list(store.keys("plate")) == ["plate/A01.tif", "plate/empty.tif"]

    def test_threads_may_read_together(self, store: Any) -> None:
        """Each gets its own bytes."""
        spans = [(start, start + 5000) for start in range(0, 100_000, 5000)]
        with ThreadPoolExecutor(8) as pool:
            found = list(pool.map(lambda span: store.read("plate/A01.tif", *span), spans))
        assert found == [_WHOLE[start:stop] for start, stop in spans]

    def test_it_can_be_sent_to_another_process(self, store: Any) -> None:
        """And still reads."""
        assert pickle.loads(pickle.dumps(store)).read("one.bin") == b"\x07"  # noqa: S301  (our own bytes)

    def test_downloads_are_whole_and_hashed(self, store: Any, tmp_path: Path) -> None:
        """Under their final name only."""
        digest = download(store, "plate/A01.tif", tmp_path / "new" / "A01.tif")
        assert (tmp_path / "new" / "A01.tif").read_bytes() == _WHOLE
        assert (digest.sha256, digest.bytes) == (hashlib.sha256(_WHOLE).hexdigest(), len(_WHOLE))
        assert [path.name for path in (tmp_path / "new").iterdir()] == ["A01.tif"]

    def test_a_broken_transfer_is_continued(self, folder: Path) -> None:
        """Where it broke, not from the start."""
        try:
            broken = self.broken_store_of(folder)
        except NotImplementedError:
            pytest.skip("nothing can break between this store and its files")
        with broken as store:
            assert store.read("plate/A01.tif") == _WHOLE
            assert store.traffic.retries == 1
            assert store.traffic.bytes <= 1.3 * len(_WHOLE)
