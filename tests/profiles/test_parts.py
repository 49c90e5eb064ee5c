"""Parts: equal bytes, nothing read unverified, nothing absurd allocated."""

from __future__ import annotations

import hashlib
import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from phenostream.errors import DamagedError, HostileError, LedgerError, NotFoundError, TooLargeError
from phenostream.profiles import part_bytes, part_metadata, part_schema, parts, read_part
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
