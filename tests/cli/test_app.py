"""The commands as a person or a script meets them."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import tifffile
from PIL import Image
from scipy import ndimage

from phenostream import inference, objects

COMMANDS = (
    *("demo", "plan", "run", "status", "export", "report", "segment", "measure", "recipe", "datasource", "verify"),
    *("embed", "train", "pack", "unpack", "score"),
)
GROUPS = ("models", "profiles", "phenotypes", "similarity")


def phenostream(*words: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "phenostream", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=200, cwd=cwd, check=False)


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    """Twelve round nuclei, uint16."""
    image = np.zeros((160, 200))
    for y in (30, 80, 130):
        for x in (30, 80, 130, 180):
            image[y, x] = 1
    image = ndimage.gaussian_filter(ndimage.grey_dilation(image, footprint=_disc(11)), 1.5)
    noisy = 400 + 3000 * image + np.random.default_rng(0).normal(0, 40, image.shape)
    path = tmp_path / "nuclei.tif"
    tifffile.imwrite(path, noisy.astype(np.uint16))
    return path


def _disc(radius: int) -> np.ndarray:
    y, x = np.ogrid[-radius : radius + 1, -radius : radius + 1]
    return y**2 + x**2 <= radius**2


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(command: str) -> None:
    told = phenostream(command, "--help")
    assert told.returncode == 0
    assert f"phenostream {command}" in told.stdout


@pytest.mark.parametrize("group", GROUPS)
def test_every_group_lists_its_commands(group: str) -> None:
    told = phenostream(group, "--help")
    assert told.returncode == 0
    assert "Commands:" in told.stdout


def test_the_exit_codes_are_told() -> None:
    told = phenostream("--help").stdout
    assert all(f"\n    {code} " in told for code in (0, 1, 2, 3, 4, 5, 6, 130))


def test_segment_then_measure(picture: Path, tmp_path: Path) -> None:
    labels, table = tmp_path / "labels.tif", tmp_path / "features.parquet"
    told = phenostream("segment", picture, "--out", labels, "--json")
    assert json.loads(told.stdout)["objects"] == 12, told.stderr
    written = tifffile.imread(labels)
    assert written.dtype == np.int32
    assert written.max() == 12
    told = phenostream("measure", picture, labels, "--out", table, "--families", "intensity", "--json")
    assert json.loads(told.stdout)["objects"] == 12, told.stderr
    means = pq.read_table(table)["Nuclei_Intensity_MeanIntensity_DNA"].to_numpy()
    witness = ndimage.mean(tifffile.imread(picture) / 65535, written, np.arange(1, 13))
    np.testing.assert_allclose(means, witness, rtol=1e-7)  # pixels are float32, as in CellProfiler


def test_segment_takes_a_package_channels_and_settings(picture: Path, tmp_path: Path) -> None:
    package = tmp_path / "package"
    shutil.copytree(inference.find("nuclei").folder, package)
    plain, set_, second = (tmp_path / f"{name}.tif" for name in ("plain", "set", "second"))
    told = phenostream("segment", picture, "--out", plain, "--package", package, "--json")
    assert json.loads(told.stdout)["objects"] == 12, told.stderr
    image = tifffile.imread(picture)
    np.testing.assert_array_equal(tifffile.imread(plain), objects.segment(image, "nuclei"))
    chosen = ("--model", "nuclei", "--diameter", "23", "--set", "remove_edges=true", "--set", "views=1")
    assert phenostream("segment", picture, "--out", set_, *chosen).returncode == 0
    options = {"remove_edges": True, "views": 1}
    np.testing.assert_array_equal(tifffile.imread(set_), objects.segment(image, "nuclei", 23, options=options))
    flat = tmp_path / "flat.tif"
    tifffile.imwrite(flat, np.zeros_like(image))
    told = phenostream("segment", flat, picture, "--out", second, "--channels", "ER,DNA", "--channel", "DNA")
    assert told.returncode == 0
    np.testing.assert_array_equal(tifffile.imread(second), objects.segment(image))


def test_what_segment_cannot_take_is_named(picture: Path, tmp_path: Path) -> None:
    out = tmp_path / "labels.tif"
    other = tmp_path / "other.tif"
    tifffile.imwrite(other, np.zeros((3, 4), np.uint16))
    for words, said in (
        (("--package", "cellnet"), "does not segment"),
        (("--package", "nowhere"), "no model 'nowhere'"),
        (("--set", "colour=red"), "colour"),
        (("--channels", "DNA", "--channel", "ER"), "ER"),
        ((other,), "other.tif is"),
    ):
        told = phenostream("segment", picture, *words, "--out", out)
        assert told.returncode > 0
        assert said in told.stderr
        assert "Traceback" not in told.stderr
    assert not out.exists()


def test_a_folder_runs_reports_and_exports(tmp_path: Path, picture: Path) -> None:
    (tmp_path / "images").mkdir()
    for well in ("A1", "A2"):
        (tmp_path / "images" / f"{well}_w1.tif").write_bytes(picture.read_bytes())
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(tmp_path / "images" / "notes.png")
    recipe = tmp_path / "study.yaml"
    recipe.write_text(
        "source: {catalog: folder, base: images, pattern: '{well}_w{channel}.tif', channels: {'1': DNA}, plate: P1}\n"
        "correct: {method: none}\nmeasure: {families: [intensity]}\nstream: {workers: 1}\n"
    )
    told = phenostream("plan", recipe, "--json", cwd=tmp_path)
    plan = json.loads(told.stdout)
    assert plan["units"] == 2
    assert plan["bytes_to_move"] >= 2 * picture.stat().st_size
    told = phenostream("run", recipe, "--out", "run", "--json", cwd=tmp_path)
    ended = json.loads(told.stdout)
    assert told.returncode == 0, told.stderr
    assert (ended["inputs"], ended["done"], ended["rows"]) == (2, 2, 24)
    assert Path(tmp_path / "run" / "report.html").stat().st_size > 10_000
    shown = json.loads(phenostream("status", "run", "--json", cwd=tmp_path).stdout)
    assert shown["failures"] == []
    told = phenostream("export", "run", "--format", "csv", "--out", "cells.csv", cwd=tmp_path)
    assert told.returncode == 0, told.stderr
    assert len((tmp_path / "cells.csv").read_text().splitlines()) == 25


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("run", "nowhere.yaml"), 6, "nowhere.yaml"),
        (("status", "."), 6, "not a run folder"),
        (("segment", "nothing.tif", "--out", "x.tif"), 6, "nothing.tif"),
        (("measure", "a.jpg", "--out", "x.csv"), 2, "label image"),
        (("nonsense",), 2, "nonsense"),
    ],
)
def test_errors_have_a_code_and_a_remedy(words: tuple[str, ...], code: int, said: str, tmp_path: Path) -> None:
    told = phenostream(*words, cwd=tmp_path)
    assert told.returncode == code
    assert said in told.stderr
    assert "Traceback" not in told.stderr


def test_a_bad_recipe_names_its_key(tmp_path: Path) -> None:
    (tmp_path / "study.yaml").write_text("source: {catalog: folder, base: x, pattern: '{well}.tif'}\nsegmnt: {}\n")
    told = phenostream("run", "study.yaml", cwd=tmp_path)
    assert told.returncode == 2
    assert "segmnt" in told.stderr


def test_the_schema_knows_every_step() -> None:
    schema = json.loads(phenostream("recipe", "--schema").stdout)
    assert {"source", "select", "correct", "segment", "measure", "output", "stream", "seed"} <= set(
        schema["properties"]
    )
