"""Crops from zip files and folders, and what is wrong with tables and pictures."""

from __future__ import annotations

import zipfile
from pathlib import Path

import imagecodecs
import numpy as np
import pytest

from phenostream.errors import DamagedError, NotFoundError, RecipeError, WrongShapeError
from phenostream.profiles.phenotypes import CropTable, read_crops


def picture(seed: int, shape: tuple[int, int] = (16, 16)) -> np.ndarray:
    return np.random.default_rng(seed).integers(3, 120, shape, np.uint8)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    lines = ["class,file,plate,well,frame"]
    with zipfile.ZipFile(tmp_path / "one.zip", "w") as archive:
        for number in range(4):
            name, kind = f"c{number}.png", "round" if number % 2 else "long"
            lines.append(f"{kind},{name},P1,{number // 2},7")
            data = imagecodecs.png_encode(picture(number))
            if number < 3:
                archive.writestr(f"{kind}/{name}", data)
            else:
                (tmp_path / "more" / kind).mkdir(parents=True)
                (tmp_path / "more" / kind / name).write_bytes(data)
    (tmp_path / "crops.csv").write_text("\n".join(lines))
    return tmp_path


def settings(**more: object) -> CropTable:
    given = {"table": "crops.csv", "images": ["one.zip", "more"], "name": "{class}/{file}"}
    return CropTable.model_validate({**given, **more})


def test_crops_come_in_the_order_of_the_table(folder: Path) -> None:
    found = read_crops(settings(), folder)
    np.testing.assert_array_equal(found.pixels, [picture(one) for one in range(4)])
    assert found.table["Metadata_Phenotype"].to_pylist() == ["long", "round", "long", "round"]
    assert found.table["Metadata_Image"].to_pylist() == ["P1/0/7", "P1/0/7", "P1/1/7", "P1/1/7"]
    assert len(set(found.table["CellId"].to_pylist())) == 4


def test_classes_are_left_out_counted_and_crops_limited(folder: Path) -> None:
    found = read_crops(settings(exclude=["long"], most=1), folder)
    assert found.excluded == {"long": 2}
    assert len(found.pixels) == 1


def test_rescaling_leaves_no_brightness(folder: Path) -> None:
    found = read_crops(settings(rescale="range"), folder).pixels
    assert (found.min(axis=(1, 2)) == 0).all()
    assert (found.max(axis=(1, 2)) == 255).all()


def test_bad_tables_and_pictures_are_named(folder: Path) -> None:
    with pytest.raises(NotFoundError, match="no table"):
        read_crops(settings(table="no.csv"), folder)
    with pytest.raises(NotFoundError, match="'phenotype'"):
        read_crops(settings(label="phenotype"), folder)
    with pytest.raises(NotFoundError, match="no pictures"):
        read_crops(settings(images=["gone.zip"]), folder)
    with pytest.raises(NotFoundError, match="no picture "):
        read_crops(settings(name="{file}"), folder)
    with pytest.raises(RecipeError, match="name of a picture"):
        read_crops(settings(name="{nobody}"), folder)
    with pytest.raises(RecipeError, match="no crop"):
        read_crops(settings(exclude=["long", "round"]), folder)
    (folder / "more" / "broken.zip").write_bytes(b"no zip")
    with pytest.raises(DamagedError, match="no zip"):
        read_crops(settings(images=["more/broken.zip"]), folder)


def test_the_same_picture_twice_and_other_sizes_are_refused(folder: Path) -> None:
    table = folder / "crops.csv"
    table.write_text(table.read_text() + "\nlong,c0.png,P1,0,7")
    with pytest.raises(DamagedError, match="twice"):
        read_crops(settings(), folder)
    (folder / "more" / "round" / "c3.png").write_bytes(imagecodecs.png_encode(picture(1, (8, 8))))
    table.write_text("\n".join(table.read_text().splitlines()[:-1]))
    with pytest.raises(WrongShapeError, match="one size"):
        read_crops(settings(), folder)
