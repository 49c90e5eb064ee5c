"""Parts: equal bytes, nothing read unverified, nothing absurd allocated."""

from __future__ import annotations

import hashlib
import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from phenostream.errors import DamagedError, HostileError, LedgerError, NotFoundError, TooLargeError
from phenostream.profiles import iter_profiles, part_bytes, part_metadata, part_schema, parts, read_part
from phenostream.values import columns_of

PNG = b"\x89PNG\r\n\x1a\n\xff\x00"


@pytest.fixture
def part(tmp_path, make):
    """A part on disk and its table."""
    table = make(count=200)
    path = tmp_path / "part.parquet"
    path.write_bytes(part_bytes(table, metadata={"phenostream.thumbnail": PNG, "phenostream.field": b"{}"}))
    return path, table


def test_what_was_written_is_read(part):
    path, table = part
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert read_part(path, sha256=digest).equals(table)
    assert read_part(path).schema.equals(table.schema, check_metadata=True)
    assert part_schema(path).equals(table.schema, check_metadata=True)
    assert columns_of(read_part(path).schema) == columns_of(table.schema)


def test_equal_tables_give_equal_bytes(make):
    table = make(count=50)
    chunked = pa.concat_tables([table.slice(0, 20), table.slice(20)])
    first = part_bytes(table, metadata={"a": b"1", "b": b"2"})
    assert first == part_bytes(table, metadata={"b": b"2", "a": b"1"})
    assert first == part_bytes(chunked, metadata={"a": b"1", "b": b"2"})


def test_one_row_group_page_checksums_no_statistics_of_features(part):
    file = pq.ParquetFile(part[0])
    assert file.num_row_groups == 1
    group = file.metadata.row_group(0)
    by_name = {group.column(place).path_in_schema: group.column(place) for place in range(group.num_columns)}
    area = by_name["Nuclei_AreaShape_Area"]
    assert (area.compression, area.physical_type, area.is_stats_set) == ("ZSTD", "FLOAT", False)
    assert by_name["Metadata_Plate"].is_stats_set


def test_metadata_returns_as_given_and_is_stored_as_text(part):
    found = part_metadata(part[0])
    assert found["phenostream.thumbnail"] == PNG
    assert found["phenostream.field"] == b"{}"
    for value in pq.ParquetFile(part[0]).metadata.metadata.values():
        value.decode("utf-8")


def test_metadata_that_looks_like_base64_is_not_mistaken(tmp_path, make):
    path = tmp_path / "p.parquet"
    value = b"data:application/octet-stream;base64,AAAA"
    path.write_bytes(part_bytes(make(), metadata={"k": value}))
    assert part_metadata(path)["k"] == value


def test_a_part_without_rows_keeps_its_columns(tmp_path, make):
    table = make(count=0)
    path = tmp_path / "empty.parquet"
    path.write_bytes(part_bytes(table))
    assert read_part(path).schema.equals(table.schema, check_metadata=True)
    assert read_part(path).num_rows == 0


def test_columns_are_read_in_the_order_asked_for(part):
    path, table = part
    names = ["Nuclei_AreaShape_Area", "CellId"]
    assert read_part(path, names).equals(table.select(names))
    with pytest.raises(NotFoundError, match="no column 'nope'"):
        read_part(path, ["nope"])


def test_a_missing_part_says_so(tmp_path):
    with pytest.raises(NotFoundError, match=r"gone\.parquet"):
        read_part(tmp_path / "gone.parquet")


def test_a_wrong_hash_is_damage(part):
    with pytest.raises(DamagedError, match="sha256"):
        read_part(part[0], sha256="0" * 64)


