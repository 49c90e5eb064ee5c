"""The page in a real browser: nothing loaded, nothing complained about, nothing wider than a phone.

The screenshots are kept in the folder that ``PHENOSTREAM_TEST_ARTEFACTS`` names.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from html import unescape
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from phenostream.report import write

BROWSER = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), ""
)
pytestmark = pytest.mark.skipif(not BROWSER, reason="no chromium on this machine")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-default-apps",
    "--disable-dev-shm-usage", "--enable-logging=stderr", "--host-resolver-rules=MAP * ~NOTFOUND",
)  # fmt: skip
SOON = "--virtual-time-budget=4000"
# Works the page as a person with a keyboard would, and says what the page answers.
KEYS = """<!doctype html><title>-</title><iframe id="f" src="{page}" style="width:1200px;height:900px"></iframe>
<p id="told"></p>
<script>addEventListener("load", () => {{
const inside = document.getElementById("f").contentDocument, find = (id) => inside.getElementById(id), told = [];
const press = (id, key) => {{
  find(id).dispatchEvent(new KeyboardEvent("keydown", {{ key, bubbles: true }})); }};
press("plate-map", "ArrowRight"); told.push(find("well-told").textContent);
press("plate-map", "ArrowDown"); told.push(find("well-told").textContent);
find("column-search").value = "formfactor";
find("column-search").dispatchEvent(new Event("input"));
told.push(find("map-title").textContent);
press("map-of-cells", "ArrowRight"); told.push(find("cell-card").textContent);
press("quality-plot", "ArrowRight"); told.push(find("quality-told").textContent);
told.push(String(find("gallery").children.length));
find("gallery").children[0].click(); told.push(find("gallery-told").textContent);
document.getElementById("told").textContent = JSON.stringify(told); }})</script>"""
# Says how wide the page inside is, once it is laid out.
FRAME = """<!doctype html><title>-</title><body style="margin:0"><iframe id="f" src="{page}" style="width:{width}px;
height:{height}px;border:0"></iframe><p id="told"></p><script>addEventListener("load", () => {{
const inside = document.getElementById("f").contentDocument.documentElement;
document.getElementById("told").textContent = "widths " + inside.scrollWidth + " " + inside.clientWidth; }})</script>"""


@pytest.fixture(scope="module")
def page(run, tmp_path_factory):
    """The page of the small run, in a folder of its own."""
    return write(run, tmp_path_factory.mktemp("page") / "report.html")


@pytest.fixture(scope="module")
def artefacts(tmp_path_factory):
    """Where screenshots go."""
    kept = os.environ.get("PHENOSTREAM_TEST_ARTEFACTS")
    folder = Path(kept) if kept else tmp_path_factory.mktemp("shots")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def browse(tmp_path, *arguments):
    """Run the browser with an empty profile; its standard output and error."""
    profile = tmp_path / "profile"
    shutil.rmtree(profile, ignore_errors=True)
    command = [BROWSER, *FLAGS, f"--user-data-dir={profile}", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout, done.stderr


def requests(log):
    """Addresses of the web that a page asked for; what the browser wants for itself has no origin."""
    text = log.read_text(encoding="utf-8", errors="replace")
    try:
        events = json.loads(text)["events"]
    except ValueError:  # a browser that was quick to leave forgets the closing brackets
        events = json.loads(text.rstrip().rstrip(",") + "]}")["events"]
    told = [event["params"] for event in events if "initiator" in event.get("params", {})]
    asked = [one["url"] for one in told if one["initiator"] != "not an origin"]
    return [url for url in asked if re.match("(https?|wss?|ftp):", url)]


def test_a_page_that_asks_would_be_caught(tmp_path):
    bad = tmp_path / "bad.html"
    bad.write_text('<!doctype html><img src="http://outside.invalid/x.png"><script>console.log("hello")</script>')
    log = tmp_path / "net.json"
    _, err = browse(tmp_path, f"--log-net-log={log}", "--dump-dom", bad.as_uri())
    assert requests(log) == ["http://outside.invalid/x.png"]
    assert "CONSOLE" in err


def test_it_shows_its_text_silently_and_asks_for_nothing(page, tmp_path):
    log = tmp_path / "net.json"
    out, err = browse(tmp_path, f"--log-net-log={log}", SOON, "--dump-dom", page.as_uri())
    assert "Accounting" in out
    assert 'class="ready"' in out  # every script ran to its end
    assert not re.search(r'class="panel[^>]*hidden', out)
    assert "bk-Figure" in out
    assert "chunk 50 has a wrong checksum" in out
    assert "CONSOLE" not in err, err
    assert requests(log) == []


@pytest.mark.parametrize(("name", "width", "height"), [("desktop", 1280, 2400), ("phone", 390, 2400)])
def test_it_fits_and_is_not_empty(page, artefacts, tmp_path, name, width, height):
    frame = page.parent / f"{name}.html"
    frame.write_text(FRAME.format(page=page.name, width=width, height=height), encoding="utf-8")
    out, _ = browse(tmp_path, "--allow-file-access-from-files", SOON, "--dump-dom", frame.as_uri())
    inner, outer = map(int, re.search(r"widths (\d+) (\d+)", out).groups())
    assert inner <= outer == width
    shot = artefacts / f"report-{name}.png"
    window = f"--window-size={max(width, 500)},{height}"
    browse(tmp_path, "--allow-file-access-from-files", SOON, window, f"--screenshot={shot}", frame.as_uri())
    pixels = np.asarray(Image.open(shot).convert("L"))[:, :width]
    assert pixels.shape[0] >= height - 200
    assert np.unique(pixels).size > 50


def test_keys_walk_over_wells_fields_and_cells(page, tmp_path):
    frame = page.parent / "keys.html"
    frame.write_text(KEYS.format(page=page.name), encoding="utf-8")
    out, err = browse(tmp_path, "--allow-file-access-from-files", SOON, "--dump-dom", frame.as_uri())
    assert "CONSOLE" not in err, err
    first, below, title, cell, field, shown, chosen = json.loads(unescape(re.search(r'id="told">(.*?)</p>', out)[1]))
    assert first.startswith("A1: ")
    assert below.startswith("B1: ")
    assert title == "Nuclei_AreaShape_FormFactor"
    assert re.search(r"LT000\d_0\d [A-H]\d+cell \d+", cell)
    assert re.search(r"\d+ cells, mean intensity \d+, focus 0\.\d+", field)
    assert int(shown) == 60
    assert "parts/" in chosen


def test_hostile_names_do_nothing_in_a_browser(folder, tmp_path):
    evil = "</script><script>console.error('ran')</script>\"><img src=x onerror=console.error(2)>"
    folder.add(evil, evil, cells=12, site=evil, qc={f"mean_{evil}": 1.0, f"focus_{evil}": 2}, annotation={evil: evil})
    folder.add(evil, "A1", cells=12, annotation={evil: "other"})
    folder.record(source=evil)
    out, err = browse(tmp_path, SOON, "--dump-dom", write(folder.path).as_uri())
    assert 'class="ready"' in out
    assert "CONSOLE" not in err, err


def test_dark_is_dark(page, artefacts, tmp_path):
    shots = {}
    for name, flags in (("light", ()), ("dark", ("--force-dark-mode",))):
        shot = artefacts / f"report-{name}.png"
        browse(tmp_path, *flags, SOON, "--window-size=1000,800", f"--screenshot={shot}", page.as_uri())
        shots[name] = np.median(np.asarray(Image.open(shot).convert("L")))
    assert shots["light"] > 200 > 60 > shots["dark"]


@pytest.mark.parametrize(("name", "width", "height"), [("desktop", 1280, 1600), ("phone", 390, 3000)])
def test_phenotypes_fit_and_complain_about_nothing(run, results, artefacts, tmp_path, name, width, height):
    told = tmp_path / "phenotypes.json"
    told.write_text(json.dumps(results))
    page = write(run, tmp_path / "page.html", phenotypes=told)
    out, err = browse(tmp_path, SOON, "--dump-dom", page.as_uri())
    for words in ("leave one image out", "Where the true class stood", "Folded (44 cells, left out)"):
        assert words in out
    assert "CONSOLE" not in err, err
    frame = tmp_path / f"{name}.html"
    frame.write_text(FRAME.format(page=f"{page.name}#phenotypes", width=width, height=height), encoding="utf-8")
    out, _ = browse(tmp_path, "--allow-file-access-from-files", SOON, "--dump-dom", frame.as_uri())
    inner, outer = map(int, re.search(r"widths (\d+) (\d+)", out).groups())
    assert inner <= outer == width
    shot = artefacts / f"phenotypes-{name}.png"
    window = f"--window-size={max(width, 500)},{height}"
    browse(tmp_path, "--allow-file-access-from-files", SOON, window, f"--screenshot={shot}", frame.as_uri())
    assert np.unique(np.asarray(Image.open(shot).convert("L"))[:, :width]).size > 50
