"""Reading through the ledger: only what it names, in the order of the plan."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from phenostream.errors import DamagedError, HostileError, LedgerError, NotFoundError, RecipeError
from phenostream.profiles import Manifest, iter_profiles, profiles_schema, read_profiles
from phenostream.values import columns_of


@pytest.fixture
def run(folder, make):
    """Three done units out of order, one rejected, one from an earlier plan, and a part nobody names."""
    folder.add(make("A5"), well="A5", position=2)
    folder.add(make("A4"), well="A4", position=0)
    folder.add(well="A6", state="failed", reason="damaged", position=1)
    folder.add(make("A7"), well="A7", position=-1)
    folder.add(make("A8", 2), well="A8", position=3)
    stray = folder.path / "parts" / "zz"
    stray.mkdir(parents=True)
    (stray / "stray.parquet").write_bytes(b"not named, so not there")
    return folder


def test_rows_of_done_units_in_the_order_of_the_plan(run, make):
    table = read_profiles(run.path)
    assert table.column("Metadata_Well").to_pylist() == ["A4"] * 3 + ["A5"] * 3 + ["A8"] * 2
    assert table.slice(0, 3).equals(make("A4"))
    assert columns_of(table.schema) == columns_of(make("A4").schema)


def test_parts_come_one_by_one_and_are_the_same(run):
    pieces = list(iter_profiles(run.path))
    assert [piece.num_rows for piece in pieces] == [3, 3, 2]
    assert pa.concat_tables(pieces).equals(read_profiles(run.path))


def test_views_follow_roles(run):
    assert read_profiles(run.path, view="features").column_names == [
        "CellId", "Nuclei_AreaShape_Area", "Nuclei_AreaShape_Center_X", "Nuclei_Intensity_MeanIntensity_DNA"
    ]  # fmt: skip
    model = read_profiles(run.path, ["Metadata_Well"], view="model").column_names
    assert model == ["CellId", "Metadata_Well", "Nuclei_AreaShape_Area", "Nuclei_Intensity_MeanIntensity_DNA"]
    assert read_profiles(run.path, ["Metadata_Site", "CellId"]).column_names == ["Metadata_Site", "CellId"]


def test_a_view_or_column_that_is_not_there(run):
    with pytest.raises(RecipeError, match="no view"):
        read_profiles(run.path, view="everything")
    with pytest.raises(NotFoundError, match="Metadata_Nope"):
        read_profiles(run.path, ["Metadata_Nope"])


def test_a_channel_missing_in_one_part_is_null_there(folder, make):
    two = {"Nuclei_Intensity_MeanIntensity_DNA": False, "Nuclei_Intensity_MeanIntensity_Actin": False}
    folder.add(make("A1", 2, features={"Nuclei_Intensity_MeanIntensity_DNA": False}))
    folder.add(make("A2", 2, features=two, annotations={"dose": "1"}))
    table = read_profiles(folder.path)
    assert table.column("Nuclei_Intensity_MeanIntensity_Actin").null_count == 2
    assert table.column("Metadata_gene").to_pylist() == ["KIF11", "KIF11", None, None]
    roles = [column.role for column in columns_of(table.schema)]
    features = [place for place, role in enumerate(roles) if role == "feature"]
    assert features == list(range(features[0], features[-1] + 1))  # together, whatever order they were met in
    assert [t.schema for t in iter_profiles(folder.path)] == [table.schema] * 2
    only = read_profiles(folder.path, ["Nuclei_Intensity_MeanIntensity_Actin"])
    assert only.num_rows == 4


def test_outlines_of_two_widths_are_widened(folder, make):
    folder.add(make("A1", 1))
    folder.add(make("A2", 4000))  # x beyond 32,767
    assert read_profiles(folder.path).schema.field("Nuclei_Outline_X").type == pa.list_(pa.int32())


def test_a_part_that_is_gone_is_named(run):
    with Manifest(run.path) as manifest:
        path = manifest.parts()[1].path
    path.unlink()
    with pytest.raises(NotFoundError, match=path.name):
        read_profiles(run.path)


def test_a_part_that_was_changed_is_damage(run):
    with Manifest(run.path) as manifest:
        first, second = manifest.parts()[:2]
    first.path.write_bytes(second.path.read_bytes())
    with pytest.raises(DamagedError, match="sha256"):
        read_profiles(run.path)


def test_a_newer_ledger_is_refused(run):
    run.meta(schema_version="2", made_by="phenostream 9.0")
    with pytest.raises(LedgerError, match=r"phenostream 9\.0"):
        read_profiles(run.path)


def test_a_damaged_ledger_is_named(tmp_path):
    (tmp_path / "ledger.db").write_bytes(b"SQLite format 3\0" + b"\xff" * 2000)
    with pytest.raises(LedgerError):
        read_profiles(tmp_path)


def test_a_ledger_cannot_lead_out_of_its_folder(run):
    run.database.execute("UPDATE parts SET path='../../secret.parquet' WHERE path=(SELECT path FROM parts LIMIT 1)")
    run.database.execute("UPDATE units SET part='../../secret.parquet' WHERE position=2")
    run.database.commit()
    with pytest.raises(HostileError, match="outside the run folder"):
        read_profiles(run.path)


def test_neither_folder_nor_file(tmp_path):
    with pytest.raises(NotFoundError, match="nothing at"):
        read_profiles(tmp_path / "no")
    with pytest.raises(NotFoundError, match="not a run folder"):
        read_profiles(tmp_path)


def test_a_run_with_nothing_done_yet(folder):
    folder.add(state="waiting")
    assert read_profiles(folder.path).num_rows == 0
    assert profiles_schema(folder.path).names == []
    assert [table.num_rows for table in iter_profiles(folder.path)] == [0]


def test_a_closed_ledger_on_read_only_media(run, monkeypatch):
    run.database.close()
    assert not (run.path / "ledger.db-wal").exists()
    run.path.chmod(0o555)
    try:
        assert read_profiles(run.path).num_rows == 8
    finally:
        run.path.chmod(0o755)


def test_a_single_file_row_group_by_row_group(tmp_path, make):
    table = make("B1", 10)
    path = tmp_path / "one.parquet"
    pq.write_table(table, path, row_group_size=4)
    assert read_profiles(path).equals(table)
    assert [piece.num_rows for piece in iter_profiles(path, view="model")] == [4, 4, 2]


def test_units_tell_how_they_ended(run):
    with Manifest(run.path) as manifest:
        units = list(manifest.units())
    assert [(unit.well, unit.state) for unit in units] == [
        ("A4", "done"), ("A6", "failed"), ("A5", "done"), ("A8", "done")
    ]  # fmt: skip
    assert units[1].reason == "damaged"
    assert units[0].rows == 3
