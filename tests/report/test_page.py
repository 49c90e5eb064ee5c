"""The page: what it says, what it must not do, how large it may be."""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
import re
from html.parser import HTMLParser

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from phenostream.errors import LedgerError, NotFoundError, RecipeError
from phenostream.profiles import read_profiles
from phenostream.report import Settings, bundle, page, write
from phenostream.report.words import breakable, duration, size
from phenostream.values import Column, with_columns

EVIL = '<script>alert(1)</script>"><img src=x onerror=alert(2)>\'"&{{ 7*7 }}'


class Elements(HTMLParser):
    """Tags with attributes, headings, and text."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.text, self._open = [], [], []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text.append(data)

    def of(self, tag):
        return [attrs for name, attrs in self.tags if name == tag]


@pytest.fixture(scope="module")
def html(run, tmp_path_factory):
    """The page of the small run."""
    return write(run, tmp_path_factory.mktemp("out") / "page.html").read_text(encoding="utf-8")


def without_scripts(html):
    return re.sub(r"(<script\b[^>]*>).*?</script>", r"\1</script>", html, flags=re.DOTALL)


def data_of(html):
    return re.search(r'<script type="application/json" id="data">(.*?)</script>', html, re.DOTALL)[1]


def words(html):
    return re.sub(r"\s+", " ", "".join(Elements(without_scripts(html)).text))


def numbers(text, count):
    """What the page's scripts make of base64: little-endian float32."""
    return np.frombuffer(base64.b64decode(text), "<f4").reshape(-1, count)


def test_it_says_what_happened(html):
    text = words(html)
    assert "53 inputs = 24 measured + 3 rejected + 2 failed + 24 waiting" in text
    assert "LT0001_02/00014_01.ch5: chunk 50 has a wrong checksum" in text
    assert "fetch the file again" in text
    assert "0a1b2c3d4e5f" in text
    assert "123.5 MB" in text
    assert "2.0 GB" in text
    assert "https://archive.example/plates" in text
    assert "model: classical" in text
    assert "ab" * 32 in text
    assert "numpy 2.4.6" in text
    assert "not finished: 24 inputs are still waiting" in text


def test_cells_are_those_of_the_ledger(html, run):
    import sqlite3

    total = sqlite3.connect(run / "ledger.db").execute("SELECT sum(rows) FROM units").fetchone()[0]
    assert f"{total:,} cells" in words(html)


def test_it_loads_nothing_and_runs_nothing(html):
    elements = Elements(html)
    assert [attrs for attrs in elements.of("script") if "src" in attrs] == []
    assert elements.of("iframe") == []
    html = without_scripts(html)
    references = [attrs[key] for _, attrs in elements.tags for key in ("src", "href", "data") if key in attrs]
    assert references
    assert all(reference.startswith(("#", "data:")) for reference in references)
    assert not re.search(r"url\((?!data:|#)|@import", html)
    assert any("default-src 'none'" in attrs.get("content", "") for attrs in elements.of("meta"))


def test_only_the_scripts_that_the_policy_names_run(html):
    """By the sha256 of their bytes, as the Content Security Policy specification computes it."""
    policy = next(attrs["content"] for attrs in Elements(html).of("meta") if "script-src" in attrs.get("content", ""))
    scripts = re.findall(r"<script>(.*?)</script>", html, re.DOTALL)
    hashes = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in scripts]
    assert policy.split("script-src ")[1].split() == [f"'sha256-{one}'" for one in hashes]
    assert "unsafe-eval" not in policy
    assert "connect-src" not in policy  # so that default-src 'none' holds


def test_any_column_by_well_is_the_mean_of_its_cells(html, run):
    """Against Arrow's own group_by over all cells."""
    wells = json.loads(data_of(html))["wells"]
    table = read_profiles(run)
    names = [one["n"] for one in wells["columns"]]
    values = numbers(wells["values"], len(wells["name"]))
    plates = [wells["plates"][at]["name"] for at in wells["plate"]]
    column = "Nuclei_Texture_Contrast_DNA_3_00_256"
    told = table.group_by(["Metadata_Plate", "Metadata_Well"]).aggregate([(column, "mean"), (column, "count")])
    expected = {(row["Metadata_Plate"], row["Metadata_Well"]): row for row in told.to_pylist()}
    assert len(names) == 2 + 2 + 157
    for at, key in enumerate(zip(plates, wells["name"], strict=True)):
        if key in expected:
            np.testing.assert_allclose(values[names.index(column), at], expected[key][f"{column}_mean"], rtol=1e-6)
            assert values[0, at] == expected[key][f"{column}_count"]
        else:
            assert np.isnan(values[names.index(column), at])
            assert values[0, at] == 0


def test_each_cell_says_where_it_came_from(html, run):
    cells = json.loads(data_of(html))["cells"]
    at = cells["count"] // 2
    part = read_profiles(run / cells["parts"][cells["part"][at]])
    row = part.filter(pc.equal(part["CellId"], cells["id"][at])).to_pylist()[0]
    assert cells["well"][at] == f"{row['Metadata_Plate']} {row['Metadata_Well']}"
    assert cells["number"][at] == str(row["ObjectNumber"])


