"""Image tables of CellProfiler, as JUMP publishes them."""

import gzip

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from phenostream import datasets
from phenostream.errors import DamagedError, HostileError, NotFoundError, RecipeError
from phenostream.formats import tiff
from phenostream.sources import LocalStore, catalogs

GALLERY = "s3://cellpainting-gallery/cpg0016-jump/source_4/images/B1/images/P7/"
NAMES = ("DNA", "ER", "RNA", "AGP", "Mito")


def row(well, site, *, url=False, plate="P7"):
    told = {"Metadata_Source": "source_4", "Metadata_Batch": "B1", "Metadata_Plate": plate, "Metadata_Well": well,
            "Metadata_Site": str(site)}  # fmt: skip
    for number, name in enumerate(NAMES, 1):
        file = f"r{well}f{site:02d}-ch{number}.tiff"
        if url:
            told[f"URL_Orig{name}"] = GALLERY + file
        else:
            told |= {f"FileName_Orig{name}": file, f"PathName_Orig{name}": "/home/ubuntu/bucket/images/P7/"}
            told |= {f"FileName_Illum{name}": f"P7_Illum{name}.npy", f"PathName_Illum{name}": "/home/ubuntu/illum/"}
    return told


def table(path, rows):
    names = list(rows[0])
    lines = [",".join(names), *(",".join(one[name] for name in names) for one in rows)]
    text = "\n".join(lines).encode()
    path.write_bytes(gzip.compress(text) if path.suffix == ".gz" else text)
    return str(path)


def find(tmp_path, **settings):
    parsed = catalogs.parse({"catalog": "load_data", "base": str(tmp_path), **settings})
    return list(catalogs.units(parsed, LocalStore(tmp_path)))


@pytest.mark.parametrize("url", [False, True])
@pytest.mark.parametrize("name", ["load_data.csv", "load_data.csv.gz"])
def test_rows_become_sites_with_all_channels(tmp_path, url, name):
    rows = [row(well, site, url=url) for well in ("B02", "A10", "A02") for site in (2, 1)]
    found = find(
        tmp_path, table=table(tmp_path / name, rows), strip=GALLERY if url else "/home/ubuntu/bucket/images/P7/"
    )
    assert [(one.id.plate, one.id.well, one.id.site) for one in found] == [
        ("P7", well, site) for well in ("A2", "A10", "B2") for site in ("1", "2")
    ]
    first = found[0]
    assert tuple(channel.name for channel in first.channels) == NAMES
    assert first.channels[0].stain == "Hoechst"
    assert [plane.key for plane in first.planes] == [f"rA02f01-ch{k}.tiff" for k in range(1, 6)]
    assert dict(first.annotation) == {"source": "source_4", "batch": "B1"}


def test_a_parquet_table_says_the_same(tmp_path):
    rows = [row("A01", 1), row("A01", 2)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "load_data.parquet")
    strip = "/home/ubuntu/bucket/images/P7"
    assert find(tmp_path, table=str(tmp_path / "load_data.parquet"), strip=strip) == find(
        tmp_path, table=table(tmp_path / "load_data.csv", rows), strip=strip
    )


def test_channels_are_chosen_by_name_and_order(tmp_path):
    path = table(tmp_path / "t.csv", [row("A01", 1)])
    (found,) = find(tmp_path, table=path, strip="/home/ubuntu/bucket/images/P7", channels=["Mito", "DNA"])
    assert [channel.name for channel in found.channels] == ["Mito", "DNA"]
    with pytest.raises(RecipeError, match="'GFP'"):
        find(tmp_path, table=path, channels=["GFP"])
    with pytest.raises(RecipeError, match="FileName_Corr"):
        find(tmp_path, table=path, prefix="Corr")


def test_a_table_below_base_and_a_screen_that_packs(tmp_path):
    rng = np.random.default_rng(0)
    for site in (1, 2):
        for number in range(1, 6):
            tiff.write(tmp_path / f"rA01f{site:02d}-ch{number}.tiff", rng.integers(0, 4000, (9, 11), np.uint16))
    table(tmp_path / "load_data.csv", [row("A01", 1), row("A01", 2), row("A01", 3)])
    screen = datasets.open_screen({"catalog": "load_data", "base": str(tmp_path), "table": "load_data.csv",
                                   "strip": "/home/ubuntu/bucket/images/P7"})  # fmt: skip
    told = datasets.pack(screen, tmp_path / "pack")
    assert (told.inputs, told.sites, [one.reason for one in told.findings]) == (3, 2, ["missing"])
    assert datasets.open_pack(tmp_path / "pack").channels == NAMES


def test_what_does_not_fit_is_named(tmp_path):
    path = table(tmp_path / "t.csv", [row("A01", 1), row("A01", 1)])
    with pytest.raises(RecipeError, match="does not lie below"):
        find(tmp_path, table=path)
    with pytest.raises(RecipeError, match="twice"):
        find(tmp_path, table=path, strip="/home/ubuntu/bucket/images/P7")
    with pytest.raises(NotFoundError):
        find(tmp_path, table=str(tmp_path / "none.csv"))
    (tmp_path / "bad.csv.gz").write_bytes(b"\x1f\x8bno")
    with pytest.raises(DamagedError):
        find(tmp_path, table=str(tmp_path / "bad.csv.gz"))
    evil = row("A01", 1) | {"FileName_OrigDNA": "../../etc/passwd.png"}
    with pytest.raises(HostileError):
        find(tmp_path, table=table(tmp_path / "e.csv", [evil]), strip="/home/ubuntu/bucket/images/P7")


def test_a_row_without_a_file_lacks_the_channel(tmp_path):
    path = table(tmp_path / "t.csv", [row("A01", 1) | {"FileName_OrigER": ""}])
    (found,) = find(tmp_path, table=path, strip="/home/ubuntu/bucket/images/P7")
    assert [channel.name for channel in found.channels] == ["DNA", "RNA", "AGP", "Mito"]


def test_it_is_closed_where_its_table_is_local(tmp_path):
    path = table(tmp_path / "t.csv", [row("A01", 1)])
    assert catalogs.closed(catalogs.parse({"catalog": "load_data", "base": str(tmp_path), "table": path}))
    assert not catalogs.closed(catalogs.parse({"catalog": "load_data", "base": str(tmp_path), "table": "inside.csv"}))
