"""The page of a packed screen: everything is on it, and nothing has to be fetched for it."""

from __future__ import annotations

import base64
import io
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from phenostream import datasets, report
from phenostream.datasets import views
from phenostream.errors import NotFoundError
from phenostream.report import Settings
from phenostream.synthetic.screen import ScreenDesign, fields

DESIGN = ScreenDesign(
    experiments=("HUVEC-01", "RPE-01"), test_experiments=(), perturbations=3, positives=1, negatives=1, shape=(24, 24),
    missing=0.0,
)  # fmt: skip


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("screen") / "six-stains"
    sites = [one.with_pixels(lambda: np.zeros((6, 24, 24), np.uint8)) if not at else one
             for at, one in enumerate(fields(DESIGN))]  # fmt: skip
    datasets.pack([*sites, sites[1]], folder)
    return folder


@pytest.fixture(scope="module")
def page(pack: Path) -> str:
    return report.write(pack).read_text()


def test_it_lies_beside_the_pack_and_fetches_nothing(pack: Path, page: str) -> None:
    assert (pack.parent / "six-stains.report.html").is_file()
    assert not re.search(r"(?:src|href)=\"(?!data:|#)", page)
    assert "<script" not in page
    assert len(page) < 8_000_000


def test_findings_stand_with_their_reasons(page: str) -> None:
    assert "blank 1" in page
    assert "duplicate 1" in page
    assert "the same site as another array" in page


def test_channels_replicates_and_every_plate_are_shown(pack: Path, page: str) -> None:
    opened = datasets.open_pack(pack)
    alts = re.findall(r'<img alt="([^"]*)"', page)
    maps = [
        f"{plate}, {channel}" for plate in sorted({*opened.table["plate"].to_pylist()}) for channel in opened.channels
    ]
    assert sorted(one for one in alts if "," in one) == sorted(maps)
    assert "Sites of each sirna" in alts
    found = dict(re.findall(r'<img alt="([^"]*)" src="data:image/\w+;base64,([^"]*)"', page))
    name = next(one for one in alts if one.startswith("Composite of site ")).removeprefix("Composite of site ")
    row = opened.table["site_id"].to_pylist().index(name)
    picture = Image.open(io.BytesIO(base64.b64decode(found[f"Composite of site {name}"])))
    assert np.array_equal(np.asarray(picture), views.composite(opened, row))


def test_the_column_of_perturbations_can_be_named(pack: Path, tmp_path: Path) -> None:
    path = report.write(pack, tmp_path / "r.html", settings=Settings(group="cell_type"))
    assert "Sites of each cell_type" in path.read_text()
    with pytest.raises(NotFoundError, match="no column 'dose'"):
        report.write(pack, tmp_path / "r.html", settings=Settings(group="dose"))


def test_the_same_pack_gives_the_same_page(pack: Path, tmp_path: Path, page: str) -> None:
    assert report.write(pack, tmp_path / "again.html").read_text() == page