@pytest.mark.parametrize("seed", range(4))
def test_no_damage_passes_as_data(part, tmp_path, seed):
    """Bits flipped, 4 KiB zeroed, ends cut: raised, or the rows are exact (an unused byte was hit)."""
    path, table = part
    whole = path.read_bytes()
    rng = np.random.default_rng(seed)
    for kind in ("bit", "zero", "cut", "header") * 12:
        data = bytearray(whole)
        place = int(rng.integers(len(data)))
        if kind == "bit":
            data[place] ^= 1 << int(rng.integers(8))
        elif kind == "zero":
            data[place : place + 4096] = bytes(len(data[place : place + 4096]))
        elif kind == "header":
            data[int(rng.integers(512))] = int(rng.integers(256))
        damaged = tmp_path / "damaged.parquet"
        damaged.write_bytes(data[:place] if kind == "cut" else data)
        with pytest.raises(DamagedError):
            read_part(damaged, sha256=hashlib.sha256(whole).hexdigest()) if bytes(
                data
            ) != whole or kind == "cut" else _raise()
        _exact_or_named(damaged, table)


def _raise():
    raise DamagedError("the damage changed nothing")


def _exact_or_named(damaged, table):
    """Without a known hash, page checksums guard the pages; the footer may only lose descriptions."""
    try:
        found = read_part(damaged)
    except (DamagedError, TooLargeError, LedgerError):
        return
    for name in set(found.column_names) & set(table.column_names):
        assert found.column(name).cast(table.column(name).type).equals(table.column(name)), name


def test_a_newer_part_is_refused(tmp_path, make):
    path = tmp_path / "p.parquet"
    path.write_bytes(
        part_bytes(make()).replace(b"phenostream.part_version\x18\x011", b"phenostream.part_version\x18\x012")
    )
    with pytest.raises(LedgerError, match="version 2"):
        read_part(path)


def test_a_dictionary_bomb_is_refused_small(tmp_path):
    """Four million rows of one value of a kilobyte: 4 GB out of half a megabyte."""
    indices = pa.array(np.zeros(4_000_000, np.int32))
    bomb = pa.table({"s": pa.DictionaryArray.from_arrays(indices, pa.array(["x" * 1024]))})
    path = tmp_path / "bomb.parquet"
    pq.write_table(bomb, path, row_group_size=1 << 24, compression="zstd")
    assert path.stat().st_size < 1_000_000
    before = pa.total_allocated_bytes()
    with pytest.raises(HostileError, match="repeats"):
        read_part(path)
    assert pa.total_allocated_bytes() - before < 64 << 20


def test_a_list_bomb_is_refused(tmp_path):
    inside = pa.DictionaryArray.from_arrays(pa.array(np.zeros(500_000, np.int32)), pa.array(["x" * 100_000]))
    path = tmp_path / "bomb.parquet"
    pq.write_table(pa.table({"l": pa.ListArray.from_arrays([0, 500_000], inside)}), path)
    with pytest.raises(TooLargeError):
        read_part(path)


def test_too_many_rows_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(parts, "MAX_ROWS", 10)
    path = tmp_path / "p.parquet"
    pq.write_table(pa.table({"a": range(11)}), path)
    with pytest.raises(TooLargeError, match="11 rows"):
        read_part(path)


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """2.1 GiB of decoded float64 in one row group of the size that pyarrow writes by default, nearly all null."""
    path = tmp_path_factory.mktemp("large") / "large.parquet"
    empty = pa.nulls(1 << 20, pa.float64())
    numbers = pa.array(np.arange(1 << 20, dtype=np.float32))
    table = pa.table({"Cells_AreaShape_Area": numbers} | {f"Cells_AreaShape_F{place}": empty for place in range(264)})
    pq.write_table(table, path)
    assert pq.read_metadata(path).num_row_groups == 1
    return path


def test_a_large_row_group_gives_its_schema_and_some_columns(large):
    assert len(part_schema(large)) == 265
    assert read_part(large, ["Cells_AreaShape_Area"])["Cells_AreaShape_Area"].to_numpy()[-1] == (1 << 20) - 1
    with pytest.raises(TooLargeError, match=r"columns asked for \(ask for fewer columns, or .* profiles.iter_profiles"):
        read_part(large)