def test_it_can_be_read_without_seeing_it(html):
    elements = Elements(html)
    assert all(attrs.get("alt") for attrs in elements.of("img"))
    assert all(attrs.get("aria-label") or attrs.get("aria-hidden") == "true" for attrs in elements.of("svg"))
    assert all(attrs.get("aria-label") for _, attrs in elements.tags if attrs.get("tabindex") and attrs.get("role"))
    assert elements.of("html")[0]["lang"] == "en"
    assert len(elements.of("h1")) == len(elements.of("main")) == 1
    levels = [int(tag[1]) for tag, _ in elements.tags if re.fullmatch(r"h[1-6]", tag)]
    assert all(later - earlier <= 1 for earlier, later in itertools.pairwise(levels))
    assert all(attrs.get("scope") for attrs in elements.of("th"))


def test_ids_are_unique_and_links_lead_somewhere(html):
    elements = Elements(html)
    ids = [attrs["id"] for _, attrs in elements.tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    targets = [attrs["href"][1:] for tag, attrs in elements.tags if tag in {"a", "use"} and "href" in attrs]
    assert set(targets) <= set(ids)


def test_stages_stand_in_the_order_of_the_work(html):
    stages = html[html.index('class="stages"') :]
    places = [stages.index(f'<th scope="row">{stage}') for stage in ("fetch", "read", "correct", "segment", "measure")]
    assert places == sorted(places)


def test_wells_say_their_value_on_hover(html):
    assert re.search(r"<title>A1: \d+</title>", html)
    assert "<title>B2: 0 of 1 measured; 1 damaged</title>" in html


def test_the_same_run_gives_the_same_bytes(run, tmp_path):
    assert write(run, tmp_path / "a.html").read_bytes() == write(run, tmp_path / "b.html").read_bytes()


def test_hostile_names_stay_text(folder):
    folder.add(EVIL, EVIL, cells=4, site=EVIL, study=EVIL, qc={f"mean_{EVIL}": 1.0, f"focus_{EVIL}": 2})
    folder.add(EVIL, "A1", state="failed", reason=EVIL, step=EVIL, message=EVIL, remedy=EVIL, error_id=EVIL)
    folder.fit(EVIL, EVIL)
    folder.record(source=EVIL, recipe={EVIL: EVIL}, libraries={EVIL: EVIL}, inputs={EVIL: EVIL}, seed=EVIL)
    html = write(folder.path).read_text(encoding="utf-8")
    elements = Elements(html)
    assert len(elements.of("script")) == 1 + len(bundle.scripts())
    assert EVIL in json.loads(data_of(html))["wells"]["name"]
    assert not [attrs for _, attrs in elements.tags if any(key.startswith("on") for key in attrs)]
    assert all(attrs["src"].startswith("data:") for attrs in elements.of("img"))
    assert "{{ 7*7 }}" in words(html)  # shown as it is, not computed


def test_names_that_are_no_unicode(folder):
    folder.record(source="P\udcff1")
    assert b"P?1" in write(folder.path).read_bytes()


def test_a_run_with_nothing_in_it(folder):
    text = words(write(folder.path).read_text(encoding="utf-8"))
    assert "0 inputs = 0 measured + 0 rejected + 0 failed" in text
    assert "no readable run.json" in text


def test_a_run_that_only_failed(folder):
    folder.add(state="failed", reason="unreachable", step="fetch", message="no answer", error_id="1")
    text = words(write(folder.path).read_text(encoding="utf-8"))
    assert "1 of 1 inputs were not measured" in text
    assert "no answer" in text


def test_a_torn_record_and_a_broken_part_are_said(folder):
    folder.add(cells=3)
    folder.add(well="A2", cells=3)
    (folder.path / "run.json").write_text('{"recipe": ')
    part = next((folder.path / "parts").rglob("*.parquet"))
    whole = part.read_bytes()
    part.write_bytes(whole[:200] + bytes(200) + whole[400:])
    text = words(write(folder.path).read_text(encoding="utf-8"))
    assert "no readable run.json" in text
    assert "1 files of this run could not be read" in text


def test_a_missing_part_does_not_hide_the_rest(folder):
    folder.add(cells=3)
    folder.add(well="A2", cells=3)
    next((folder.path / "parts").rglob("*.parquet")).unlink()
    text = words(write(folder.path).read_text(encoding="utf-8"))
    assert "1 files of this run could not be read" in text
    assert "2 inputs = 2 measured" in text


def test_many_rejects_are_cut_and_counted(folder):
    for index in range(620):
        folder.add(well=f"A{index % 12 + 1}", site=str(index), state="failed", reason="damaged", message="x" * 2000)
    html = write(folder.path).read_text(encoding="utf-8")
    assert "the first 500 of 620" in words(html)
    assert len(without_scripts(html)) < 1_000_000


def test_the_size_is_bounded(run, tmp_path, monkeypatch):
    small = write(run, tmp_path / "a.html").stat().st_size
    assert small < page.MAX_BYTES
    monkeypatch.setattr(page, "MAX_BYTES", small - 1)
    fewer = write(run, tmp_path / "b.html")
    assert fewer.stat().st_size < small
    assert "12 of 24 measured fields" in words(fewer.read_text(encoding="utf-8"))


def test_where_it_goes(folder, tmp_path):
    folder.add(cells=1)
    assert write(folder.path) == folder.path / "report.html"
    assert write(str(folder.path), str(tmp_path / "mine.html")) == tmp_path / "mine.html"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine.html", "run"]
    with pytest.raises(NotFoundError, match="no folder"):
        write(folder.path, tmp_path / "no" / "mine.html")


def test_not_a_run_or_a_newer_one(folder, tmp_path):
    with pytest.raises(NotFoundError, match="not a run folder"):
        write(tmp_path)
    folder.meta(schema_version="99")
    with pytest.raises(LedgerError):
        write(folder.path)


def test_words_for_bytes_and_seconds():
    assert [size(value) for value in (0, 999, 1500, 2.5e6, 7e12)] == ["0 B", "999 B", "1.5 kB", "2.5 MB", "7,000.0 GB"]
    assert [duration(value) for value in (0.1234, 12.3, 83, 7264)] == ["0.12 s", "12 s", "1 min 23 s", "2 h 01 min"]


def test_a_table_with_roles(run, tmp_path):
    table = read_profiles(run)
    path = tmp_path / "cells.parquet"
    pq.write_table(table, path)
    html = write(path).read_text(encoding="utf-8")
    assert (tmp_path / "cells.report.html").is_file()
    text = words(html)
    assert f"{table.num_rows:,} rows in 24 wells, 157 features" in text
    assert hashlib.sha256(path.read_bytes()).hexdigest() in text
    assert "Every row has an id of its own" in text
    assert json.loads(data_of(html))["wells"]["columns"][0]["n"] == "Cells per well"


def test_a_foreign_table_is_read_by_its_names(tmp_path):
    lines = ["Metadata_Plate,Metadata_Well,Metadata_Compound,Nuclei_AreaShape_Area,Nuclei_Intensity_MeanIntensity_DNA"]
    rng = np.random.default_rng(0)
    for at in range(400):
        compound = "DMSO" if at % 4 == 0 else "taxol"
        shift = 3 * (compound == "taxol")
        lines.append(
            f"P1,{'ABCDEFGH'[at % 8]}{at % 12 + 1},{compound},{100 + rng.normal():.4f},{shift + rng.normal():.4f}"
        )
    path = tmp_path / "cells.csv"
    path.write_text("\n".join(lines) + "\n")
    text = words(write(path).read_text(encoding="utf-8"))
    assert "400 rows" in text
    assert "Metadata_Compound = DMSO (recognised by name" in text
    assert re.search(r"Metadata_Compound taxol.*?Nuclei_Intensity_MeanIntensity_DNA.*?\+[23]\.\d\d", text)


def test_defects_of_a_table_are_counted_and_shown(tmp_path):
    columns = {
        "CellId": ["a", "b", "b", "c"] * 10, "Metadata_Well": ["A1", "A2", "", "A3"] * 10,
        "Nuclei_A": [1.0] * 40, "Nuclei_B": [float("nan")] * 40, "Nuclei_C": list(map(float, range(40))),
    }  # fmt: skip
    told = [Column(name, "feature" if name.startswith("Nuclei") else "metadata") for name in columns]
    pq.write_table(with_columns(pa.table(columns), told), tmp_path / "t.parquet")
    text = words(write(tmp_path / "t.parquet").read_text(encoding="utf-8"))
    assert "37 rows have the id ( CellId ) of an earlier row" in text.replace("(CellId)", "( CellId )")
    assert "10 rows are in no well" in text
    assert "1 of 3 columns have one and the same value" in text
    assert "1 of 3 columns have no finite value" in text
    assert "No controls are known: nothing is compared" in text


def test_what_was_asked_for_must_be_there(run, tmp_path):
    with pytest.raises(NotFoundError, match="Metadata_Nothing"):
        write(run, tmp_path / "a.html", settings=Settings(group="Metadata_Nothing"))
    with pytest.raises(RecipeError, match="no row has"):
        write(run, tmp_path / "a.html", settings=Settings(controls="Metadata_Dose=77"))
    with pytest.raises(RecipeError, match="controls 'Metadata_Dose'"):
        write(run, tmp_path / "a.html", settings=Settings(controls="Metadata_Dose"))
    with pytest.raises(NotFoundError):
        write(tmp_path / "nothing.parquet")
    assert list(tmp_path.iterdir()) == []


def test_a_page_without_the_library_says_so(run, tmp_path, monkeypatch):
    monkeypatch.setattr(bundle, "_library", lambda: ())
    bundle.scripts.cache_clear()
    try:
        html = write(run, tmp_path / "a.html").read_text(encoding="utf-8")
    finally:
        monkeypatch.undo()
        bundle.scripts.cache_clear()
    assert "BokehJS was not installed" in html
    assert 'id="map-of-cells"' not in html
    assert 'id="gallery"' in html


def test_names_break_after_underscores_and_stay_text():
    assert str(breakable("A_<b>")) == "A_<wbr>&lt;b&gt;"
