"""The exam of exporters: what every module of `phenostream.datasets.exporters`, and every one from outside, must do."""

# ruff: noqa: S101  (an exam asserts)

from __future__ import annotations

import os
import pickle
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pytest

from phenostream import datasets
from phenostream.datasets.exporting import parse_settings
from phenostream.errors import LedgerError, PhenostreamError
from phenostream.synthetic.screen import ScreenDesign, fields

if TYPE_CHECKING:
    from pathlib import Path

    from phenostream.datasets import Pack

__all__ = ["ExporterExam"]

_DESIGN = ScreenDesign(
    experiments=("HUVEC-01", "RPE-01"),
    test_experiments=("RPE-01",),
    plates=1,
    perturbations=2,
    positives=1,
    shape=(16, 20),
    missing=0.1,
)


def tree(folder: Path) -> dict[str, bytes]:
    """Content of every file below `folder`, save the lock."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != "lock")
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


@cache
def _packed(base: Path) -> Path:
    datasets.pack(fields(_DESIGN), base / "examined")
    return base / "examined"


class ExporterExam:
    """Subclass it in a test module, set `settings`, and pytest examines the exporter.

    Attributes:
        settings: as they would stand in a recipe; they must not leave sites out.
    """

    settings: ClassVar[dict[str, Any]]

    @pytest.fixture
    def examined(self, tmp_path_factory: pytest.TempPathFactory) -> Pack:
        """A small six-channel screen of 8 bits, packed once in a session."""
        return datasets.open_pack(_packed(tmp_path_factory.getbasetemp()))

    def test_settings_travel_and_are_described(self) -> None:
        """Settings survive pickling and JSON, and the JSON Schema explains each."""
        told = parse_settings(self.settings)
        assert pickle.loads(pickle.dumps(told)) == told  # noqa: S301  (made here)
        assert type(told).model_validate_json(told.model_dump_json()) == told
        properties = type(told).model_json_schema()["properties"]
        assert [name for name, one in properties.items() if name != "format" and not one.get("description")] == []

    def test_every_site_comes_back_exactly_and_once(self, examined: Pack, tmp_path: Path) -> None:
        """Pixels bit for bit, in their type, each with its row of the index."""
        told = datasets.export(examined, tmp_path, self.settings)
        assert (told.sites, told.left_out) == (len(examined), 0)
        number = {row["site_id"]: index for index, row in enumerate(examined.table.to_pylist())}
        seen = []
        for row, example in datasets.read_export(tmp_path):
            original = examined[number[row["site_id"]]]
            assert example.pixels.dtype == original.dtype
            assert np.array_equal(example.pixels, original)
            seen.append(row["site_id"])
        assert sorted(seen) == sorted(number)

    def test_the_index_keeps_all_that_is_told(self, examined: Pack, tmp_path: Path) -> None:
        """Every metadata column and statistic of the pack is in the index of the export, and where each site lies."""
        datasets.export(examined, tmp_path, self.settings)
        rows = {row["site_id"]: row for row, _ in datasets.read_export(tmp_path)}
        for row in examined.table.drop_columns(["array", "slot", "shard", "offset", "length", "crc32c"]).to_pylist():
            found = rows[row["site_id"]]
            assert {name: found[name] for name in row} == row
            assert (tmp_path / found["file"]).exists()

    def test_the_same_pack_gives_the_same_bytes(self, examined: Pack, tmp_path: Path) -> None:
        """Twice, also on several threads."""
        datasets.export(examined, tmp_path / "one", self.settings)
        datasets.export(examined, tmp_path / "two", self.settings, workers=3)
        assert tree(tmp_path / "one") == tree(tmp_path / "two")

    def test_16_bits_come_back_exactly(self, tmp_path: Path) -> None:
        """Pixels over 255 in both bytes."""
        wide = [one.with_pixels(_Wide(one.pixels)) for one in fields(_DESIGN)[:6] if one.pixels]
        datasets.pack(wide, tmp_path / "wide")
        deep = datasets.open_pack(tmp_path / "wide")
        assert deep.dtype == np.uint16
        number = {row["site_id"]: index for index, row in enumerate(deep.table.to_pylist())}
        datasets.export(deep, tmp_path / "out", self.settings)
        for row, example in datasets.read_export(tmp_path / "out"):
            assert np.array_equal(example.pixels, deep[number[row["site_id"]]])

    def test_it_goes_on_where_it_was(self, examined: Pack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A stop in the middle leaves whole files and no export; the next run writes the rest and nothing twice."""
        datasets.export(examined, tmp_path / "whole", self.settings)
        calls = {"left": len(datasets.open_pack(examined.base)) * 2 // 3}
        read = type(examined).__getitem__

        def failing(self: Pack, index: int) -> Any:
            calls["left"] -= 1
            if calls["left"] < 0:
                raise KeyboardInterrupt
            return read(self, index)

        monkeypatch.setattr(type(examined), "__getitem__", failing)
        with pytest.raises(KeyboardInterrupt):
            datasets.export(examined, tmp_path / "out", self.settings)
        monkeypatch.undo()
        with pytest.raises(PhenostreamError, match="no finished export"):
            next(datasets.read_export(tmp_path / "out"))
        datasets.export(examined, tmp_path / "out", self.settings)
        assert tree(tmp_path / "out") == tree(tmp_path / "whole")
        assert datasets.export(examined, tmp_path / "out", self.settings).written == 0

    def test_damage_is_noticed(self, examined: Pack, tmp_path: Path) -> None:
        """A changed byte of any file is found by verifying."""
        told = datasets.export(examined, tmp_path, self.settings)
        assert datasets.verify_export(tmp_path) == []
        victim = tmp_path / told.files[-1]
        files = [victim] if victim.is_file() else sorted(path for path in victim.rglob("*") if path.is_file())
        data = bytearray(files[-1].read_bytes())
        data[len(data) // 2] ^= 1
        files[-1].write_bytes(data)
        assert datasets.verify_export(tmp_path) == [told.files[-1]]

    def test_another_export_in_the_folder_is_left_alone(self, examined: Pack, tmp_path: Path) -> None:
        """Neither a foreign file nor another format is overwritten."""
        (tmp_path / "thesis.txt").write_text("do not lose")
        with pytest.raises(LedgerError):
            datasets.export(examined, tmp_path, self.settings)
        assert sorted(os.listdir(tmp_path)) == ["lock", "thesis.txt"]


class _Wide:
    """Pixels of another site, spread over 16 bits."""

    def __init__(self, pixels: Any) -> None:
        self.pixels = pixels

    def __call__(self) -> Any:
        return self.pixels().astype(np.uint16) * 251
