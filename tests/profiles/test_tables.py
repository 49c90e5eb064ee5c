"""One contract for rows wherever they lie; memory that does not grow with them."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from phenostream.errors import DamagedError, DiskFullError, NotFoundError
from phenostream.profiles.operating import operate
from phenostream.profiles.tables import Held, Source, open_table, whole, write_table
from phenostream.values import columns_of


@pytest.fixture
def run(folder, make):
    """A run folder of three parts."""
    for place, well in enumerate(("A4", "A5", "A6")):
        folder.add(make(well, place + 2, outlines=False), well=well, position=place)
    return folder


def test_the_same_rows_from_a_run_a_file_a_folder_and_memory(run, tmp_path):
    table = whole(open_table(run.path))
    write_table(open_table(run.path), tmp_path / "one.parquet")
    (tmp_path / "many").mkdir()
    for place in range(3):
        write_table(Held(table.slice(3 * place, 3)), tmp_path / "many" / f"{place}.parquet")
    for source in map(open_table, (table, run.path, tmp_path / "one.parquet", str(tmp_path / "many"))):
        assert isinstance(source, Source)
        assert source.count() == 9
        assert whole(source).equals(table)
        assert columns_of(source.schema()) == columns_of(table.schema)
        names = ["Nuclei_AreaShape_Area", "CellId"]
        assert pa.concat_tables(source.tables(names)).equals(table.select(names))
        found = operate(source, "aggregate", by=["Metadata_Well"]).table()
        assert found["Metadata_Object_Count"].to_pylist() == [2, 3, 4]


def test_files_that_differ_are_joined_by_name(tmp_path, make):
    table = make("A4", 4, outlines=False)
    write_table(Held(table), tmp_path / "0.parquet")
    write_table(Held(table.drop_columns(["Nuclei_AreaShape_Area", "CellId"])), tmp_path / "1.parquet")
    source = open_table(tmp_path)
    assert whole(source)["Nuclei_AreaShape_Area"].null_count == 4
    assert pa.concat_tables(source.tables(["CellId"]))["CellId"].null_count == 4


def test_a_table_without_rows(tmp_path, make):
    write_table(Held(make("A4", 4, outlines=False).slice(0, 0)), tmp_path / "0.parquet")
    source = open_table(tmp_path / "0.parquet")
    assert source.count() == 0
    assert [table.num_rows for table in source.tables()] == [0]


def test_places_without_a_table(tmp_path):
    with pytest.raises(NotFoundError, match="no table at"):
        open_table(tmp_path)
    with pytest.raises(NotFoundError, match="no table at"):
        open_table(tmp_path / "x.parquet")
    (tmp_path / "x.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(DamagedError, match="damaged"):
        open_table(tmp_path / "x.parquet")


def test_a_file_is_written_whole_or_not_at_all(tmp_path, make):
    class Breaks(Held):
        def tables(self, names=None):
            yield self.table
            raise DiskFullError("no room")

    write_table(Held(make("A4", 4, outlines=False)), tmp_path / "x.parquet")
    before = (tmp_path / "x.parquet").read_bytes()
    with pytest.raises(DiskFullError):
        write_table(Breaks(make("A5", 4, outlines=False)), tmp_path / "x.parquet", rows=1)
    assert (tmp_path / "x.parquet").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["x.parquet"]


GROWTH = """
import resource, sys
from phenostream.profiles.operating import operate

def both(source):
    memory = 16 << 20
    operate(source, "normalise", method="mad", by=["Metadata_Plate"], memory=memory).write(sys.argv[3])
    operate(source, "select", rules=["missing", "correlation"], memory=memory).write(sys.argv[3])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024

before = both(sys.argv[2])  # imports and compiles
print(both(sys.argv[1]) - before)
"""


@pytest.mark.slow
def test_memory_stays_under_its_cap(tmp_path):
    """A table of 307 MB through two operations: beside 16 MiB for medians, memory holds a few pieces."""
    rng = np.random.default_rng(0)
    names = [f"Nuclei_Texture_F{place}_DNA" for place in range(40)]
    from phenostream.values import Column, with_columns

    def piece(rows, plate):
        columns = {"Metadata_Plate": [plate] * rows} | {name: rng.normal(size=rows) for name in names}
        return with_columns(pa.table(columns), [Column(name) for name in names])

    first = piece(40_000, "P0")
    with pq.ParquetWriter(tmp_path / "large.parquet", first.schema) as writer:
        for place in range(24):
            writer.write_table(piece(40_000, f"P{place // 4}"))
    write_table(Held(first.slice(0, 1000)), tmp_path / "small.parquet")
    command = [sys.executable, "-c", GROWTH, *(str(tmp_path / f"{name}.parquet") for name in ("large", "small", "out"))]
    told = subprocess.run(command, check=True, capture_output=True, text=True, timeout=280)
    assert int(told.stdout) < 200
    assert pq.read_metadata(tmp_path / "out.parquet").num_rows == 960_000
