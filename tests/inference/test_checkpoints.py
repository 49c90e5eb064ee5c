"""Tensors come out as PyTorch put them in; programs do not come in at all."""

from __future__ import annotations

import collections
import os
import pickle
import struct
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from phenostream.errors import DamagedError, HostileError, NotFoundError, PhenostreamError, TooLargeError
from phenostream.inference import read_checkpoint
from phenostream.inference.checkpoints import _Checkpoint

torch = pytest.importorskip("torch")


def _state() -> dict[str, Any]:
    torch.manual_seed(0)
    return {
        "float": torch.randn(3, 4),
        "double": torch.randn(2).double(),
        "half": torch.randn(2, 2).half(),
        "brain": torch.randn(5).bfloat16(),
        "long": torch.arange(5),
        "bool": torch.tensor([True, False]),
        "byte": torch.arange(4, dtype=torch.uint8),
        "turned": torch.randn(3, 4).t(),
        "sliced": torch.randn(6, 6)[1:5:2, 2:],
        "scalar": torch.tensor(3.0),
        "empty": torch.zeros(0, 4),
        "parameter": torch.nn.Parameter(torch.randn(2)),
    }


def _network() -> Any:
    torch.manual_seed(1)
    return torch.nn.Sequential(
        torch.nn.Conv2d(2, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.ReLU(), torch.nn.Conv2d(4, 1, 1)
    )


def _same(found: dict[str, Any], expected: dict[str, Any]) -> None:
    assert list(found) == list(expected)
    for name, tensor in expected.items():
        wanted = tensor.detach().float() if tensor.dtype == torch.bfloat16 else tensor.detach()
        assert found[name].dtype == wanted.numpy().dtype
        np.testing.assert_array_equal(found[name], wanted.numpy())


def test_every_kind_of_tensor_comes_out_as_pytorch_has_it(tmp_path: Path) -> None:
    torch.save(_state(), tmp_path / "a.pth")
    _same(read_checkpoint(tmp_path / "a.pth"), _state())


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_the_state_of_a_network_comes_out(tmp_path: Path, protocol: int) -> None:
    state = _network().state_dict()
    torch.save(state, tmp_path / "a.pth", pickle_protocol=protocol)
    _same(read_checkpoint(tmp_path / "a.pth"), state)


def test_nested_names_are_joined_and_the_rest_is_left_behind(tmp_path: Path) -> None:
    weight = torch.randn(2)
    told = {
        "model": collections.OrderedDict(w=weight),
        "epoch": 3,
        "lr": [0.1, (None, True)],
        "ema": [weight, {"b": weight}],
    }
    torch.save(told, tmp_path / "a.pth")
    found = read_checkpoint(tmp_path / "a.pth")
    assert list(found) == ["model.w", "ema.0", "ema.1.b"]
    assert all((one == weight.numpy()).all() for one in found.values())
    torch.save(weight, tmp_path / "b.pth")
    assert list(read_checkpoint(tmp_path / "b.pth")) == ["tensor"]


class _Command:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.path}",)


def test_a_checkpoint_with_code_is_refused_and_its_code_does_not_run(tmp_path: Path) -> None:
    torch.save({"w": torch.zeros(2), "x": _Command(tmp_path / "ran")}, tmp_path / "a.pth")
    with pytest.raises(HostileError, match="system"):
        read_checkpoint(tmp_path / "a.pth")
    assert not (tmp_path / "ran").exists()


def test_a_whole_network_is_refused_by_the_name_of_its_class(tmp_path: Path) -> None:
    torch.save(_network(), tmp_path / "a.pth")
    with pytest.raises(HostileError, match=r"torch\.nn\.modules\.container\.Sequential"):
        read_checkpoint(tmp_path / "a.pth")


def _written(
    path: Path, program: bytes, members: dict[str, bytes] | None = None, kind: int = zipfile.ZIP_STORED
) -> Path:
    with zipfile.ZipFile(path, "w", kind) as archive:
        for name, data in {"data.pkl": program, "byteorder": b"little", **(members or {})}.items():
            archive.writestr(f"a/{name}", data)
    return path


def _tensor(size: str, stride: str, offset: str = "K\0", count: str = "K\4") -> bytes:
    text = (
        "\x80\x02}X\1\0\0\0wctorch._utils\n_rebuild_tensor_v2\n((X\7\0\0\0storagectorch\nFloatStorage\n"
        "X\1\0\0\0" + "0" + f"X\3\0\0\0cpu{count}tQ{offset}{size}{stride}\x89ccollections\nOrderedDict\n)RtRs."
    )
    return text.encode("latin1")


