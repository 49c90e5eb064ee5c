"""Packing: every input accounted for, and no stop that loses anything."""

import os
import random
import signal
import subprocess
import sys
import time
import zipfile
from dataclasses import replace
from functools import partial

import numpy as np
import pyarrow.parquet as pq
import pytest
import tifffile
import zarr

from phenostream import datasets
from phenostream.datasets import PackSettings
from phenostream.errors import (
    BrokenTransferError,
    BusyError,
    ChannelMissingError,
    EmptyError,
    LedgerError,
    RecipeError,
    StepError,
    WrongDtypeError,
)
from phenostream.stream import Processes
from phenostream.synthetic.screen import ScreenDesign, fields, write_screen
from phenostream.values import Channel, Field, FieldId


def image(seed=0, shape=(2, 12, 14), dtype="uint8"):
    return np.random.default_rng(seed).poisson(30, shape).astype(dtype)


def plate(name="P1", wells=4, **how):
    return [Field.of(image(k, **how), ("DNA", "ER"), id=FieldId(plate=name, well=f"A{k + 1}")) for k in range(wells)]


def broken(error, well="A9"):
    def pixels():
        raise error

    return Field(FieldId(plate="P1", well=well), (Channel("DNA"), Channel("ER")), pixels=pixels)


def tree(folder):
    """Content of every file of a pack, save the lock."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "lock"
    }


def test_the_same_sites_give_the_same_bytes_in_any_order_and_on_any_workers(tmp_path, sites, packed):
    shuffled = list(sites)
    random.Random(1).shuffle(shuffled)
    datasets.pack(shuffled, tmp_path / "threads", workers=3)
    assert tree(tmp_path / "threads") == tree(packed)


def test_processes_of_the_stream_compute_it_too(tmp_path, sites, packed):
    workers = Processes(2)
    try:
        datasets.pack(sites, tmp_path / "pack", executor=workers)
    finally:
        workers.close()
    assert tree(tmp_path / "pack") == tree(packed)


def test_a_cluster_computes_it_too(tmp_path, sites, packed):
    distributed = pytest.importorskip("distributed")
    with (
        distributed.LocalCluster(n_workers=1, threads_per_worker=2, processes=False, dashboard_address=None) as cluster,
        distributed.Client(cluster) as client,
    ):
        datasets.pack(sites, tmp_path / "pack", executor=client.get_executor())
    assert tree(tmp_path / "pack") == tree(packed)


def test_a_second_run_writes_nothing_and_changes_nothing(tmp_path):
    datasets.pack(plate(), tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.parquet")} | {
        path: path.stat().st_mtime_ns for path in tmp_path.rglob("0")
    }
    told = datasets.pack(plate(), tmp_path)
    assert told.shards_written == 0
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_more_plates_leave_the_old_ones_as_they_are(tmp_path):
    datasets.pack(plate("P1"), tmp_path)
    old = tree(tmp_path / "images" / "P1")
    told = datasets.pack([*plate("P1"), *plate("P2")], tmp_path)
    assert (told.shards, told.shards_written, told.sites) == (2, 1, 8)
    assert tree(tmp_path / "images" / "P1") == old
    assert len(datasets.open_pack(tmp_path)) == 8


def test_more_sites_of_a_plate_write_that_plate_anew(tmp_path):
    datasets.pack([*plate("P1", 3), *plate("P2", 3)], tmp_path)
    told = datasets.pack([*plate("P1", 5), *plate("P2", 3)], tmp_path)
    assert (told.shards_written, told.sites) == (1, 8)
    assert datasets.verify_pack(tmp_path).faults == ()


def test_a_subset_is_laid_out_as_in_the_whole(tmp_path, sites, packed):
    """The default order knows nothing of the other plates."""
    some = [field for field in sites if field.annotation["experiment"] != "RPE-01"]
    datasets.pack(some, tmp_path)
    whole, part = tree(packed / "images"), tree(tmp_path / "images")
    assert part
    assert all(whole[name] == content for name, content in part.items())


def test_sites_that_leave_keep_the_order_of_the_others(tmp_path):
    wells = plate(wells=12)
    datasets.pack(wells, tmp_path / "all")
    datasets.pack(wells[::2], tmp_path / "half")
    every = datasets.open_pack(tmp_path / "all").table["well"].to_pylist()
    half = datasets.open_pack(tmp_path / "half").table["well"].to_pylist()
    assert [well for well in every if well in half] == half
    assert every != sorted(every), "shuffled"


def test_shards_are_cut_at_the_size_asked_for(tmp_path):
    noise = [
        Field.of(np.random.default_rng(k).integers(0, 255, (2, 512, 512), np.uint8), ("DNA", "ER"),
                 id=FieldId(plate="P", well=f"A{k + 1}"))
        for k in range(16)
    ]  # fmt: skip
    told = datasets.pack(noise, tmp_path, settings=PackSettings(shard_mb=1))
    assert told.shards == 3
    pack = datasets.open_pack(tmp_path)
    truth = {field.id.well: field.read() for field in noise}
    assert all(np.array_equal(pack[k], truth[row["well"]]) for k, row in enumerate(pack.table.to_pylist()))


def test_any_grouping(tmp_path, sites):
    settings = PackSettings(by=("cell_type", "well_type"))
    datasets.pack(sites, tmp_path, settings=settings)
    rows = datasets.open_pack(tmp_path).table.to_pylist()
    groups = {(row["array"], row["cell_type"], row["well_type"]) for row in rows}
    assert len({array for array, *_ in groups}) == len(groups) == 9
    with pytest.raises(RecipeError, match="'dose'"):
        datasets.pack(sites, tmp_path / "other", settings=PackSettings(by=("dose",)))
    datasets.pack(sites, tmp_path / "one", settings=PackSettings(by=()))
    assert set(datasets.open_pack(tmp_path / "one").table["array"].to_pylist()) == {"all"}


def test_the_original_strategies_name_their_arrays(tmp_path, sites):
    for strategy, first in (("random", "random-7/test/001"), ("by_exp_plate_site", "by_exp_plate_site-7/RPE-01_p1_s1")):
        folder = tmp_path / strategy
        told = datasets.pack(sites, folder, settings=PackSettings(strategy=strategy, seed=7, sites_per_shelf=10))
        pack = datasets.open_pack(folder)
        assert told.sites == len(sites)
        assert first in pack.table["array"].to_pylist()


@pytest.mark.parametrize(
    ("site", "reason"),
    [
        (Field.of(image(shape=(2, 12, 13)), ("DNA", "ER"), id=FieldId(plate="P1", well="A9")), "wrong-shape"),
        (Field.of(image(dtype="uint16"), ("DNA", "ER"), id=FieldId(plate="P1", well="A9")), "wrong-dtype"),
        (Field.of(image(shape=(1, 12, 14)), ("DNA",), id=FieldId(plate="P1", well="A9")), "channel-missing"),
        (Field(FieldId(plate="P1", well="A9"), (Channel("DNA"), Channel("ER"))), "empty"),
        (plate()[0], "duplicate"),
        (broken(WrongDtypeError("strange")), "wrong-dtype"),
    ],
    ids=lambda one: one if isinstance(one, str) else "",
)
def test_a_site_at_fault_is_left_out_named_and_counted(tmp_path, site, reason):
    told = datasets.pack([*plate(wells=5), site], tmp_path)
    assert (told.inputs, told.sites) == (6, 5)
    assert [one.reason for one in told.findings] == [reason]
    assert told.findings[0].message
    kept = pq.read_table(tmp_path / "findings.parquet").to_pylist()
    assert [(row["well"], row["fault"]) for row in kept] == [(site.id.well, reason)]
    assert len(datasets.open_pack(tmp_path)) == 5


def test_files_that_are_gone_or_damaged_are_named(tmp_path, sites, design):
    table = write_screen(tmp_path / "screen", design)
    images = sorted((tmp_path / "screen" / "images").rglob("*.png"))
    images[0].unlink()
    images[100].write_bytes(images[100].read_bytes()[:200])
    screen = datasets.open_screen(
        {"catalog": "rxrx", "base": str(tmp_path / "screen" / "images"), "metadata": str(table)}
    )
    told = datasets.pack(screen, tmp_path / "pack")
    assert sorted(one.reason for one in told.findings) == ["channel-missing", "damaged"]
    assert told.sites == len(sites) - 2
    assert any(images[100].name in file for one in told.findings for file in one.files)


def test_kept_blank_sites_stand_as_zeros_and_are_marked(tmp_path):
    odd = Field.of(image(shape=(2, 12, 13)), ("DNA", "ER"), id=FieldId(plate="P1", well="A9"))
    told = datasets.pack([*plate(), odd], tmp_path, settings=PackSettings(faults="keep-blank"))
    assert (told.sites, told.kept_blank, len(told.findings)) == (5, 1, 1)
    pack = datasets.open_pack(tmp_path)
    rows = pack.table.to_pylist()
    (marked,) = [index for index, row in enumerate(rows) if row["fault"]]
    assert (rows[marked]["well"], rows[marked]["fault"], rows[marked]["blank"]) == ("A9", "wrong-shape", True)
    assert not pack[marked].any()
    assert rows[marked]["pixel_mean"] is None


def test_under_fail_the_first_fault_ends_it(tmp_path):
    odd = Field.of(image(shape=(2, 12, 13)), ("DNA", "ER"), id=FieldId(plate="P1", well="A9"))
    with pytest.raises(RecipeError, match=r"A9.*wrong-shape.*\(2, 12, 13\)"):
        datasets.pack([*plate(), odd], tmp_path / "a", settings=PackSettings(faults="fail"))
    with pytest.raises(RecipeError, match="duplicate"):
        datasets.pack([*plate(), plate()[0]], tmp_path / "b", settings=PackSettings(faults="fail"))


def test_blank_and_saturated_sites_are_marked_or_left_out(tmp_path):
    blank = Field.of(np.zeros((2, 12, 14), np.uint8), ("DNA", "ER"), id=FieldId(plate="P1", well="B1"))
    bright = Field.of(np.full((2, 12, 14), 255, np.uint8), ("DNA", "ER"), id=FieldId(plate="P1", well="B2"))
    half = image()
    half[1, :6] = 255
    part = Field.of(half, ("DNA", "ER"), id=FieldId(plate="P1", well="B3"))
    sites = [*plate(), blank, bright, part]
    told = datasets.pack(sites, tmp_path / "keep")
    rows = {row["well"]: row for row in datasets.open_pack(tmp_path / "keep").table.to_pylist()}
    assert (told.sites, told.findings) == (7, ())
    assert {well: row["suspicion"] for well, row in rows.items() if row["suspicion"]} == {
        "B1": "blank",
        "B2": "blank saturated",
        "B3": "saturated",
    }
    told = datasets.pack(sites, tmp_path / "drop", settings=PackSettings(suspects="drop"))
    assert (told.sites, sorted(one.reason for one in told.findings)) == (4, ["blank", "blank", "saturated"])
    with pytest.raises(RecipeError, match="blank"):
        datasets.pack(sites, tmp_path / "fail", settings=PackSettings(suspects="fail"))


def test_a_blank_site_is_stored_and_told_from_an_empty_slot(tmp_path):
    """Zarr writers leave chunks of zeros out; here they are bytes with a checksum like any other."""
    blank = Field.of(np.zeros((2, 12, 14), np.uint8), ("DNA", "ER"), id=FieldId(plate="P1", well="B1"))
    datasets.pack([*plate(), blank], tmp_path)
    pack = datasets.open_pack(tmp_path)
    (index,) = [k for k, row in enumerate(pack.table.to_pylist()) if row["blank"]]
    assert pack.span(index).length > 0
    assert not pack[index].any()


def test_a_fault_that_may_pass_keeps_what_is_done(tmp_path):
    sites = [*plate("P0", 12), broken(BrokenTransferError("the line is dead"))]
    with pytest.raises(BrokenTransferError):
        datasets.pack(sites, tmp_path)
    whole = [*plate("P0", 12), Field.of(image(9), ("DNA", "ER"), id=FieldId(plate="P1", well="A9"))]
    told = datasets.pack(whole, tmp_path)
    assert (told.shards, told.shards_written) == (2, 1)
    assert not list(tmp_path.rglob("*.part"))


def test_channels_by_name_and_in_the_order_asked_for(tmp_path):
    sites = plate()
    datasets.pack(sites, tmp_path / "a", settings=PackSettings(channels=("ER",)))
    pack = datasets.open_pack(tmp_path / "a")
    truth = {field.id.well: field.read() for field in sites}
    assert pack.shape == (1, 12, 14)
    assert all(np.array_equal(pack[k], truth[row["well"]][1:]) for k, row in enumerate(pack.table.to_pylist()))
    with pytest.raises(ChannelMissingError, match="'GFP'; there are DNA, ER"):
        datasets.pack(sites, tmp_path / "b", settings=PackSettings(channels=("GFP",)))


def test_nothing_to_pack_is_named(tmp_path):
    with pytest.raises(EmptyError):
        datasets.pack([], tmp_path)


def test_a_folder_that_is_something_else_is_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("do not lose")
    with pytest.raises(LedgerError, match="no pack"):
        datasets.pack(plate(), tmp_path)
    assert (tmp_path / "thesis.txt").read_text() == "do not lose"


def test_other_settings_and_fewer_sites_want_another_folder(tmp_path):
    datasets.pack(plate(), tmp_path)
    with pytest.raises(LedgerError, match="other settings"):
        datasets.pack(plate(), tmp_path, settings=PackSettings(seed=1))
    with pytest.raises(LedgerError, match="no longer given"):
        datasets.pack(plate(wells=2), tmp_path)
    assert len(datasets.open_pack(tmp_path)) == 4


def test_two_writers_do_not_meet(tmp_path):
    from phenostream.datasets._files import locked

    with locked(tmp_path), pytest.raises(BusyError, match=str(os.getpid())):
        datasets.pack(plate(), tmp_path)


def test_a_worker_that_dies_is_named(tmp_path):
    workers = Processes(1)
    lethal = Field(FieldId(plate="P2", well="A1"), (Channel("DNA"), Channel("ER")), pixels=partial(os._exit, 9))
    try:
        with pytest.raises(StepError, match="worker process died"):
            datasets.pack([*plate_on_disk(tmp_path), lethal], tmp_path / "pack", executor=workers)
    finally:
        workers.close(kill=True)


def plate_on_disk(tmp_path):
    """Sites that can travel to another process."""
    design = ScreenDesign(experiments=("HUVEC-01",), test_experiments=(), plates=1, perturbations=2, shape=(12, 14))
    return [replace(field, channels=(Channel("DNA"), Channel("ER")), pixels=Two(field)) for field in fields(design)]


class Two:
    def __init__(self, field):
        self.field = field

    def __call__(self):
        return self.field.read()[:2]


def test_statistics_are_of_all_pixels_of_a_plate(packed, pack):
    rows = pq.read_table(packed / "statistics.parquet").to_pylist()
    assert {row["level"] for row in rows} == {"plate", "experiment", "pack"}
    table = pack.table.to_pylist()
    for row in rows:
        own = [
            k for k, site in enumerate(table)
            if row["plate"] in ("", site["plate"]) and row["experiment"] in ("", site["experiment"])
        ]  # fmt: skip
        pixels = pack.read(own)[:, pack.channel(row["channel"])].astype(np.float64)
        assert row["sites"] == len(own)
        np.testing.assert_allclose([row["mean"], row["std"]], [pixels.mean(), pixels.std()], rtol=1e-9)
        assert (row["min"], row["max"]) == (pixels.min(), pixels.max())
        for percent in ("0.1", "1", "50", "99", "99.9"):
            exact = np.percentile(pixels, float(percent), method="inverted_cdf")
            assert row[f"p{percent}"] == exact, "8-bit levels are exact"


_KILLED = """
import sys
from phenostream import datasets
from phenostream.synthetic.screen import ScreenDesign, fields, write_screen
design = ScreenDesign(experiments=("HUVEC-01", "RPE-01", "U2OS-01"), test_experiments=("RPE-01",), perturbations=6,
                      shape=(24, 32), missing=0.1)
