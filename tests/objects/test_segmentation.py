"""The call `segment`: shapes, channels, refusals."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

import phenostream
from phenostream.errors import ChannelMissingError, NotFiniteError, RecipeError, WrongDtypeError, WrongShapeError
from phenostream.testing.segmenters import nuclei

SCENE = nuclei(1)


def test_the_first_channel_is_the_default():
    stack = np.stack([SCENE.image, np.zeros_like(SCENE.image)])
    plain = phenostream.segment(SCENE.image)
    assert plain.dtype == np.int32
    assert np.array_equal(phenostream.segment(stack), plain)
    assert np.array_equal(phenostream.segment(stack, channels=["DNA", "ER"]), plain)
    assert np.array_equal(phenostream.segment(stack[::-1], channels=["ER", "DNA"], channel="DNA"), plain)
    assert np.array_equal(phenostream.segment(stack[::-1], channel="1"), plain)


@pytest.mark.parametrize("samples", [1, 2, 3, 4])
def test_a_grey_picture_is_one_plane(samples):
    picture = np.repeat(SCENE.image[..., None], samples, axis=2)
    plain = phenostream.segment(SCENE.image)
    assert np.array_equal(phenostream.segment(picture), plain)
    if samples in (2, 4):
        picture[..., -1] = 255  # opaque
        assert np.array_equal(phenostream.segment(picture), plain)


def test_a_colour_picture_is_refused_and_not_read_as_rows():
    picture = np.stack([SCENE.image, SCENE.image // 2, 0 * SCENE.image], axis=-1)
    for image in (picture, picture[..., :2], np.dstack([picture, SCENE.image])):
        with pytest.raises(WrongShapeError, match=r"colour picture.*moveaxis"):
            phenostream.segment(image)
    turned = np.moveaxis(picture, -1, 0)
    assert np.array_equal(phenostream.segment(turned), phenostream.segment(SCENE.image))
    rows = [str(row) for row in range(len(picture))]  # whoever names the channels knows what the axes are
    assert phenostream.segment(picture, channels=rows).shape == picture.shape[1:]


@pytest.mark.parametrize(
    ("image", "told", "error"),
    [
        (np.zeros(5), {}, WrongShapeError),
        (np.zeros((1, 2, 3, 4)), {}, WrongShapeError),
        (np.zeros((0, 5, 5)), {}, WrongShapeError),
        (np.zeros((2, 5, 5)), {"channels": ["DNA"]}, WrongShapeError),
        (np.zeros((5, 5)), {"channels": ["DNA"], "channel": "ER"}, ChannelMissingError),
        (np.full((5, 5), np.nan), {}, NotFiniteError),
        (np.full((5, 5), "a"), {}, WrongDtypeError),
        (np.zeros((5, 5), bool), {}, WrongDtypeError),
        (np.zeros((5, 5)), {"model": "best"}, RecipeError),
        (np.zeros((5, 5)), {"diameter": 0}, RecipeError),
        (np.zeros((5, 5)), {"options": {"colour": 1}}, RecipeError),
        (np.zeros((5, 5)), {"model": "own_regions", "diameter": 9}, RecipeError),
    ],
)
def test_what_cannot_be_segmented_is_named(image, told, error):
    with pytest.raises(error):
        phenostream.segment(image, **told)


def test_naming_segmenters_loads_none_of_their_libraries():
    code = (
        "import sys; from phenostream.objects.plug import names, settings; names();"
        "assert not {'torch', 'tensorflow', 'cellpose', 'stardist'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
