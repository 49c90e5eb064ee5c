import os
from contextlib import contextmanager

import pytest

from phenostream.errors import BrokenTransferError, ForbiddenError, HostileError, NotFoundError
from phenostream.sources import LocalStore, open_store
from phenostream.testing.transports import TransportExam
from phenostream.values import Store


class TestLocal(TransportExam):
    @contextmanager
    def store_of(self, folder):
        yield open_store(str(folder))


class TestFileUrl(TransportExam):
    @contextmanager
    def store_of(self, folder):
        yield open_store(folder.as_uri())


@pytest.fixture
def root(tmp_path):
    (tmp_path / "root" / "sub").mkdir(parents=True)
    (tmp_path / "root" / "sub" / "a").write_bytes(b"inside")
    (tmp_path / "secret").write_bytes(b"outside")
    return tmp_path / "root"


def test_links_out_of_the_folder_are_refused(root):
    (root / "link").symlink_to(root.parent / "secret")
    (root / "folder").symlink_to(root.parent)
    for key in ("link", "folder/secret"):
        with pytest.raises(HostileError, match="leads out"):
            LocalStore(root).read(key)


def test_links_inside_the_folder_are_followed(root):
    (root / "link").symlink_to("sub/a")
    assert LocalStore(root).read("link") == b"inside"


def test_a_sibling_with_the_same_beginning_is_outside(root):
    (root.parent / "rootless").write_bytes(b"outside")
    (root / "link").symlink_to(root.parent / "rootless")
    with pytest.raises(HostileError):
        LocalStore(root).read("link")


def test_a_pipe_does_not_hang(root):
    os.mkfifo(root / "pipe")
    with pytest.raises(NotFoundError, match="regular"):
        LocalStore(root).read("pipe")


def test_a_circle_of_links_is_refused(root):
    (root / "one").symlink_to("two")
    (root / "two").symlink_to("one")
    with pytest.raises((HostileError, NotFoundError)):
        LocalStore(root).read("one")


def test_a_file_cut_short_while_it_is_read_is_noticed(root, monkeypatch):
    real = os.pread
    monkeypatch.setattr(os, "pread", lambda handle, count, at: real(handle, min(count, 2), at) if at < 2 else b"")
    with pytest.raises(BrokenTransferError, match="2 of 6"):
        LocalStore(root).read("sub/a")


def test_a_failing_disk_is_named(root, monkeypatch):
    def fail(*_):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "pread", fail)
    with pytest.raises(BrokenTransferError, match="Input/output"):
        LocalStore(root).read("sub/a")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_forbidden_files_are_named(root):
    (root / "sub" / "a").chmod(0)
    with pytest.raises(ForbiddenError):
        LocalStore(root).read("sub/a")


def test_a_folder_that_is_not_there(root):
    with pytest.raises(NotFoundError, match="no folder"):
        LocalStore(root).keys("nowhere")
    assert isinstance(LocalStore(root / "nowhere"), Store)
