"""Pictures cut from the images themselves: the right pixels, only while nothing has changed, never over a network."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
import tifffile
from PIL import Image

from phenostream import formats, images, stream, synthetic
from phenostream.report.design import Settings
from phenostream.report.facts import gather
from phenostream.report.pictures import open_pictures
from phenostream.report.rows import RunRows
from phenostream.report.survey import survey
from phenostream.report.tiles import ACROSS, SIDE, tiles


@pytest.fixture(scope="module")
def local(tmp_path_factory):
    """A run of three wells over a folder of this machine, and that folder."""
    base = tmp_path_factory.mktemp("local")
    (base / "images" / "P1").mkdir(parents=True)
    for number, well in enumerate(("A1", "A2", "B1")):
        scene = synthetic.field(np.random.default_rng(number), shape=(200, 240), n=8)
        formats.tiff.write(f"{base}/images/P1/{well}_s1_w1.tif", scene.image[0])
    recipe = {
        "source": {"catalog": "folder", "base": str(base / "images"), "channels": {"1": "DNA"},
                   "pattern": "{plate}/{well}_s{site}_w{channel}.tif"},
        "correct": {"method": "none"}, "segment": {"model": "classical", "channel": "DNA"},
        "measure": {"families": ["size_shape", "intensity"]}, "output": {"thumbnail": 64},
    }  # fmt: skip
    stream.run(recipe, base / "run", executor=stream.Inline())
    return base


def opened(folder):
    facts = gather(folder)
    parts = [one.part.relative_to(folder).as_posix() for one in facts.fields]
    return open_pictures(facts, parts), parts, facts


def test_they_are_the_images_between_the_limits_that_are_told(local):
    pictures, parts, facts = opened(local / "run")
    assert "cut from the images themselves" in pictures.words
    made = pictures.get(parts[1])
    pixels = tifffile.imread(local / "images" / "P1" / "A2_s1_w1.tif")
    assert made.scale == 1.0
    assert made.image.size == (240, 200)
    np.testing.assert_array_equal(np.asarray(made.image), images.to_8bit(pixels, limits=pictures.limits["DNA"]))
    assert facts.unread == {}


def test_cells_lie_in_the_middle_of_their_tiles(local):
    pictures, _, facts = opened(local / "run")
    found = survey(RunRows(facts), Settings())
    sheet = tiles(found, pictures)
    assert sorted(sheet.numbers) == list(range(found.rows))
    image = np.asarray(Image.open(io.BytesIO(base64.b64decode(sheet.image.split(",")[1]))).convert("L"), float)
    middle, corner = [], []
    for number in range(found.rows):
        top, left = number // ACROSS * SIDE, number % ACROSS * SIDE
        tile = image[top : top + SIDE, left : left + SIDE]
        middle.append(tile[20:28, 20:28].mean())
        corner.append(np.median([tile[0, 0], tile[0, -1], tile[-1, 0], tile[-1, -1]]))
    assert np.median(middle) > 2 * np.median(corner)


def test_a_changed_image_is_not_shown(local):
    changed = local / "images" / "P1" / "A1_s1_w1.tif"
    changed.write_bytes(changed.read_bytes() + b"\0")
    pictures, parts, _ = opened(local / "run")
    assert max(pictures.get(parts[0]).image.size) == 64  # the thumbnail that the run kept
    assert pictures.get(parts[1]).image.size == (240, 200)  # the others have not changed


def test_a_source_elsewhere_is_not_asked(folder, monkeypatch):
    folder.add(cells=4)
    source = {"catalog": "folder", "base": "https://archive.invalid/x", "pattern": "{plate}/{well}.tif"}
    folder.record(recipe={"source": source})
    monkeypatch.setattr("socket.socket.connect", lambda *_: pytest.fail("a connection was tried"))
    pictures, parts, _ = opened(folder.path)
    assert "thumbnails that the run kept" in pictures.words
    assert pictures.get(parts[0]) is not None
