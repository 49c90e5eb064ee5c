"""Which fields are shown, and whether outlines lie on what they outline."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import numpy as np
import pyarrow as pa
from PIL import Image

from phenostream import images
from phenostream.profiles import part_bytes
from phenostream.report import montage as room
from phenostream.report.facts import Seen, gather
from phenostream.report.montage import choose, outline_path
from phenostream.report.pictures import open_pictures


def montage(facts, count):
    parts = [one.part.relative_to(facts.folder).as_posix() for one in facts.fields]
    return room.montage(open_pictures(facts, parts), count)


def seen(rows, focus=None):
    return Seen(Path("p"), rows, focus, "P", "A1", "1", 1)


def test_the_extremes_are_chosen_and_named():
    fields = [seen(50 + index % 7, 0.5 + index / 1000) for index in range(100)]
    fields[40], fields[60] = seen(500, 0.5), seen(1, 0.5)
    fields[70], fields[80] = seen(50, 0.01), seen(50, 0.99)
    picked = choose(fields, 12)
    assert len(picked) == 12
    told = {why: one for one, why in picked if why}
    assert (told["most cells"].rows, told["fewest cells"].rows) == (500, 1)
    assert (told["lowest focus"].focus, told["highest focus"].focus) == (0.01, 0.99)


def test_few_fields_are_all_shown_in_order():
    fields = [seen(index) for index in range(5)]
    assert [one.rows for one, _ in choose(fields, 24)] == [0, 1, 2, 3, 4]
    assert choose([], 24) == []
    assert choose(fields, 0) == []


def test_pictures_of_a_run(run):
    shown = montage(gather(run), 24)
    assert len(shown) == 24
    first = shown[0]
    assert (first.plate, first.well, first.site, first.frame) == ("LT0001_02", "A1", "1", 1)
    assert max(first.width, first.height) == 256
    assert first.source.startswith("parts/")
    assert first.outlines.count("M") == first.cells


def test_outlines_lie_on_the_cells(run):
    """The picture is brighter on the outlines' insides than at their reflection through the picture's centre."""
    shown = montage(gather(run), 24)[0]
    kind, _, data = shown.image.partition(",")
    assert kind == "data:image/webp;base64"
    image = np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("L"), float)
    centres = []
    for piece in shown.outlines.split("M")[1:]:
        points = np.array([point.split() for point in piece.rstrip("Z").split("L")], float)
        centres.append(points.mean(axis=0))
    x, y = np.clip(np.array(centres).astype(int).T, 0, None)
    y, x = np.minimum(y, image.shape[0] - 1), np.minimum(x, image.shape[1] - 1)
    assert np.median(image[y, x]) > 2 * np.median(image)


def test_a_path_is_scaled_to_pixel_centres_and_closed():
    assert outline_path([0, 3, 3, 0], [0, 0, 3, 3], 1.0) == "M0.5 0.5L3.5 0.5L3.5 3.5L0.5 3.5Z"
    assert outline_path([0, 1, 1, 0], [0, 0, 1, 1], 0.1) == "M0 0Z"
    assert outline_path([], [], 1.0) == ""


def test_large_noisy_thumbnails_are_shrunk(folder):
    rng = np.random.default_rng(0)
    folder.add(cells=5, thumbnail=False)
    noisy = Image.fromarray(rng.integers(0, 255, (1024, 1024, 3), dtype=np.uint8))
    sink = io.BytesIO()
    noisy.save(sink, "PNG")
    folder.add(cells=5, thumbnail=sink.getvalue())
    shown = montage(gather(folder.path), 24)
    assert len(shown) == 1  # a part without a thumbnail has no picture
    assert shown[0].width == 320
    assert len(shown[0].image) < 250_000


def test_channels_of_a_thumbnail_come_apart_again(folder):
    """From the colours that it was made with, one channel in red and the other in green of the picture."""
    planes = np.zeros((2, 64, 64))
    planes[0, :, :32], planes[1, :32] = 1, 1
    sink = io.BytesIO()
    Image.fromarray(images.thumbnail(planes)).save(sink, "PNG")
    told = {"mean_DNA": 1.0, "mean_Actin": 1.0}
    folder.add(cells=3, thumbnail=sink.getvalue(), channels=("DNA", "Actin"), qc=told)
    facts = gather(folder.path)
    pictures = open_pictures(facts, [])
    image = np.asarray(pictures.get(facts.fields[0].part.relative_to(folder.path).as_posix()).image)
    np.testing.assert_array_equal(image[..., 0], 255 * planes[0])
    np.testing.assert_array_equal(image[..., 1], 255 * planes[1])
    assert not image[..., 2].any()


def test_a_part_that_cannot_be_read_is_noted(folder):
    folder.add(cells=5)
    folder.add(well="A2", cells=5)
    facts = gather(folder.path)
    facts.fields[0].part.write_bytes(b"PAR1 not any more PAR1")
    assert len(montage(facts, 24)) == 1
    assert list(facts.unread) == [facts.fields[0].part.relative_to(folder.path).as_posix()]


def test_a_crowded_field_gets_coarser_lines_and_never_fewer(tmp_path, monkeypatch):
    angle = np.linspace(0, 2 * np.pi, 60, endpoint=False)
    rings = [(np.rint(20 + 9 * np.cos(angle) + 22 * n), np.rint(20 + 9 * np.sin(angle))) for n in range(40)]
    table = pa.table(
        {
            "Nuclei_Outline_X": pa.array([x.astype(np.int16) for x, _ in rings], pa.list_(pa.int16())),
            "Nuclei_Outline_Y": pa.array([y.astype(np.int16) for _, y in rings], pa.list_(pa.int16())),
        }
    )
    path = tmp_path / "part.parquet"
    path.write_bytes(part_bytes(table))
    fine = room._outlines(path, 1.0)
    monkeypatch.setattr(room, "_PATH_CHARACTERS", len(fine) // 2)
    coarse = room._outlines(path, 1.0)
    assert fine.count("M") == coarse.count("M") == 40
    assert len(coarse) <= len(fine) // 2
