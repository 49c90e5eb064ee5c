"""Exports: what changes after it was written is noticed, never taken over, and written anew."""

import shutil

import pytest

from phenostream import datasets
from phenostream.errors import DamagedError, LedgerError, NotFoundError, RecipeError
from phenostream.synthetic.screen import ScreenDesign, fields

DESIGN = ScreenDesign(
    experiments=("HUVEC-01", "RPE-01"), test_experiments=("RPE-01",), plates=1, perturbations=2, positives=1,
    shape=(10, 12), missing=0.1,
)  # fmt: skip
FORMATS = {
    "tfrecord": {"format": "tfrecord", "controls": True, "compression": "none"},
    "tar": {"format": "webdataset", "compression": "none", "sites_per_file": 4},
    "zarr": {"format": "ome_zarr"},
    "parquet": {"format": "huggingface"},
}


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    folder = tmp_path_factory.mktemp("exports")
    datasets.pack(fields(DESIGN), folder / "pack")
    for name, settings in FORMATS.items():
        datasets.export(datasets.open_pack(folder / "pack"), folder / name, settings)
    return folder


@pytest.fixture
def opened(base):
    return datasets.open_pack(base / "pack")


def copied(base, name, tmp_path):
    return shutil.copytree(base / name, tmp_path / name, ignore=shutil.ignore_patterns("lock"))


def tree(folder):
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != "lock")
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def flipped(path, at=0.5):
    data = bytearray(path.read_bytes())
    data[int(at * (len(data) - 1))] ^= 0x04
    path.write_bytes(data)