@pytest.mark.slow
def test_a_large_row_group_comes_whole_in_pieces(large):
    """What the remedy says: each piece within its bytes, nothing held beside it."""
    before, start = pa.total_allocated_bytes(), 0
    for piece in iter_profiles(large):
        assert piece.nbytes <= parts.PIECE_BYTES
        assert pa.total_allocated_bytes() - before < 3 * parts.PIECE_BYTES
        assert piece["Cells_AreaShape_Area"][0].as_py() == start
        start += piece.num_rows
    assert start == 1 << 20


def mixed(rows=5000):
    """Every kind of column that such tables hold."""
    rng = np.random.default_rng(0)
    lengths = rng.integers(0, 9, rows)
    ends = np.concatenate([[0], np.cumsum(lengths)])
    return pa.table({
        "well": pa.array([None if place % 7 == 0 else f"A{place % 5}" for place in range(rows)]),
        "name": [f"cell {place}" for place in range(rows)],
        "a.b": rng.normal(size=rows),
        "number": pa.array(range(rows), pa.int64(), mask=np.arange(rows) % 3 == 0),
        "good": np.arange(rows) % 2 == 0,
        "when": pa.array(np.arange(rows), pa.timestamp("us")),
        "outline": pa.ListArray.from_arrays(ends, pa.array(rng.integers(0, 99, ends[-1]), pa.int16())),
    })  # fmt: skip


@pytest.mark.parametrize("names", [None, ["outline", "well"], ["a.b"]])
def test_pieces_are_the_same_rows(tmp_path, monkeypatch, names):
    monkeypatch.setattr(parts, "PIECE_BYTES", 1 << 12)
    monkeypatch.setattr(parts, "_held", lambda _: 0)
    table = mixed()
    pq.write_table(table, tmp_path / "p.parquet", row_group_size=2000, data_page_size=1 << 10)
    names = names or table.column_names
    with pa.OSFile(str(tmp_path / "p.parquet")) as source, parts.opened(source, "p") as file:
        groups = [file.group(place, names) for place in range(file.groups)]
        pieces = [piece for place in range(file.groups) for piece in file.pieces(place, names, rows=300)]
    assert pa.concat_tables(groups).equals(table.select(names))
    assert pa.concat_tables(pieces).equals(table.select(names))
    assert max(piece.num_rows for piece in pieces) <= 300
    assert len(pieces) > len(groups)


@pytest.mark.parametrize("columns", [16, 17, 40])
def test_many_columns_are_read_some_at_a_time_and_stay_in_order(tmp_path, columns):
    table = pa.table({f"c{place}": np.arange(3) * place for place in range(columns)})
    pq.write_table(table, tmp_path / "p.parquet")
    names = table.column_names[::-1]
    assert read_part(tmp_path / "p.parquet", names).equals(table.select(names))
    (piece,) = pieces_of(tmp_path / "p.parquet", names)
    assert piece.equals(table.select(names))


def test_columns_that_are_no_larger_than_their_pages_come_whole(tmp_path, monkeypatch):
    monkeypatch.setattr(parts, "PIECE_BYTES", 1 << 10)
    values = np.random.default_rng(0).normal(size=20_000)
    pq.write_table(pa.table({"s": values, "t": values}), tmp_path / "p.parquet", use_dictionary=["s"])
    assert [len(pieces_of(tmp_path / "p.parquet", [name])) for name in "st"] == [1, 1]
    pq.write_table(pa.table({"s": np.tile(values, 20)}), tmp_path / "p.parquet")
    assert len(pieces_of(tmp_path / "p.parquet", ["s"])) > 1


def pieces_of(path, names=("s",)):
    """The pieces of the first row group."""
    with pa.OSFile(str(path)) as source, parts.opened(source, path) as file:
        return list(file.pieces(0, names))


