"""A site's stored bytes: plain codecs, exact, bounded."""

import imagecodecs
import numcodecs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from phenostream.datasets.coding import DTYPES, Coding
from phenostream.errors import DamagedError, PhenostreamError, TooLargeError, WrongDtypeError, WrongShapeError


def site(dtype, shape=(3, 16, 20), seed=0):
    return np.random.default_rng(seed).poisson(40, shape).astype(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_what_comes_back_is_what_went_in(dtype):
    coding, pixels = Coding((3, 16, 20), dtype), site(dtype)
    blob = coding.encode(pixels)
    assert np.array_equal(coding.decode(blob), pixels)
    out = np.empty_like(pixels)
    assert coding.decode(memoryview(blob), out) is out
    assert np.array_equal(out, pixels)


def test_the_codecs_are_the_plain_ones():
    eight, sixteen = site("uint8"), site("uint16")
    assert imagecodecs.zstd_decode(Coding(eight.shape, "uint8").encode(eight)) == eight.tobytes()
    blob = Coding(sixteen.shape, "uint16").encode(sixteen)
    assert numcodecs.Blosc().decode(blob) == sixteen.tobytes()
    assert blob[2] & 0b100, "bit shuffle"


@given(st.integers(0, 10_000), st.integers(1, 255), st.sampled_from(["uint8", "uint16"]))
def test_a_changed_byte_is_never_more_than_a_wrong_site(place, flip, dtype):
    coding = Coding((3, 16, 20), dtype)
    blob = bytearray(coding.encode(site(dtype)))
    blob[place % len(blob)] ^= flip
    try:
        found = coding.decode(bytes(blob))
    except (DamagedError, TooLargeError):
        return
    assert found.shape == coding.shape


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_truncation_is_named(dtype):
    coding = Coding((3, 16, 20), dtype)
    blob = coding.encode(site(dtype))
    for length in (0, 1, 5, 15, len(blob) // 2, len(blob) - 1):
        with pytest.raises(DamagedError):
            coding.decode(blob[:length])


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_a_bomb_is_refused_by_its_claim(dtype):
    """A blob that would decode to far more than a site is not decoded."""
    coding = Coding((1, 8, 8), dtype)
    bomb = Coding((1, 8192, 8192), dtype).encode(np.zeros((1, 8192, 8192), dtype))
    with pytest.raises(TooLargeError, match="claims"):
        coding.decode(bomb)


def test_a_smaller_site_is_refused():
    small = Coding((1, 8, 8), "uint8").encode(np.ones((1, 8, 8), np.uint8))
    with pytest.raises(DamagedError, match="64 of 128"):
        Coding((2, 8, 8), "uint8").decode(small)


def test_other_kinds_are_refused():
    coding = Coding((3, 16, 20), "uint8")
    with pytest.raises(WrongShapeError, match="among sites of"):
        coding.encode(site("uint8", (3, 16, 21)))
    with pytest.raises(WrongDtypeError, match="uint16 among sites of uint8"):
        coding.encode(site("uint16"))
    with pytest.raises(WrongShapeError, match="contiguous"):
        coding.decode(coding.encode(site("uint8")), np.empty((3, 16, 40), np.uint8)[:, :, ::2])
    with pytest.raises(WrongDtypeError, match="float64"):
        Coding((1, 2, 2), "float64")
    with pytest.raises(WrongShapeError):
        Coding((2, 2), "uint8")
    with pytest.raises(PhenostreamError):
        Coding((6, 1 << 15, 1 << 15), "uint16")


def test_shards_of_usual_screens_are_of_the_size_aimed_at():
    """RxRx1 and JUMP sites, at the ratios published for such images."""
    assert 250 <= Coding((6, 512, 512), "uint8").sites_in(128_000_000) <= 350
    assert 15 <= Coding((5, 1080, 1080), "uint16").sites_in(128_000_000) <= 25
    assert Coding((6, 5000, 5000), "uint16").sites_in(1_000_000) == 1