@pytest.mark.parametrize(
    ("program", "error"),
    [
        (b"cos\nsystem\n(X\2\0\0\0idtR.", HostileError),
        (b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x02id\x85R.", HostileError),
        (b"\x80\x02cbuiltins\neval\n.", HostileError),
        (b"\x80\x02ctorch\nload\n.", HostileError),
        (b"\x80\x02ctorch\nFloatStorage\n)R.", DamagedError),
        (b"(ios\nsystem\n.", HostileError),
        (b"\x80\x02}(X\1\0\0\0aX\1\0\0\0bo.", HostileError),
        (b"\x80\x02]q\0h\0a.", TooLargeError),
        (b"\x80\x02.", DamagedError),
        (b"\x80\x02}", DamagedError),
        (b"\x80\x02h\5.", DamagedError),
        (b"\x80\x02]}]s.", DamagedError),
        (b"", DamagedError),
        (b"\x80\x02}X\xff\xff\xff\x7fa.", DamagedError),
        (_tensor("K\5\x85", "K\1\x85"), DamagedError),
        (_tensor("K\4\x85", "K\1\x85", "K\1"), DamagedError),
        (_tensor("J\xff\xff\xff\x7f\x85", "K\0\x85"), DamagedError),
        (_tensor("K\4\x85", "J\xff\xff\xff\xff\x85"), DamagedError),
        (_tensor("K\4\x85", "K\1\x85", "J\xff\xff\xff\xff"), DamagedError),
        (_tensor("K\4\x85", "K\1\x85", count="K\5"), DamagedError),
    ],
)
def test_programs_are_refused_at_their_first_step_too_far(
    tmp_path: Path, program: bytes, error: type[Exception]
) -> None:
    path = _written(tmp_path / "a.pth", program, {"data/0": bytes(16)})
    with pytest.raises(error) as caught:
        read_checkpoint(path)
    assert isinstance(caught.value, PhenostreamError)


def test_the_hand_written_tensor_is_read(tmp_path: Path) -> None:
    numbers = np.arange(4, dtype="<f4")
    path = _written(tmp_path / "a.pth", _tensor("K\2K\2\x86", "K\2K\1\x86"), {"data/0": numbers.tobytes()})
    np.testing.assert_array_equal(read_checkpoint(path)["w"], numbers.reshape(2, 2))


def _views(storages: list[str], size: int) -> bytes:
    """A list of tensors, each a view of a whole storage of `size` numbers."""
    count = f"J{struct.pack('<i', size).decode('latin1')}"
    each = "".join(
        "ctorch._utils\n_rebuild_tensor_v2\n((X\7\0\0\0storagectorch\nFloatStorage\n"
        f"X\1\0\0\0{key}X\3\0\0\0cpu{count}tQK\0K\2\x85K\1\x85\x89ccollections\nOrderedDict\n)RtR"
        for key in storages
    )
    return ("\x80\x02](" + each + "e.").encode("latin1")


def test_a_storage_is_read_once_and_all_of_them_within_the_cap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Many views of one storage cost one; the cap is kept before the last instruction, not after it."""
    read = []
    plain = zipfile.ZipFile.read

    def counted(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bytes:
        read.append(entry.filename)
        return plain(archive, entry)

    monkeypatch.setattr(zipfile.ZipFile, "read", counted)
    storage = np.arange(1_000_000, dtype="<f4").tobytes()
    same = _written(tmp_path / "a.pth", _views(["0"] * 40, 1_000_000), {"data/0": storage})
    found = read_checkpoint(same, most_bytes=5_000_000)
    assert len(found) == 40
    assert read.count("a/data/0") == 1
    read.clear()
    # Members may overlap in a hostile archive: what they claim together counts, not the size of the file.
    many = _written(tmp_path / "b.pth", _views(["0", "1", "2"], 1_000_000), {f"data/{key}": storage for key in "012"})
    with pytest.raises(TooLargeError):
        _Checkpoint(zipfile.ZipFile(many), 9_000_000).tensors()
    assert "a/data/2" not in read


def test_lists_that_hold_themselves_and_each_other_end(tmp_path: Path) -> None:
    own = b"\x80\x02]q\0h\0a."
    doubling = b"\x80\x02]q\0" + b"".join(b"]q%c(h%ch%ce" % (n, n - 1, n - 1) for n in range(1, 25)) + b"."
    with pytest.raises(PhenostreamError):
        read_checkpoint(_written(tmp_path / "own.pth", own))
    with pytest.raises(PhenostreamError):
        read_checkpoint(_written(tmp_path / "doubling.pth", b"\x80\x02]q\0K\1a" + doubling[5:]))


def test_archives_that_pytorch_never_writes_are_refused(tmp_path: Path) -> None:
    bomb = _written(
        tmp_path / "bomb.pth", _tensor("K\4\x85", "K\1\x85"), {"data/0": bytes(2**20)}, zipfile.ZIP_DEFLATED
    )
    with pytest.raises(HostileError, match="compressed"):
        read_checkpoint(bomb)
    with pytest.raises(DamagedError, match="big-endian"):
        read_checkpoint(_written(tmp_path / "big.pth", b"\x80\x02}.", {"byteorder": b"big"}))
    (tmp_path / "plain.pth").write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(DamagedError):
        read_checkpoint(tmp_path / "plain.pth")
    with pytest.raises(NotFoundError):
        read_checkpoint(tmp_path / "none.pth")
    torch.save(_state(), tmp_path / "a.pth")
    with pytest.raises(TooLargeError):
        read_checkpoint(tmp_path / "a.pth", most_bytes=100)


def test_checkpoints_of_old_pytorch_are_refused_by_name(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.save(_state(), tmp_path / "a.pth", _use_new_zipfile_serialization=False)
    with pytest.raises(DamagedError, match=r"PyTorch 1\.6"):
        read_checkpoint(tmp_path / "a.pth")


def test_a_text_with_a_wrong_escape_is_no_warning(tmp_path: Path) -> None:
    program = _tensor("K\2K\2\x86", "K\2K\1\x86").replace(b"_utils", b"\\outils", 1)
    with pytest.raises(PhenostreamError):
        read_checkpoint(_written(tmp_path / "a.pth", program, {"data/0": bytes(16)}))


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_byte_gives_tensors_or_a_named_error(tmp_path: Path, data: st.DataObject) -> None:
    program = _tensor("K\2K\2\x86", "K\2K\1\x86")
    at = data.draw(st.integers(0, len(program) - 1))
    wrong = program[:at] + bytes([data.draw(st.integers(0, 255))]) + program[at + 1 :]
    try:
        found = read_checkpoint(_written(tmp_path / "a.pth", wrong, {"data/0": bytes(16)}))
    except PhenostreamError:
        return
    assert all(isinstance(one, np.ndarray) for one in found.values())