def test_pages_that_unfold_without_end_are_refused(tmp_path, monkeypatch):
    """One page of zeros a column, a thousand times larger than stored: read row by row it would be in memory whole."""
    monkeypatch.setattr(parts, "PIECE_BYTES", 1 << 20)
    monkeypatch.setattr(parts, "MAX_DECODED_BYTES", 8 << 20)
    path = tmp_path / "bomb.parquet"
    options = {"use_dictionary": False, "compression": "zstd", "row_group_size": 1 << 24}
    options |= {"data_page_size": 1 << 30, "max_rows_per_page": 1 << 30}
    pq.write_table(pa.table({"s": np.zeros(2_000_000)}), path, **options)
    assert path.stat().st_size < 20_000
    before = pa.total_allocated_bytes()
    with pytest.raises(HostileError, match="unfold"):
        pieces_of(path)
    assert pa.total_allocated_bytes() - before < 1 << 20
    rng = np.random.default_rng(0)
    pq.write_table(pa.table({"s": rng.normal(size=2_000_000)}), path, **options)
    assert sum(piece.num_rows for piece in pieces_of(path)) == 2_000_000


def test_a_dictionary_that_unfolds_in_one_piece_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(parts, "PIECE_BYTES", 1 << 20)
    indices = pa.array(np.zeros(1_000_000, np.int32))
    bomb = pa.table({"s": pa.DictionaryArray.from_arrays(indices, pa.array(["x" * 50_000]))})
    pq.write_table(bomb, tmp_path / "bomb.parquet")
    with pytest.raises(HostileError, match="repeats"):
        pieces_of(tmp_path / "bomb.parquet")


def test_lists_of_unknown_length_are_refused_where_they_may_be_long(tmp_path, monkeypatch):
    monkeypatch.setattr(parts, "PIECE_BYTES", 1 << 10)
    monkeypatch.setattr(parts, "MAX_DECODED_BYTES", 1 << 20)
    long = pa.ListArray.from_arrays([0, 300_000], pa.array(np.zeros(300_000, np.int32)))
    pq.write_table(pa.table({"s": long, "t": [1]}), tmp_path / "p.parquet")
    with pytest.raises(TooLargeError, match="bytes of lists"):
        pieces_of(tmp_path / "p.parquet")
    assert pieces_of(tmp_path / "p.parquet", ["t"])[0]["t"].to_pylist() == [1]


def test_claims_of_more_pages_than_there_are_bytes(tmp_path, monkeypatch):
    monkeypatch.setattr(parts, "PIECE_BYTES", 1 << 10)
    path = tmp_path / "p.parquet"
    pq.write_table(pa.table({"s": np.random.default_rng(0).normal(size=100_000)}), path, use_dictionary=False)
    whole = path.read_bytes()
    path.write_bytes(whole[:4] + whole[500_000:])
    with pytest.raises(DamagedError, match="bytes of pages"):
        pieces_of(path)


def test_no_damaged_piece_passes_as_data(tmp_path, monkeypatch):
    monkeypatch.setattr(parts, "PIECE_BYTES", 1 << 10)
    path = tmp_path / "p.parquet"
    table = pa.table({"s": np.random.default_rng(0).normal(size=100_000)})
    pq.write_table(table, path, use_dictionary=False, write_page_checksum=True)
    whole = bytearray(path.read_bytes())
    whole[400_000] ^= 4
    path.write_bytes(whole)
    with pytest.raises(DamagedError, match="damaged"):
        pieces_of(path)


def test_honest_dictionaries_come_back_as_text(tmp_path):
    table = pa.table({"w": ["A1", None, "A2"] * 1000})
    path = tmp_path / "p.parquet"
    pq.write_table(table, path)
    assert read_part(path).equals(table)


def test_another_reader_agrees(part):
    """The stock Arrow reader, without this package: same rows, and the roles are in its schema."""
    path, table = part
    assert pq.read_table(io.BytesIO(path.read_bytes())).equals(table)
    assert columns_of(pq.read_schema(path))[0].role == "metadata"
