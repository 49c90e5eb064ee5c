"""The page: what it says, what it must not do, how large it may be."""

from __future__ import annotations

import itertools
import re
from html.parser import HTMLParser

import pytest

from phenostream.errors import LedgerError, NotFoundError
from phenostream.report import page, write
from phenostream.report.page import duration, size

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


def words(html):
    return re.sub(r"\s+", " ", "".join(Elements(html).text))


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
    assert elements.of("script") == []
    assert elements.of("iframe") == []
    references = [attrs[key] for _, attrs in elements.tags for key in ("src", "href", "data") if key in attrs]
    assert references
    assert all(reference.startswith(("#", "data:")) for reference in references)
    assert not re.search(r"url\((?!data:)|@import", html)
    assert any("default-src 'none'" in attrs.get("content", "") for attrs in elements.of("meta"))


def test_it_can_be_read_without_seeing_it(html):
    elements = Elements(html)
    assert all(attrs.get("alt") for attrs in elements.of("img"))
    assert all(attrs.get("aria-label") for attrs in elements.of("svg"))
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
    assert elements.of("script") == []
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
    assert len(html) < 1_000_000


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