sites = fields(design)
print("begin", flush=True)
def tell(done, total):
    print(done, flush=True)
    sys.stdin.readline()  # until it is let go on
datasets.pack(sites, sys.argv[1], progress=tell)
"""


def test_kill_and_run_again_gives_the_same_pack(tmp_path, sites, packed):
    """SIGKILL after each of several numbers of shards, then random moments; the end is byte for byte the same."""
    rng = random.Random(0)
    folder = tmp_path / "killed"
    for shards in (1, 3, 4):
        process = subprocess.Popen(
            [sys.executable, "-c", _KILLED, str(folder)], text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**os.environ, "OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        for line in process.stdout:
            if line.strip() == "begin":
                continue
            process.stdin.write("\n")  # it goes on to the next shard at most, however late the kill comes
            process.stdin.flush()
            if line.strip() == str(shards):
                break
        time.sleep(rng.uniform(0, 0.01))
        os.kill(process.pid, signal.SIGKILL)
        process.stdin.close()
        process.stdout.close()
        assert process.wait() == -signal.SIGKILL
        assert not (folder / "pack.json").exists(), "an unfinished pack is not taken for one"
    told = datasets.pack(sites, folder)
    assert told.shards_written < told.shards, "what was whole is not written again"
    assert tree(folder) == tree(packed)
    assert not list(folder.rglob("*.part"))


def unzipped(archive, folder):
    with zipfile.ZipFile(archive) as file:
        file.extractall(folder)
    return str(folder)


def test_real_fields_pack_exactly(tmp_path, data):
    """Fields of real microscopes: what comes out of the pack, and of plain Zarr, is what tifffile reads."""
    fields = data / "fields"
    sources = {
        "human": {"base": str(fields / "examplehuman"), "preset": "cellomics"},
        "fly": {
            "base": unzipped(fields / "examplefly" / "examplefly_images.zip", tmp_path / "fly-images"),
            "pattern": "{:d}_POS{site:d}_{channel}.TIF",
        },
        "nf1": {"base": str(fields / "nf1" / "Plate_2_images"), "preset": "cytation"},
    }
    kinds = {}
    for name, source in sources.items():
        screen = datasets.open_screen({"catalog": "folder", **source})
        told = datasets.pack(screen, tmp_path / name)
        pack = datasets.open_pack(told.folder)
        truth = {
            field.id: np.stack([tifffile.imread(os.path.join(source["base"], plane.key)) for plane in field.planes])
            for field in screen.fields
        }
        group = zarr.open_group(tmp_path / name / "images", mode="r")
        for index, row in enumerate(pack.table.to_pylist()):
            pixels = truth[FieldId(**{key: row[key] for key in ("study", "plate", "well", "site", "time", "z")})]
            assert np.array_equal(pack[index], pixels)
            assert np.array_equal(group[row["array"]][row["slot"]], pixels)
        assert datasets.verify_pack(told.folder).faults == ()
        kinds[name] = (told.sites, pack.shape, pack.coding.dtype, pack.coding.name)
    assert kinds == {
        "human": (1, (3, 512, 512), "uint8", "zstd"),
        "fly": (2, (3, 1006, 1000), "uint8", "zstd"),
        "nf1": (2, (3, 904, 1224), "uint16", "blosc"),
    }


def test_a_real_plate_packs_exactly_and_names_wells_without_a_channel(tmp_path, data):
    plates = data / "fields" / "sbs_plate"
    unzipped(plates / "channel1_rowsA-B.zip", tmp_path / "images")
    base = unzipped(plates / "channel2_all96_part1.zip", tmp_path / "images")
    told = datasets.pack(datasets.open_screen({"catalog": "folder", "base": base, "preset": "sbs"}), tmp_path / "pack")
    assert {one.id.well: one.reason for one in told.findings} == {"C1": "channel-missing"}
    assert told.sites == 24
    pack = datasets.open_pack(told.folder)
    for index, row in enumerate(pack.table.to_pylist()):
        letter, column = row["well"][0], int(row["well"][1:])
        number = "ABCDEFGH".index(letter) * 12 + column
        names = [f"Channel{c}-{number:02d}-{letter}-{column:02d}.tif" for c in (2, 1)]
        assert np.array_equal(pack[index], np.stack([tifffile.imread(tmp_path / "images" / name) for name in names]))
