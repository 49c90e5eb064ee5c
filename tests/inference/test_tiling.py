"""Windows cover the image once in weight, start on the stride's grid, and keep only what no cut edge has touched."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from phenostream.errors import WrongShapeError
from phenostream.inference.tiling import balanced, cut, padded_window, shape_within, spans, tiles

strides = st.sampled_from([1, 2, 4, 8])


@given(strides, st.integers(1, 80), st.integers(0, 10), st.integers(0, 4), st.integers(1, 20), st.data())
def test_weights_sum_to_one_and_kept_parts_lie_off_cut_edges(
    stride: int, length: int, halo: int, overlap: int, more: int, data: st.DataObject
) -> None:
    ratio = Fraction(1, stride) if data.draw(st.booleans()) else Fraction(data.draw(st.sampled_from([1, 2])))
    length, halo, overlap = stride * length, stride * halo, stride * overlap
    window = 2 * halo + 2 * max(overlap, stride) + stride * more
    found = spans(length, window, halo, overlap)
    total = np.zeros(int(length * ratio))
    for span in found:
        assert span.start % stride == 0
        assert span.stop - span.start == min(window, length)
        assert span.low >= span.start + (halo if span.start else 0)
        assert span.high <= span.stop - (halo if span.stop < length else 0)
        weights = span.weights(ratio, len(total))
        assert (weights > 0).all()
        total[int(span.low * ratio) : int(span.high * ratio)] += weights
    np.testing.assert_allclose(total, 1, atol=1e-6)


def test_windows_that_do_not_get_on_are_refused() -> None:
    with pytest.raises(WrongShapeError, match="too small for a halo of 20"):
        spans(1000, 40, 20, 0)


@given(strides, st.integers(1, 200), st.integers(0, 10), st.integers(0, 4), st.integers(1, 40))
def test_balanced_windows_are_no_longer_and_no_more(
    stride: int, length: int, halo: int, overlap: int, more: int
) -> None:
    length, halo, overlap = stride * length, stride * halo, stride * overlap
    window = 2 * halo + 2 * max(overlap, stride) + stride * more
    even = balanced(length, window, halo, overlap, stride)
    assert even <= window
    assert even % stride == 0
    if overlap == 0 or even >= length or even - 2 * halo - overlap >= overlap:
        assert len(spans(length, even, halo, overlap)) <= len(spans(length, window, halo, overlap))


def test_the_window_is_as_cubic_as_memory_allows() -> None:
    assert shape_within((1000, 1000), (16, 16), 300 * 300) == (288, 288)
    assert shape_within((20, 1000, 1000), (1, 4, 4), 20 * 100 * 100) == (20, 100, 100)
    assert shape_within((64, 64), (8, 8), 1e9) == (64, 64)
    assert shape_within((64, 64), (8, 8), 1) == (8, 8)


@given(st.integers(1, 12), st.integers(1, 12), st.integers(0, 40), st.integers(0, 40))
def test_padding_is_numpys_reflection(height: int, width: int, below: int, right: int) -> None:
    image = np.arange(2 * height * width).reshape(2, height, width)
    padded = np.pad(image, [(0, 0), (0, below), (0, right)], mode="reflect")
    whole = padded_window(image, [(0, height + below), (0, width + right)])
    np.testing.assert_array_equal(whole, padded)
    top, left = (height + below) // 2, (width + right) // 3
    part = padded_window(image, [(top, height + below), (left, width + right)])
    np.testing.assert_array_equal(part, padded[:, top:, left:])


def test_cutting_and_laying_gives_the_image_back() -> None:
    image = np.random.default_rng(0).random((37, 53))
    padded = np.pad(image, [(0, 3), (0, 3)], mode="reflect")
    total = np.zeros_like(image)
    for tile in tiles((40, 56), (24, 32), (4, 4), (4, 8)):
        (rows, low, one), (columns, left, two) = cut(tile, (Fraction(1), Fraction(1)), image.shape)
        window = padded[tuple(slice(*ends) for ends in tile.window)]
        total[low, left] += window[rows, columns] * np.multiply.outer(one, two)
    np.testing.assert_allclose(total, image, atol=1e-6)
