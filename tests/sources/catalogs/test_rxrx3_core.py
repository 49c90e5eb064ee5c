"""RxRx3-core: images in the rows of Parquet files, made here from what its card says."""

import json

import imagecodecs
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from phenostream import datasets
from phenostream.cli.app import app
from phenostream.errors import DamagedError, NotFoundError, RecipeError
from phenostream.sources import LocalStore, catalogs
from phenostream.sources.catalogs import rxrx3_core

WELLS = (
    "well_id,experiment_name,plate,address,gene,treatment,SMILES,concentration,perturbation_type,cell_type\n"
    "gene-001_3_AF07,gene-001,3,AF07,MTOR,MTOR_guide_1,,,CRISPR,HUVEC\n"
    "gene-001_3_AF08,gene-001,3,AF08,MTOR,MTOR_guide_2,,,CRISPR,HUVEC\n"
)


def image(seed, shape=(20, 24)):
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def encoded(pixels):
    return imagecodecs.jpeg2k_encode(pixels, reversible=True, level=0)


def write(path, rows, *, struct=False, size=3):
    values = [{"bytes": data, "path": None} if struct else data for _, data in rows]
    pq.write_table(pa.table({"__key__": [key for key, _ in rows], "jp2": values}), path, row_group_size=size)


def rows_of(well, base, experiment="gene-001/Plate3"):
    return [(f"{experiment}/{well}_s1_{channel}", encoded(image(base + channel))) for channel in range(1, 7)]


@pytest.fixture(params=[False, True])
def folder(request, tmp_path):
    """Two files; the channels of one site lie in both."""
    rows = [*rows_of("A02", 0), *rows_of("AF07", 10)]
    (tmp_path / "data").mkdir()
    for number, part in enumerate((rows[:8], rows[8:])):
        write(tmp_path / "data" / f"train-{number:05d}-of-00002.parquet", part, struct=request.param)
    (tmp_path / "wells.csv").write_text(WELLS)
    return tmp_path


def source(folder, **more):
    return {"catalog": "rxrx3_core", "base": str(folder / "data"), "metadata": str(folder / "wells.csv"), **more}


def survey(folder, **more):
    return rxrx3_core.survey(catalogs.parse(source(folder, **more)), LocalStore(folder / "data"))


def test_sites_are_put_together_from_their_rows(folder):
    screen = datasets.open_screen(source(folder))
    assert [(one.id.plate, one.id.well) for one in screen.fields] == [("gene-001_3", "A2"), ("gene-001_3", "AF7")]
    for at, one in enumerate(screen.fields):
        assert [channel.name for channel in one.channels] == ["DNA", "ER", "Actin", "RNA", "Mito", "Golgi"]
        assert np.array_equal(one.read(), np.stack([image(10 * at + channel) for channel in range(1, 7)]))
    assert screen.fields[1].annotation["gene"] == "MTOR"
    assert ([one.well for one in screen.absent], screen.unannotated) == (["AF8"], 1)
    some = datasets.open_screen(source(folder, channels={"5": "Mito", "1": "DNA"}))
    assert np.array_equal(some.fields[0].read(), np.stack([image(5), image(1)]))
    assert len(some.left_out) == 8


def test_a_recipe_names_it_and_the_command_packs_it(folder):
    recipe = folder / "core.yaml"
    recipe.write_text(json.dumps({"source": source(folder)}))
    told = CliRunner().invoke(app, ["pack", str(recipe), "--audit", "--json"])
    assert (told.exit_code, json.loads(told.stdout)["reasons"]) == (3, {"missing": 1})
    told = CliRunner().invoke(app, ["pack", str(recipe), "--out", str(folder / "pack"), "--json"])
    assert json.loads(told.stdout)["sites"] == 2
    pack = datasets.open_pack(folder / "pack")
    for k, row in enumerate(pack.table.to_pylist()):
        base = {"A2": 0, "AF7": 10}[row["well"]]
        assert np.array_equal(pack[k], np.stack([image(base + channel) for channel in range(1, 7)]))


