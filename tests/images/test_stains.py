"""Composites with fixed colours: the published mathematics, pixel by pixel."""

import numpy as np
import pytest

from phenostream.errors import ChannelMissingError, EmptyError, RecipeError, WrongDtypeError, WrongShapeError
from phenostream.images.stains import CELL_PAINTING, RXRX1, Stain, stained

NAMES = tuple(RXRX1)
PUBLISHED = {  # channel: colour, range
    1: ((19, 0, 249), (0, 51)),
    2: ((42, 255, 31), (0, 107)),
    3: ((255, 0, 25), (0, 64)),
    4: ((45, 255, 252), (0, 191)),
    5: ((250, 0, 253), (0, 89)),
    6: ((254, 255, 40), (0, 191)),
}


def site(shape=(6, 5, 7), seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def published(stack, vmax=255):
    """The original's formula, a pixel at a time; its ranges begin at 0."""
    _, rows, columns = stack.shape
    picture = np.zeros((rows, columns, 3), int)
    for y in range(rows):
        for x in range(columns):
            for number, (colour, (low, high)) in PUBLISHED.items():
                value = min((stack[number - 1, y, x] / vmax) / ((high - low) / 255) + low / 255, 1.0)
                picture[y, x] += [int(value * part) for part in colour]
    return np.minimum(picture, 255)


@pytest.mark.parametrize("seed", range(4))
def test_the_picture_is_that_of_the_publishers(seed):
    stack = site(seed=seed) // (1 + 3 * seed)
    found = stained(stack, NAMES)
    assert found.dtype == np.uint8
    difference = found.astype(int) - published(stack)
    assert np.abs(difference).max() <= 1, "rounding of the last bit before the floor"
    assert (difference == 0).mean() > 0.99


def test_a_lower_end_is_subtracted_and_clipped():
    stack = np.array([[[0, 50, 100, 150, 200, 255]]], np.uint8)
    found = stained(stack, ("X",), stains={"X": Stain((255, 100, 0), 50, 150)})
    assert found[0, :, 0].tolist() == [0, 0, 127, 255, 255, 255]
    assert found[0, :, 1].tolist() == [0, 0, 50, 100, 100, 100]


def test_any_channels_sizes_and_types():
    stack = site((2, 3, 300))
    two = stained(stack, ("Mito", "DNA"))
    both = stained(site((2, 3, 300)), ("Mito", "DNA"), show=("DNA",)).astype(int)
    assert two.shape == (3, 300, 3)
    assert np.array_equal(both, stained(stack[1:], ("DNA",)))
    wide = stack.astype(np.uint16) * 257
    assert np.array_equal(stained(wide, ("Mito", "DNA")), two)
    assert np.array_equal(stained(stack / 255, ("Mito", "DNA"), top=1.0), two)


def test_what_cannot_be_shown_is_named():
    with pytest.raises(WrongShapeError):
        stained(site(), NAMES[:3])
    with pytest.raises(WrongShapeError):
        stained(site()[0], NAMES)
    with pytest.raises(EmptyError):
        stained(np.zeros((1, 0, 3), np.uint8), ("DNA",))
    with pytest.raises(WrongDtypeError, match="top"):
        stained(site() / 255, NAMES)
    with pytest.raises(WrongDtypeError):
        stained(site().astype(complex), NAMES)
    with pytest.raises(ChannelMissingError, match="GFP"):
        stained(site((1, 2, 2)), ("GFP",))
    with pytest.raises(ChannelMissingError, match="'Actin'"):
        stained(site((1, 2, 2)), ("DNA",), show=("Actin",))
    for bad in ({"colour": (256, 0, 0)}, {"colour": (1, 2, 3), "low": 9, "high": 9}):
        with pytest.raises(RecipeError):
            Stain(**bad)


JUMP = ("DNA", "ER", "RNA", "AGP", "Mito", "Brightfield", "HighZBF", "LowZBF")


def test_the_channels_of_jump_have_colours_without_being_told():
    stack = site((8, 9, 11), seed=3).astype(np.uint16) * 257
    found = stained(stack, JUMP)
    agp = stack[3].astype(float) / 257
    share = np.clip(agp / 127.5, 0, 1)
    alone = stained(stack, JUMP, show=("AGP",))
    assert np.abs(alone - np.floor(share[..., None] * np.array([254, 127, 32]))).max() <= 1
    names = ("DNA", "ER", "RNA", "Mito")
    rest = sum(stained(stack[k : k + 1], (name,)).astype(int) for k, name in zip((0, 1, 2, 4), names, strict=True))
    assert np.array_equal(found, np.minimum(rest + alone, 255))
    assert {name: CELL_PAINTING[name] for name in RXRX1} == dict(RXRX1)


def test_brightfield_is_grey_and_mixed_only_where_it_is_asked_for():
    stack = site((2, 4, 5))
    assert np.array_equal(stained(stack, ("DNA", "Brightfield")), stained(stack[:1], ("DNA",)))
    grey = np.repeat(stack[1][..., None], 3, axis=2)
    assert np.array_equal(stained(stack, ("DNA", "Brightfield"), show=("Brightfield",)), grey)
    assert np.array_equal(stained(stack[1:], ("LowZBF",)), grey)
