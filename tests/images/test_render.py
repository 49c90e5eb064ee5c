"""Pictures against scikit-image and plain arithmetic."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.exposure import rescale_intensity
from skimage.segmentation import find_boundaries
from skimage.transform import resize

from phenostream.errors import EmptyError, RecipeError, WrongDtypeError, WrongShapeError
from phenostream.images import COLOURS, composite, default_colours, draw_outlines, thumbnail, to_8bit


def field(channels=2, rows=60, columns=80, dtype=np.uint16):
    return np.random.default_rng(0).integers(0, 4000, (channels, rows, columns)).astype(dtype)


def test_the_stretch_is_scikit_images():
    plane = field(1)[0]
    limits = tuple(np.percentile(plane, (1, 99.8)))
    expected = rescale_intensity(plane.astype(float), limits, (0, 255))
    np.testing.assert_array_equal(to_8bit(plane), np.rint(expected))


def test_limits_take_the_place_of_percentiles():
    np.testing.assert_array_equal(to_8bit(np.array([[0, 10, 20, 30]]), limits=(10, 20)), [[0, 0, 255, 255]])


def test_blank_and_missing_pixels_are_black():
    assert not to_8bit(np.full((3, 3), 7)).any()
    assert not to_8bit(np.full((3, 3), np.nan)).any()
    np.testing.assert_array_equal(to_8bit(np.array([[np.nan, 0.0, 1.0, np.inf]]), limits=(0, 1)), [[0, 0, 255, 255]])
    assert to_8bit(np.array([[True, False]]), percentiles=(0, 100)).tolist() == [[255, 0]]


def test_channels_are_tinted_and_added():
    stack = np.zeros((2, 1, 3))
    stack[0, 0], stack[1, 0] = [0, 1, 1], [0, 0, 1]
    picture = composite(stack, limits=[(0, 1), (0, 1)])
    np.testing.assert_array_equal(picture, [[[0, 0, 0], [0, 255, 0], [255, 255, 255]]])
    tinted = composite(stack, colours=["orange", (0, 0, 10)], limits=[(0, 1), (0, 1)])
    np.testing.assert_array_equal(tinted[0, 2], [230, 159, 10])


def test_default_colours_differ_until_they_must_repeat():
    for count in range(1, 7):
        names = default_colours(count)
        assert len(set(names)) == count
        assert set(names) <= set(COLOURS)
    assert len(default_colours(9)) == 9


@given(st.integers(1, 4), st.integers(1, 90), st.integers(1, 90), st.integers(1, 64))
@settings(max_examples=40, deadline=None)
def test_thumbnails_fit_their_side_and_keep_their_proportion(channels, rows, columns, side):
    stack = np.random.default_rng(0).random((channels, rows, columns))
    small = thumbnail(stack, side=side)
    scale = min(1, side / max(rows, columns))
    assert small.shape[:2] == (max(1, round(rows * scale)), max(1, round(columns * scale)))
    assert small.ndim == (2 if channels == 1 else 3)
    np.testing.assert_array_equal(small, thumbnail(stack, side=side))


def test_a_thumbnail_is_the_stretched_resize():
    plane = field(1)[0]
    expected = to_8bit(resize(plane.astype(float), (24, 32), order=1, mode="symmetric", anti_aliasing=True))
    assert np.abs(thumbnail(plane, side=32).astype(int) - expected).max() <= 1
    assert thumbnail(plane, side=32, colours=["cyan"]).shape == (24, 32, 3)


def labels():
    image = np.zeros((20, 30), np.int32)
    image[2:9, 3:12], image[5:9, 12:20], image[15:, 25:] = 1, 2, 3
    return image


def test_borders_are_scikit_images():
    picture = np.zeros((20, 30), np.uint8)
    drawn = draw_outlines(picture, labels(), colour=(1, 2, 3))
    np.testing.assert_array_equal(drawn[..., 0] == 1, find_boundaries(labels(), mode="inner"))
    assert not picture.any()


def test_outlines_are_points_and_may_be_scaled():
    picture = np.zeros((10, 10, 3), np.uint8)
    drawn = draw_outlines(picture, [np.array([[2, 4], [3, 4], [99, 0], [-1, 0]]), np.empty((0, 2), int)])
    assert [tuple(one) for one in np.argwhere(drawn.any(axis=2))] == [(2, 4), (3, 4)]
    assert tuple(drawn[2, 4]) == COLOURS["yellow"]
    halved = draw_outlines(picture, [np.array([[4, 6]])], scale=0.5)
    assert [tuple(one) for one in np.argwhere(halved.any(axis=2))] == [(2, 3)]


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda: to_8bit(np.zeros((2, 2)), limits=(2, 1)), RecipeError),
        (lambda: to_8bit(np.zeros((0, 2))), EmptyError),
        (lambda: to_8bit(np.zeros((2, 2), complex)), WrongDtypeError),
        (lambda: composite(np.zeros((2, 2))), WrongShapeError),
        (lambda: composite(np.zeros((0, 2, 2))), EmptyError),
        (lambda: composite(field(), colours=["grey"]), WrongShapeError),
        (lambda: composite(field(), colours=["grey", "octarine"]), RecipeError),
        (lambda: composite(field(), colours=["grey", (1, 2, 300)]), RecipeError),
        (lambda: thumbnail(np.zeros(3)), WrongShapeError),
        (lambda: thumbnail(np.zeros((0, 3, 3))), EmptyError),
        (lambda: thumbnail(field(), side=0), RecipeError),
        (lambda: draw_outlines(np.zeros((2, 2)), labels()), WrongDtypeError),
        (lambda: draw_outlines(np.zeros((2, 2, 2), np.uint8), labels()), WrongShapeError),
        (lambda: draw_outlines(np.zeros((2, 2), np.uint8), labels()), WrongShapeError),
    ],
)
def test_what_cannot_be_drawn_is_refused(call, error):
    with pytest.raises(error):
        call()
