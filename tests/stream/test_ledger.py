"""The ledger: transactions, states, versions."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from phenostream.errors import LedgerError, NotFoundError
from phenostream.stream.ledger import Ledger, Outcome, Part


def _enrolled(folder: Path, keys: str = "abc") -> Ledger:
    ledger = Ledger(folder, create=True)
    ledger.enrol((key, position, "s", "P1", f"A{position}", "1", 0, 0, "{}") for position, key in enumerate(keys))
    return ledger


def test_a_unit_is_done_only_with_its_part(tmp_path: Path) -> None:
    ledger = _enrolled(tmp_path)
    part = Part("parts/aa/x.parquet", "x", 10, 3)
    ledger.record([Outcome("a", "done", part, qc={"n_objects": 3.0}), Outcome("b", "rejected", reason="damaged")])
    assert ledger.counts() == {"done": 1, "rejected": 1, "waiting": 1}
    assert ledger.waiting() == {"c"}
    assert ledger.named_files() == {"parts/aa/x.parquet"}
    assert ledger.query("SELECT error_id, reason FROM units WHERE state='rejected'") == [("b", "damaged")]
    ledger.close()


def test_the_tally_is_what_the_units_are_whatever_happens(tmp_path: Path) -> None:
    ledger = _enrolled(tmp_path, "abcdef")

    def sound() -> bool:
        return sorted(ledger.tally()) == sorted(ledger.counted_anew())

    part = Part("parts/a", "a", 10, 3)
    ledger.record([Outcome("a", "done", part), Outcome("b", "failed", reason="unreachable")])
    ledger.record([Outcome("c", "rejected", reason="damaged"), Outcome("d", "failed", reason="unreachable")])
    assert sound()
    assert ledger.rows() == 3
    with pytest.raises(LedgerError):
        ledger.record([Outcome("e", "done", Part("parts/e", "e", 1, 7)), Outcome("f", "nonsense")])
    assert sound()
    ledger.retry(("failed",))
    assert sound()
    assert ledger.counts() == {"waiting": 4, "done": 1, "rejected": 1}
    ledger.forget(["a"], [])
    ledger.enrol((f"{key}2", place, "s", "P1", f"A{place}", "1", 0, 0, "{}") for place, key in enumerate("abcdef"))
    assert sound()
    assert ledger.tally() == [("waiting", "", 6, 0)]
    ledger.close()


def test_a_ledger_from_before_the_tally_is_counted_once(tmp_path: Path) -> None:
    ledger = _enrolled(tmp_path)
    ledger.record([Outcome("a", "done", Part("parts/a", "a", 10, 3))])
    ledger.close()
    with sqlite3.connect(tmp_path / "ledger.db") as old:
        for name in ("unit_in", "unit_out", "unit_changed"):
            old.execute(f"DROP TRIGGER {name}")
        old.execute("DROP TABLE tally")
    old.close()
    told = [("done", "", 1, 3), ("waiting", "", 2, 0)]
    looked_at = Ledger(tmp_path)
    assert looked_at.tally() == told
    assert looked_at.query("SELECT 1 FROM sqlite_master WHERE name='tally'") == []
    looked_at.close()
    ledger = Ledger(tmp_path, create=True)
    assert ledger.tally() == told
    assert ledger.query("SELECT units FROM tally ORDER BY state") == [(1,), (2,)]
    ledger.close()


def test_an_error_inside_a_batch_makes_nothing_of_it_visible(tmp_path: Path) -> None:
    ledger = _enrolled(tmp_path)
    good = Outcome("a", "done", Part("parts/a", "a", 1, 1))
    with pytest.raises(LedgerError):
        ledger.record([good, Outcome("b", "nonsense")])
    assert ledger.waiting() == {"a", "b", "c"}
    assert ledger.named_files() == set()
    ledger.close()


def test_planning_again_keeps_what_is_done_and_tells_what_is_gone(tmp_path: Path) -> None:
    ledger = _enrolled(tmp_path)
    ledger.record([Outcome("a", "done", Part("parts/a", "a", 1, 1))])
    a, d = (("a", 0, "s", "P1", "A0", "1", 0, 0, "{}"), ("d", 1, "s", "P1", "A9", "1", 0, 0, "{}"))
    with pytest.raises(LedgerError, match="2 units"):
        ledger.enrol([a, d])
    assert ledger.waiting() == {"b", "c"}
    rest = [(key, place, "s", "P1", f"A{place}", "1", 0, 0, "{}") for place, key in enumerate("bc", start=1)]
    ledger.enrol([a, *rest, (*d[:1], 3, *d[2:])])
    assert ledger.waiting() == {"b", "c", "d"}
    assert list(ledger.to_do()) == [1, 2, 3]
    ledger.close()


def test_failed_units_come_again(tmp_path: Path) -> None:
    ledger = _enrolled(tmp_path)
    ledger.record([Outcome("a", "failed", reason="unreachable"), Outcome("b", "rejected", reason="damaged")])
    ledger.retry(("failed",))
    assert ledger.waiting() == {"a", "c"}
    ledger.close()


def test_a_newer_ledger_is_refused_with_the_version_wanted(tmp_path: Path) -> None:
    ledger = _enrolled(tmp_path)
    ledger.put(schema_version="999", made_by="phenostream 9.9.9")
    ledger.close()
    with pytest.raises(LedgerError, match=r"9\.9\.9"):
        Ledger(tmp_path)


def test_no_ledger_and_no_database(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="not a run folder"):
        Ledger(tmp_path)
    (tmp_path / "ledger.db").write_bytes(b"this is not a database, although it is long enough" * 40)
    with pytest.raises(LedgerError, match="not a ledger"):
        Ledger(tmp_path)


def test_commits_are_durable_by_the_documented_settings(tmp_path: Path) -> None:
    ledger = _enrolled(tmp_path)
    assert ledger.query("PRAGMA journal_mode") == [("wal",)]
    assert ledger.query("PRAGMA synchronous") == [(2,)]
    with sqlite3.connect(tmp_path / "ledger.db") as other:
        assert other.execute("SELECT count(*) FROM units").fetchone() == (3,)
    other.close()
    ledger.close()


def test_a_replaced_field_supersedes_its_old_unit_and_part(tmp_path: Path) -> None:
    ledger = _enrolled(tmp_path)
    ledger.record([Outcome("a", "done", Part("parts/a", "a", 1, 1))])
    rows = [(key, place, "s", "P1", f"A{place}", "1", 0, 0, "{}") for place, key in enumerate(["a2", "b", "c"])]
    assert ledger.enrol(rows) == 1
    assert ledger.waiting() == {"a2", "b", "c"}
    assert ledger.named_files() == set()
    ledger.close()