def test_rows_that_come_again_and_keys_of_another_kind_are_told(folder):
    again = [*rows_of("A02", 100), *rows_of("AF07", 200)[1:2]]
    write(folder / "data" / "train-00002.parquet", [*again, ("README", b"x"), ("gene-001/Plate3/A02_s1", b"y")])
    (folder / "data" / "notes.txt").write_text("x")
    screen = datasets.open_screen(source(folder, files=[]))
    assert screen.unmatched == (
        "notes.txt", "train-00002.parquet/jp2/2/1 (README)", "train-00002.parquet/jp2/2/2 (gene-001/Plate3/A02_s1)",
    )  # fmt: skip
    assert [(one.id.well, len(one.files)) for one in screen.duplicates] == [("A2", 6), ("AF7", 1)]
    told = datasets.audit(screen)
    assert (told.inputs, told.sound, told.reasons) == (5, 2, {"duplicate": 2, "missing": 1})
    packed = datasets.pack(screen, folder / "pack")
    assert (packed.inputs, packed.sites) == (5, 2)
    pack = datasets.open_pack(folder / "pack")
    first = pack.table["well"].to_pylist().index("A2")
    assert np.array_equal(pack[first], np.stack([image(channel) for channel in range(1, 7)]))
    with pytest.raises(RecipeError, match=r"train-00000-of-00002.parquet/jp2/0/0 and train-00002.parquet/jp2/0/0"):
        catalogs.units(catalogs.parse(source(folder)), LocalStore(folder / "data"))
    names = ["train-00000-of-00002.parquet", "train-00001-of-00002.parquet"]
    assert survey(folder, files=names).duplicates == ()


def test_packing_reads_each_row_group_once(tmp_path, groups_read):
    """A plate of many row groups is packed in the order of a hash; a group is opened once, not once an image."""
    (tmp_path / "data").mkdir()
    rows = [row for column in range(1, 25) for row in rows_of(f"B{column:02d}", 10 * column)]
    write(tmp_path / "data" / "a.parquet", rows, size=12)
    screen = datasets.open_screen({"catalog": "rxrx3_core", "base": str(tmp_path / "data")})
    alone = {one.id.well: one.read() for one in screen.fields}
    groups_read.clear()
    told = datasets.pack(screen, tmp_path / "pack")
    sampled = 5  # sites that are read beforehand, to see of which kind most are
    assert told.sites == 24
    assert len(groups_read) <= 12 + sampled
    pack = datasets.open_pack(tmp_path / "pack")
    assert all(np.array_equal(pack[k], alone[well]) for k, well in enumerate(pack.table["well"].to_pylist()))
    groups_read.clear()
    datasets.audit(screen)
    assert len(groups_read) <= 12 + sampled + 2, "an audit reads in batches, two of which may share a group"


def test_what_is_no_such_file_is_named(tmp_path):
    def found(*files):
        settings = {"catalog": "rxrx3_core", "base": str(tmp_path), "files": list(files)}
        return rxrx3_core.survey(catalogs.parse(settings), LocalStore(tmp_path))

    with pytest.raises(NotFoundError):
        found("none.parquet")
    (tmp_path / "x.parquet").write_bytes(b"nothing")
    with pytest.raises(DamagedError):
        found("x.parquet")
    pq.write_table(pa.table({"a": [1]}), tmp_path / "y.parquet")
    with pytest.raises(DamagedError, match="keys"):
        found("y.parquet")
    write(tmp_path / "z.parquet", [("one", b"x"), ("two", b"y")])
    with pytest.raises(NotFoundError, match="gene-001"):
        found("z.parquet")


def test_a_damaged_image_is_a_finding(folder):
    write(folder / "data" / "train-00002.parquet", [(f"gene-001/Plate3/B05_s1_{k}", b"no image") for k in range(1, 7)])
    told = datasets.audit(datasets.open_screen(source(folder)))
    assert [(one.id.well, one.reason) for one in told.findings] == [("B5", "damaged"), ("AF8", "missing")]
