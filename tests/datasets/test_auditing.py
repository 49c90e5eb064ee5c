"""Audits: every site accounted for, nothing written."""

import numpy as np
import pytest

from phenostream import datasets
from phenostream.datasets import PackSettings
from phenostream.errors import BrokenTransferError, ChannelMissingError, DamagedError, EmptyError
from phenostream.values import Channel, Field, FieldId


def plate(wells=6):
    return [one(f"A{k + 1}", np.random.default_rng(k).poisson(20, (2, 9, 8)).astype(np.uint8)) for k in range(wells)]


def one(well, pixels, channels=("DNA", "ER")):
    return Field.of(pixels, channels, id=FieldId(plate="P1", well=well))


def raising(error):
    def pixels():
        raise error

    return Field(FieldId(plate="P1", well="B9"), (Channel("DNA"), Channel("ER")), pixels=pixels)


def test_every_kind_of_trouble_has_its_word(tmp_path):
    flat = np.random.default_rng(9).poisson(20, (2, 9, 8)).astype(np.uint8)
    flat[1] = 3
    sites = [
        *plate(),
        one("B1", np.zeros((2, 9, 8), np.uint8)),
        one("B2", flat),
        one("B3", np.full((2, 9, 8), 255, np.uint8)),
        one("B4", np.zeros((2, 9, 9), np.uint8)),
        one("B5", np.zeros((2, 9, 8), np.uint16)),
        one("B6", np.zeros((1, 9, 8), np.uint8), ("DNA",)),
        plate()[0],
        raising(DamagedError("bad checksum")),
    ]
    told = datasets.audit(datasets.Screen(tuple(sites), absent=(FieldId(plate="P1", well="C1"),)), workers=2)
    assert [(f.id.well, f.reason) for f in told.findings] == [
        ("B1", "blank"), ("B2", "blank-channel"), ("B3", "blank"), ("B3", "saturated"), ("B4", "wrong-shape"),
        ("B5", "wrong-dtype"), ("B6", "channel-missing"), ("B9", "damaged"), ("A1", "duplicate"), ("C1", "missing"),
    ]  # fmt: skip
    assert (told.inputs, told.sound) == (15, 6)
    assert told.reasons["blank"] == 2
    assert (told.kind.channels, told.kind.coding.shape) == (("DNA", "ER"), (2, 9, 8))
    assert not list(tmp_path.iterdir())


def test_a_sound_screen_is_sound(sites):
    told = datasets.audit(sites)
    assert (told.sound, told.inputs, told.findings) == (len(sites), len(sites), ())


def test_the_commonest_kind_is_that_of_the_pack():
    odd = one("A0", np.zeros((2, 20, 20), np.uint8))
    assert datasets.audit([odd, *plate()]).kind.coding.shape == (2, 9, 8)
    lacking = [one(f"B{k}", np.zeros((1, 9, 8), np.uint8), ("DNA",)) for k in range(3)]
    assert datasets.audit([*lacking, *plate(3)]).kind.channels == ("DNA", "ER"), "the most channels win a tie"


def test_what_makes_an_audit_impossible_is_named():
    with pytest.raises(EmptyError):
        datasets.audit([])
    with pytest.raises(ChannelMissingError, match="'GFP'"):
        datasets.audit(plate(), settings=PackSettings(channels=("GFP",)))
    with pytest.raises(DamagedError, match="bad"):
        datasets.audit([raising(DamagedError("bad"))])
    with pytest.raises(BrokenTransferError):
        datasets.audit([*plate(12), raising(BrokenTransferError("gone"))])


def test_an_estimate_is_near_what_packing_takes(sites, packed, pack):
    told = datasets.estimate(sites)
    assert (told.sites, told.shards, told.arrays) == (len(pack), len(pack.shards), len(pack.shards))
    assert told.raw_bytes == len(pack) * pack.coding.nbytes
    assert told.bytes == pytest.approx(pack.description.bytes, rel=0.3)
    assert told.sampled == 8


def test_a_twelve_bit_camera_in_sixteen_bit_files_is_seen_to_be_saturated(tmp_path):
    rng = np.random.default_rng(0)
    sites = [one(f"A{k + 1}", np.minimum(rng.gamma(2, 300, (2, 40, 40)), 4095).astype(np.uint16)) for k in range(4)]
    burnt = one("B1", np.minimum(rng.gamma(2, 1200, (2, 40, 40)), 4095).astype(np.uint16))
    told = datasets.audit([*sites, burnt])
    assert [(f.id.well, f.reason) for f in told.findings] == [("B1", "saturated")]
    packed = datasets.pack([*sites, burnt], tmp_path, settings=PackSettings(suspects="drop"))
    assert (packed.sites, [f.reason for f in packed.findings]) == (4, ["saturated"])
