"""Plans: whose folder it is, told truly also where files are damaged."""

import numpy as np
import pytest

from phenostream import datasets
from phenostream.datasets import PackSettings
from phenostream.errors import BrokenTransferError, DamagedError, LedgerError
from phenostream.values import Channel, Field, FieldId


def plate(wells, name="P1"):
    pixels = np.random.default_rng(3).poisson(30, (wells, 1, 8, 9)).astype(np.uint8)
    return [Field.of(one, ("DNA",), id=FieldId(plate=name, well=f"A{k + 1}")) for k, one in enumerate(pixels)]


def test_other_settings_are_told_from_damage(tmp_path):
    datasets.pack(plate(2), tmp_path)
    path = tmp_path / "plan.json"
    path.write_bytes(path.read_bytes().replace(b'"seed": 42', b'"seed": 43'))
    with pytest.raises(LedgerError, match="other settings"):
        datasets.pack(plate(2), tmp_path, settings=PackSettings(seed=43))
    assert datasets.pack(plate(2), tmp_path).shards_written == 0
    assert b'"seed": 42' in path.read_bytes()


@pytest.mark.parametrize("content", [b"", b'{"se', b"{}", b"[1]", b"\xff\xfe", b'{"sha256": "0", "settings": {}}'])
def test_the_plan_of_an_unfinished_pack_is_named_and_its_remedy_helps(tmp_path, content):
    def broken():
        raise BrokenTransferError("the line is dead")

    begun = [*plate(12), Field(FieldId(plate="P2", well="A1"), (Channel("DNA"),), pixels=broken)]
    whole = [*plate(12), *plate(1, "P2")]
    with pytest.raises(BrokenTransferError):
        datasets.pack(begun, tmp_path / "a")
    plan = tmp_path / "a" / "plan.json"
    plan.write_bytes(content)
    with pytest.raises(DamagedError) as caught:
        datasets.pack(whole, tmp_path / "a")
    assert caught.value.remedy.startswith(f"delete {plan} and pack again with the same settings")
    plan.unlink()
    told = datasets.pack(whole, tmp_path / "a")
    assert (told.shards, told.shards_written) == (2, 1)
    datasets.pack(whole, tmp_path / "b")
    for name in ("plan.json", "pack.json", "index.parquet"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


@pytest.mark.parametrize(
    "harm", [lambda data: data[:300], lambda data: b"", lambda data: data[:200] + b"x" + data[201:]]
)
def test_sites_that_are_no_longer_given_are_missed_whatever_became_of_the_index(tmp_path, harm):
    datasets.pack(plate(4), tmp_path)
    index = tmp_path / "index.parquet"
    index.write_bytes(harm(index.read_bytes()))
    with pytest.raises(LedgerError, match=r"2 sites of .* are no longer given"):
        datasets.pack(plate(2), tmp_path)


def test_a_folder_is_no_pack_because_it_has_parts(tmp_path):
    (tmp_path / "parts").mkdir()
    (tmp_path / "thesis.txt").write_text("do not lose")
    with pytest.raises(LedgerError, match="no pack"):
        datasets.pack(plate(1), tmp_path)
