"""The commands pack and unpack."""

import json

import pytest
import typer
from typer.testing import CliRunner

from phenostream import datasets
from phenostream.cli import exits
from phenostream.cli.pack import pack, unpack
from phenostream.errors import RecipeError
from phenostream.synthetic import RangeServer
from phenostream.synthetic.screen import ScreenDesign, write_screen

app = typer.Typer()
app.command()(pack)
app.command()(unpack)
DESIGN = ScreenDesign(
    experiments=("RPE-01",), test_experiments=("RPE-01",), perturbations=3, shape=(10, 12), missing=0.1
)


@pytest.fixture
def recipe(tmp_path):
    table = write_screen(tmp_path / "screen", DESIGN, dialect="kaggle")
    path = tmp_path / "screen.yaml"
    path.write_text(
        f"source: {{catalog: rxrx, base: {tmp_path / 'screen' / 'images'}, metadata: {table}}}\npack: {{seed: 3}}\n"
    )
    return path


def run(*arguments, code=exits.OK):
    told = CliRunner().invoke(app, [str(one) for one in arguments])
    assert told.exit_code == code, told.output
    return told.output


def test_a_screen_is_audited_estimated_packed_verified_and_written_for_others(recipe, tmp_path):
    audit = json.loads(run("pack", recipe, "--audit", "--json", code=exits.INCOMPLETE))
    assert audit["reasons"] == {"missing": audit["inputs"] - audit["sound"]}
    estimate = json.loads(run("pack", recipe, "--dry-run", "--json"))
    assert estimate["sites"] == audit["sound"]
    told = json.loads(run("pack", recipe, "--out", tmp_path / "pack", "--json", code=exits.INCOMPLETE))
    assert (told["sites"], told["left_out"]) == (audit["sound"], audit["inputs"] - audit["sound"])
    assert 0.7 < estimate["bytes"] / told["bytes"] < 1.3
    verified = json.loads(run("pack", "--verify", tmp_path / "pack", "--json"))
    assert verified["faults"] == []
    out = tmp_path / "tf"
    written = json.loads(
        run("unpack", tmp_path / "pack", "--format", "tfrecord", "--out", out, "--set", "seed=5", "--json")
    )
    assert written["files"] == ["random-5/test/001.tfrecord"]


def test_it_says_in_words_what_it_did(recipe, tmp_path):
    assert "missing" in run("pack", recipe, "--audit", code=exits.INCOMPLETE)
    assert "about" in run("pack", recipe, "--dry-run")
    text = run("pack", recipe, "--out", tmp_path / "pack", "--set", "pack.seed=4", code=exits.INCOMPLETE)
    assert "inputs =" in text
    assert "to one" in text
    assert "0 faults" in run("pack", "--verify", tmp_path / "pack")
    assert datasets.open_pack(tmp_path / "pack").description.settings["seed"] == 4
    text = run("unpack", tmp_path / "pack", "-f", "webdataset", "-o", tmp_path / "wds")
    assert "sites in 1 files" in text


def test_a_damaged_pack_says_so_in_its_exit_code(recipe, tmp_path):
    run("pack", recipe, "--out", tmp_path / "pack", code=exits.INCOMPLETE)
    shard = next((tmp_path / "pack" / "images").rglob("c/0/0/0/0"))
    data = bytearray(shard.read_bytes())
    data[40] ^= 1
    shard.write_bytes(data)
    text = run("pack", "--verify", tmp_path / "pack", code=exits.FAULTY)
    assert "1 faults" in text
    assert "RPE-01_" in text


def test_without_a_place_to_write_it_is_a_usage_error(recipe):
    assert "--out" in run("pack", recipe, code=exits.USAGE)


def test_recipes_that_say_nonsense_are_named(tmp_path):
    from phenostream.datasets.recipe import load
    from phenostream.errors import NotFoundError, RecipeError

    with pytest.raises(NotFoundError):
        load(tmp_path / "none.yaml")
    for text in ("- 1", "source: [", "sorce: {}", "source: {}\npack: {sed: 1}"):
        (tmp_path / "bad.yaml").write_text(text)
        with pytest.raises(RecipeError):
            load(tmp_path / "bad.yaml")
    with pytest.raises(RecipeError, match="override"):
        load({"source": {}}, ["nonsense"])
    assert load(tmp_path).source == {"catalog": "folder", "base": str(tmp_path)}
    assert load({"source": {}}, ["pack.by=[experiment]", "source.base=x"]).pack.by == ("experiment",)


def test_packs_behind_urls_are_verified_and_unpacked(recipe, tmp_path):
    run("pack", recipe, "--out", tmp_path / "pack", code=exits.INCOMPLETE)
    with RangeServer(tmp_path / "pack") as server:
        assert json.loads(run("pack", "--verify", server.url, "--json"))["faults"] == []
        shard = next((tmp_path / "pack" / "images").rglob("c/0/0/0/0"))
        whole = shard.read_bytes()
        shard.write_bytes(whole[:40] + bytes([whole[40] ^ 1]) + whole[41:])
        text = run("pack", "--verify", server.url, code=exits.FAULTY)
        assert "[checksum]" in text
        assert "run the packing of this folder again" in text
        shard.write_bytes(whole)
        run("unpack", server.url, "--format", "tfrecord", "--out", tmp_path / "far")
    run("unpack", tmp_path / "pack", "--format", "tfrecord", "--out", tmp_path / "near")
    name = "random-42/test/001.tfrecord"
    assert (tmp_path / "far" / name).read_bytes() == (tmp_path / "near" / name).read_bytes()


def test_what_is_written_by_url_is_refused_by_name(recipe, tmp_path, monkeypatch):
    run("pack", recipe, "--out", tmp_path / "pack", code=exits.INCOMPLETE)
    monkeypatch.chdir(tmp_path / "pack")
    before = sorted(path.name for path in (tmp_path / "pack").iterdir())
    for arguments in (
        ("pack", recipe, "--out", "s3://bucket/x"),
        ("pack", "s3://bucket/screen.yaml", "--audit"),
        ("unpack", tmp_path / "pack", "--format", "tfrecord", "--out", "gs://bucket/x"),
    ):
        with pytest.raises(RecipeError, match=r"(s3|gs)://bucket/\S+ is a URL"):
            CliRunner().invoke(app, [str(one) for one in arguments], catch_exceptions=False)
    with pytest.raises(RecipeError, match="no transport 'nowhere'"):
        CliRunner().invoke(app, ["pack", "--verify", "nowhere://bucket/x"], catch_exceptions=False)
    assert sorted(path.name for path in (tmp_path / "pack").iterdir()) == before


def test_a_damaged_pack_is_mended_by_the_same_command(recipe, tmp_path):
    run("pack", recipe, "--out", tmp_path / "pack", code=exits.INCOMPLETE)
    shard = next((tmp_path / "pack" / "images").rglob("c/0/0/0/0"))
    whole = shard.read_bytes()
    shard.write_bytes(whole[:40] + bytes([whole[40] ^ 1]) + whole[41:])
    told = json.loads(run("pack", recipe, "--out", tmp_path / "pack", "--json", code=exits.INCOMPLETE))
    assert told["shards_written"] == 1
    assert shard.read_bytes() == whole
    assert "0 faults" in run("pack", "--verify", tmp_path / "pack")
