"""Flat-fields as pictures, and files that are none."""

from __future__ import annotations

import base64
import io

import numpy as np
from PIL import Image

from phenostream.report import colours
from phenostream.report.facts import gather
from phenostream.report.illumination import shadings


def test_range_and_picture_are_those_of_the_array(run):
    shown = shadings(gather(run))
    assert [(one.plate, one.channel) for one in shown] == [("LT0001_02", "DNA"), ("LT0004_06", "DNA")]
    with np.load(run / shown[0].source) as saved:
        flat = saved["flatfield"] / saved["flatfield"].mean()
    assert (shown[0].low, shown[0].high, shown[0].dark) == (f"{flat.min():.3f}", f"{flat.max():.3f}", "12")
    image = np.asarray(Image.open(io.BytesIO(base64.b64decode(shown[0].image.split(",")[1]))).convert("RGB"))
    assert image.shape[:2] == (shown[0].height, shown[0].width)
    peak = np.unravel_index(np.argmax(flat), flat.shape)
    assert image[peak].tolist() == colours.table()[255].tolist()


def test_files_are_found_where_the_ledger_names_none(run, folder):
    source = next((run / "illumination").rglob("*.npz"))
    target = folder.path / "illumination" / source.name
    target.parent.mkdir()
    target.write_bytes(source.read_bytes())
    shown = shadings(gather(folder.path))
    assert [one.channel for one in shown] == [source.stem[:12]]


def test_what_is_no_flatfield_is_noted(folder):
    here = folder.path / "illumination"
    here.mkdir()
    (here / "a.npz").write_bytes(b"not a zip")
    np.savez(here / "b.npz", other=np.ones(3))
    np.savez(here / "c.npz", flatfield=np.array([{"a": 1}], object))
    np.savez(here / "d.npz", flatfield=np.full((4, 4), np.nan))
    facts = gather(folder.path)
    assert shadings(facts) == []
    assert sorted(facts.unread) == [f"illumination/{name}.npz" for name in "abcd"]