def content(folder, name):
    """A file with pixels in it: an export's file, or the largest one of a folder."""
    path = folder / name
    return path if path.is_file() else max((p for p in path.rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("at", [0.1, 0.5, 0.9])
def test_damage_of_a_file_is_raised_named_and_mended(base, opened, tmp_path, name, at):
    folder, settings = copied(base, name, tmp_path), FORMATS[name]
    before = tree(folder)
    told = datasets.export(opened, folder, settings)
    assert (told.written, tree(folder)) == (0, before)
    flipped(content(folder, told.files[0]), at)
    with pytest.raises(DamagedError, match="run the same export again"):
        list(datasets.read_export(folder))
    assert datasets.verify_export(folder) == [told.files[0]]
    again = datasets.export(opened, folder, settings)
    assert again.written == 1
    assert tree(folder) == before
    assert datasets.verify_export(folder) == []


def test_damage_during_an_export_does_not_become_official(base, opened, tmp_path, monkeypatch):
    """A file that changes before the export is finished: its checksum is that of what was written."""
    settings, calls = FORMATS["tar"], []
    read = type(opened).__getitem__

    def failing(self, index):
        calls.append(index)
        if len(calls) > 6:
            raise KeyboardInterrupt
        return read(self, index)

    monkeypatch.setattr(type(opened), "__getitem__", failing)
    with pytest.raises(KeyboardInterrupt):
        datasets.export(opened, tmp_path / "out", settings)
    monkeypatch.undo()
    (first,) = (tmp_path / "out").glob("*.tar")
    flipped(first)
    datasets.export(opened, tmp_path / "out", settings)
    assert tree(tmp_path / "out") == tree(base / "tar")


@pytest.mark.parametrize("name", ["index.parquet", "export.json", "sums"])
@pytest.mark.parametrize("at", [0.02, 0.4, 0.8])
def test_what_describes_an_export_is_guarded_too(base, opened, tmp_path, name, at):
    folder = copied(base, "tar", tmp_path)
    before = tree(folder)
    flipped(min((folder / "sums").iterdir()) if name == "sums" else folder / name, at)
    if name != "sums":
        with pytest.raises(DamagedError, match=name):
            list(datasets.read_export(folder))
        if name == "index.parquet":
            assert datasets.verify_export(folder) == [name]
    told = datasets.export(opened, folder, FORMATS["tar"])
    assert (told.written, tree(folder)) == (int(name == "sums"), before)


@pytest.mark.parametrize("content", [b"", b"{", b"{}"])
def test_a_damaged_plan_is_not_taken_for_another_export(base, opened, tmp_path, content):
    folder = copied(base, "tar", tmp_path)
    plan = folder / "plan.json"
    plan.write_bytes(content)
    with pytest.raises(DamagedError) as caught:
        datasets.export(opened, folder, FORMATS["tar"])
    assert caught.value.remedy.startswith(f"delete {plan} and run the same export again")
    plan.unlink()
    assert datasets.export(opened, folder, FORMATS["tar"]).written == 0
    assert tree(folder) == tree(base / "tar")


def test_files_of_other_settings_are_not_taken_over(base, opened, tmp_path):
    """Even where the plan is gone, a file counts as there only if it holds what is asked for."""
    folder, other = copied(base, "tar", tmp_path), {**FORMATS["tar"], "seed": 7}
    with pytest.raises(LedgerError, match="other settings"):
        datasets.export(opened, folder, other)
    (folder / "plan.json").unlink()
    told = datasets.export(opened, folder, other)
    assert told.written == len(told.files)
    datasets.export(opened, tmp_path / "other", other)
    assert tree(folder) == tree(tmp_path / "other")


def test_a_file_that_is_gone_is_named(base, opened, tmp_path):
    folder = copied(base, "tar", tmp_path)
    gone = min(folder.glob("*.tar"))
    gone.unlink()
    with pytest.raises(NotFoundError, match=gone.name):
        list(datasets.read_export(folder))
    assert datasets.verify_export(folder) == [gone.name]
    assert datasets.export(opened, folder, FORMATS["tar"]).written == 1


def test_sites_that_stand_as_zeros_are_marked_or_left_out(tmp_path):
    """Formats whose rows say so keep them; the original's keys cannot."""
    wrong = [one.with_pixels(Cropped(one.pixels)) if k % 5 == 0 else one for k, one in enumerate(fields(DESIGN))]
    told = datasets.pack(wrong, tmp_path / "pack", settings=datasets.PackSettings(faults="keep-blank"))
    pack = datasets.open_pack(tmp_path / "pack")
    rows = pack.table.to_pylist()
    marked = {row["site_id"] for row in rows if row["fault"]}
    assert len(marked) == told.kept_blank == len(range(0, len(wrong), 5))
    assert all(row["blank"] and row["pixel_mean"] is None for row in rows if row["fault"])
    for name, settings in FORMATS.items():
        out = tmp_path / name
        done = datasets.export(pack, out, settings)
        found = {row["site_id"]: (row["fault"], example.pixels.any()) for row, example in datasets.read_export(out)}
        assert done.left_out == (len(marked) if name == "tfrecord" else 0)
        assert len(found) == len(pack) - done.left_out
        assert {one for one, (fault, _) in found.items() if fault} == (set() if name == "tfrecord" else marked)
        assert {one for one, (_, light) in found.items() if not light} == (set() if name == "tfrecord" else marked)
    every = datasets.export(pack, tmp_path / "all", {**FORMATS["tfrecord"], "columns": "all"})
    assert every.left_out == 0
    assert {
        row["site_id"] for _, example in datasets.read_export(tmp_path / "all") if "fault" in (row := example.row)
    } == marked


class Cropped:
    def __init__(self, pixels):
        self.pixels = pixels

    def __call__(self):
        return self.pixels()[:, 1:]


@pytest.mark.parametrize("place", ["s3://bucket/out", "gs://b", "https://example.org/x"])
def test_what_is_written_is_written_to_disks(opened, tmp_path, monkeypatch, place):
    monkeypatch.chdir(tmp_path)
    for call in (
        lambda: datasets.export(opened, place, FORMATS["tar"]),
        lambda: datasets.pack(fields(DESIGN), place),
        lambda: next(datasets.read_export(place)),
        lambda: datasets.verify_export(place),
        lambda: next(datasets.read_tfrecords(place)),
    ):
        with pytest.raises(RecipeError, match=f"{place} is a URL"):
            call()
    assert not list(tmp_path.iterdir())
