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


PEAK = """
import sys
import pyarrow as pa
from phenostream.profiles import parts
from phenostream.profiles.tables import open_table

parts.PIECE_BYTES = 16 << 20
rows = sum(table.num_rows for table in open_table(sys.argv[1]).tables())
print(rows, pa.default_memory_pool().max_memory() >> 20)
"""


def test_a_row_group_larger_than_memory_is_read_in_pieces(tmp_path):
    """96 MB of another program's floats in one row group: memory holds a piece, and a page of each column."""
    values = np.random.default_rng(0).normal(size=600_000)
    table = pa.table({f"Cells_Texture_F{place}_DNA": values for place in range(20)})
    pq.write_table(table, tmp_path / "one.parquet", row_group_size=len(values), use_dictionary=False)
    assert pq.read_metadata(tmp_path / "one.parquet").num_row_groups == 1
    command = [sys.executable, "-c", PEAK, str(tmp_path / "one.parquet")]
    told = subprocess.run(command, check=True, capture_output=True, text=True, timeout=280)
    rows, peak = map(int, told.stdout.split())
    assert rows == 600_000
    assert peak < 48


def test_rows_are_counted_where_a_file_has_none_of_the_columns(tmp_path):
    """A large file without the column asked for is null there, piece by piece."""
    pq.write_table(pa.table({"a": np.zeros(150_000)}), tmp_path / "0.parquet")
    pq.write_table(pa.table({"b": ["x"]}), tmp_path / "1.parquet")
    pieces = list(open_table(tmp_path).tables(["b"]))
    assert [piece.num_rows for piece in pieces] == [65_536, 65_536, 18_928, 1]
    assert pa.concat_tables(pieces)["b"].null_count == 150_000


GROWTH = """
import resource, sys
from phenostream.profiles.operating import operate

def peak(source):
    memory, out = 6 << 20, sys.argv[-1]
    operate(source, "normalise", method="mad", by=["Metadata_Plate"], memory=memory).write(out)
    operate(source, "select", rules=["missing", "variance", "frequency", "correlation"], memory=memory).write(out)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10

# The first imports and compiles.
print(*map(peak, sys.argv[1:-1]))
"""


@pytest.mark.slow
def test_memory_does_not_grow_with_the_table(tmp_path):
    """Of 38,400,000 bytes more, the whole process holds less than a third at its peak: it keeps few bytes a row."""
    rng = np.random.default_rng(0)
    names = [f"Nuclei_Texture_F{place}_DNA" for place in range(16)]
    from phenostream.values import Column, with_columns

    columns = {"Metadata_Plate": ["P0"] * 20_000} | {name: rng.normal(size=20_000) for name in names}
    piece = with_columns(pa.table(columns), [Column(name) for name in names])
    sizes = {"first": 1, "small": 5, "large": 20}
    for name, pieces in sizes.items():
        with pq.ParquetWriter(tmp_path / f"{name}.parquet", piece.schema) as writer:
            for place in range(pieces):
                writer.write_table(piece.set_column(0, piece.schema.field(0), pa.array([f"P{place // 4}"] * 20_000)))
    paths = [str(tmp_path / f"{name}.parquet") for name in (*sizes, "out")]
    command = [sys.executable, "-c", GROWTH, *paths]
    told = subprocess.run(command, check=True, capture_output=True, text=True, timeout=280)
    _, small, large = map(int, told.stdout.split())
    assert large - small < 12_800_000
    assert pq.read_metadata(tmp_path / "out.parquet").num_rows == 400_000
