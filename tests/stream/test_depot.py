"""Parts in S3 and on shared storage: the same bytes and the same promises as in the run folder."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from itertools import count
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest
from typer.testing import CliRunner

import phenostream
from phenostream import profiles
from phenostream.cli.app import app
from phenostream.errors import (
    BrokenTransferError,
    BusyError,
    DamagedError,
    ExistsError,
    ForbiddenError,
    LedgerError,
    NotFoundError,
    RecipeError,
)
from phenostream.stream import Inline, Progress, run, status
from phenostream.stream.provenance import provenance
from phenostream.stream.recipe import Recipe
from phenostream.stream.verify import repair, verify
from phenostream.testing.killer import Nursery, last_words
from phenostream.testing.plates import FITTED, Result, faults_of, light_recipe, result_of, torn, write_plate
from phenostream.testing.servers import Fault, Faults, S3Server

UNITS = 6
_numbers = count()
Steps = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    pytest.importorskip("moto")
    with S3Server({"bucket": tmp_path_factory.mktemp("empty")}) as server:
        yield server


@pytest.fixture(autouse=True)
def credentials(service: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    service.faults, service.stored = Faults(), []
    for name, value in {
        "AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing", "AWS_ENDPOINT_URL": service.endpoint
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Result]:
    """A recipe, and its result in a run folder."""
    work = tmp_path_factory.mktemp("local")
    recipe = light_recipe(write_plate(work / "images", UNITS)) | FITTED
    run(recipe, work / "run", executor=Inline())
    return recipe, result_of(work / "run")


@pytest.fixture(params=["s3", "share"])
def at(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return _place(request.param, tmp_path)


@pytest.fixture
def bucket(tmp_path: Path) -> str:
    return _place("s3", tmp_path)


def _place(kind: str, folder: Path) -> str:
    return f"s3://bucket/study-{next(_numbers)}" if kind == "s3" else str(folder / "share")


def _into(recipe: dict[str, Any], at: str, **transport: Any) -> dict[str, Any]:
    quick = {"backoff": 0.0, "tries": 3} | transport
    return recipe | {"output": recipe["output"] | {"parts": at, "transport": quick}}


def _held(service: S3Server, at: str) -> dict[str, bytes]:
    """What lies in a bucket below a prefix, or in a folder, by key."""
    if not at.startswith("s3://"):
        return {path.relative_to(at).as_posix(): path.read_bytes() for path in Path(at).rglob("*") if path.is_file()}
    client, prefix = service.client, at.removeprefix("s3://bucket/") + "/"
    keys = [one["Key"] for one in client.list_objects_v2(Bucket="bucket", Prefix=prefix).get("Contents", ())]
    return {key.removeprefix(prefix): client.get_object(Bucket="bucket", Key=key)["Body"].read() for key in keys}


def _spoil(service: S3Server, at: str, key: str, data: bytes | None) -> None:
    """Replace what lies there, or delete it."""
    if not at.startswith("s3://"):
        (Path(at) / key).unlink() if data is None else (Path(at) / key).write_bytes(data)
        return
    name = f"{at.removeprefix('s3://bucket/')}/{key}"
    if data is None:
        service.client.delete_object(Bucket="bucket", Key=name)
    else:
        service.client.put_object(Bucket="bucket", Key=name, Body=data)


def test_a_run_puts_there_what_a_local_run_writes(
    at: str, local: tuple[dict[str, Any], Result], service: S3Server, tmp_path: Path
) -> None:
    recipe, result = local
    told = run(_into(recipe, at), tmp_path / "run", executor=Inline())
    assert (told.done, faults_of(tmp_path / "run", result, UNITS)) == (UNITS, [])
    held = _held(service, at)
    assert tuple(sorted(key for key in held if key.startswith("parts/"))) == result.parts
    assert len([key for key in held if key.startswith("illumination/")]) == 1
    assert {key for key in held if "/" not in key} == {"ledger.db", "run.json", "owner.json", "README.txt"}
    assert not any((tmp_path / "run" / "parts").rglob("*.parquet"))
    assert json.loads(held["run.json"])["recipe"]["output"]["parts"] == at


def test_the_place_alone_is_enough_to_read(at: str, local: tuple[dict[str, Any], Result], tmp_path: Path) -> None:
    recipe, result = local
    run(_into(recipe, at), tmp_path / "run", executor=Inline())
    profiles.export(tmp_path / "run", "csv", tmp_path / "run.csv")
    shutil.rmtree(tmp_path / "run")
    assert phenostream.read_profiles(at).equals(result.rows)
    assert (status(at).done, status(at).waiting) == (UNITS, 0)
    assert verify(at).faults == ()
    with profiles.Manifest(at) as manifest:
        entry = manifest.parts()[0]
    assert profiles.read_part(entry.path, sha256=entry.sha256).num_rows == entry.rows
    assert "phenostream.field" in profiles.part_metadata(entry.path)
    profiles.export(at, "csv", tmp_path / "rows.csv")
    assert (tmp_path / "rows.csv").read_bytes() == (tmp_path / "run.csv").read_bytes()


def test_reads_are_verified(
    bucket: str, local: tuple[dict[str, Any], Result], service: S3Server, tmp_path: Path
) -> None:
    run(_into(local[0], bucket), tmp_path / "run", executor=Inline())
    key = next(key for key in _held(service, bucket) if key.startswith("parts/"))
    _spoil(service, bucket, key, b"PAR1 something else PAR1")
    for place in (bucket, tmp_path / "run"):
        with pytest.raises(DamagedError):
            phenostream.read_profiles(place)
    _spoil(service, bucket, key, None)
    with pytest.raises(NotFoundError):
        phenostream.read_profiles(bucket)
    with pytest.raises(NotFoundError, match="holds no run"):
        phenostream.read_profiles("s3://bucket/nothing-here")


def test_a_copy_of_the_run_folder_or_of_the_bucket_reads_too(
    bucket: str, local: tuple[dict[str, Any], Result], service: S3Server, tmp_path: Path
) -> None:
    run(_into(local[0], bucket), tmp_path / "run", executor=Inline())
    shutil.copytree(tmp_path / "run", tmp_path / "copy")
    assert phenostream.read_profiles(tmp_path / "copy").equals(local[1].rows)
    for key, data in _held(service, bucket).items():
        (tmp_path / "synced" / key).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "synced" / key).write_bytes(data)
    assert phenostream.read_profiles(tmp_path / "synced").equals(local[1].rows)
    for place in (tmp_path / "synced", bucket):
        told = CliRunner().invoke(app, ["status", str(place), "--json"])
        assert (told.exit_code, json.loads(told.stdout)["done"]) == (0, UNITS)


def test_twice_is_once_and_a_larger_study_adds_only_new_units(at: str, service: S3Server, tmp_path: Path) -> None:
    recipe = _into(light_recipe(write_plate(tmp_path / "images", 4)), at)
    run(recipe, tmp_path / "run", executor=Inline())
    before, service.stored = _held(service, at), []
    assert run(recipe, tmp_path / "run", executor=Inline()).done == 4
    assert (_held(service, at), service.stored) == (before, [])
    write_plate(tmp_path / "images", 6)
    assert run(recipe, tmp_path / "run", executor=Inline()).done == 6
    after = _held(service, at)
    assert len([key for key in after if key.startswith("parts/") and key not in before]) == 2
    assert all(after[key] == data for key, data in before.items() if key.startswith("parts/"))


def test_a_changed_input_is_computed_anew_and_its_old_part_swept(at: str, service: S3Server, tmp_path: Path) -> None:
    images = write_plate(tmp_path / "images", 3)
    recipe = _into(light_recipe(images), at)
    run(recipe, tmp_path / "run", executor=Inline())
    old = {key for key in _held(service, at) if key.startswith("parts/")}
    shutil.copy(images / "P1" / "A1_s1_w1.png", tmp_path / "other.png")
    write_plate(tmp_path / "more", 4)
    shutil.copy(tmp_path / "more" / "P1" / "A4_s1_w1.png", images / "P1" / "A1_s1_w1.png")
    run(recipe, tmp_path / "run", executor=Inline())
    new = {key for key in _held(service, at) if key.startswith("parts/")}
    assert (len(new), len(new & old), verify(tmp_path / "run").faults) == (3, 2, ())


# ---- refusals --------------------------------------------------------------------------------------------------------


def test_another_runs_place_and_one_with_other_files_are_refused(
    at: str, local: tuple[dict[str, Any], Result], service: S3Server, tmp_path: Path
) -> None:
    run(_into(local[0], at), tmp_path / "run", executor=Inline())
    before = _held(service, at)
    with pytest.raises(ExistsError, match="another run"):
        run(_into(local[0], at), tmp_path / "other", executor=Inline())
    assert _held(service, at) == before
    other = f"{at}-other"
    Path(other).mkdir() if "://" not in at else None
    _spoil(service, other, "thesis.txt", b"my only copy")
    with pytest.raises(ExistsError, match="other files"):
        run(_into(local[0], other), tmp_path / "third", executor=Inline())
    assert _held(service, other) == {"thesis.txt": b"my only copy"}


def test_parts_stay_where_they_are(at: str, local: tuple[dict[str, Any], Result], tmp_path: Path) -> None:
    recipe = local[0]
    run(_into(recipe, at), tmp_path / "run", executor=Inline())
    with pytest.raises(LedgerError, match=r"set output\.parts to that"):
        run(recipe, tmp_path / "run", executor=Inline())
    with pytest.raises(LedgerError, match=r"bring output\.parts back"):
        run(_into(recipe, f"{at}-elsewhere"), tmp_path / "run", executor=Inline())
    run(recipe, tmp_path / "here", executor=Inline())
    with pytest.raises(LedgerError, match="lie in the run folder"):
        run(_into(recipe, f"{at}-later"), tmp_path / "here", executor=Inline())


def test_a_place_inside_the_run_folder_is_refused(local: tuple[dict[str, Any], Result], tmp_path: Path) -> None:
    for inside in (tmp_path / "run", tmp_path / "run" / "parts", tmp_path):
        with pytest.raises(RecipeError, match="in each other"):
            run(_into(local[0], str(inside)), tmp_path / "run", executor=Inline())


def test_two_copies_of_a_run_folder_do_not_sweep_each_others_parts(at: str, service: S3Server, tmp_path: Path) -> None:
    recipe = _into(light_recipe(write_plate(tmp_path / "images", 2)), at)
    run(recipe, tmp_path / "run", executor=Inline())
    shutil.copytree(tmp_path / "run", tmp_path / "copy")
    write_plate(tmp_path / "images", 3)
    run(recipe, tmp_path / "run", executor=Inline())
    before = _held(service, at)
    with pytest.raises(BusyError, match="has gone on"):
        run(recipe, tmp_path / "copy", executor=Inline())
    assert _held(service, at) == before


def test_a_lost_run_folder_goes_on_from_what_lies_there(
    at: str, local: tuple[dict[str, Any], Result], service: S3Server, tmp_path: Path
) -> None:
    recipe, result = local
    assert run(_into(recipe, at), tmp_path / "run", executor=Inline(), progress=_after(3)).interrupted
    shutil.rmtree(tmp_path / "run")
    (tmp_path / "new").mkdir()
    for name in ("ledger.db", "run.json"):
        (tmp_path / "new" / name).write_bytes(_held(service, at)[name])
    told = run(_into(recipe, at), tmp_path / "new", executor=Inline())
    assert (told.done, faults_of(tmp_path / "new", result, UNITS)) == (UNITS, [])


def _after(done: int) -> Callable[[Progress], None]:
    def stop(told: Progress) -> None:
        if told.done >= done:
            raise KeyboardInterrupt

    return stop


# ---- faults ----------------------------------------------------------------------------------------------------------


def test_bad_weather_changes_nothing(
    bucket: str, local: tuple[dict[str, Any], Result], service: S3Server, tmp_path: Path
) -> None:
    rates = {Fault("busy"): 0.1, Fault("broken"): 0.1, Fault("flip"): 0.1, Fault("etag"): 0.1}
    service.faults = Faults(rates=rates, rng=random.Random(4))
    told = run(_into(local[0], bucket, tries=8), tmp_path / "run", executor=Inline())
    assert (told.done, faults_of(tmp_path / "run", local[1], UNITS)) == (UNITS, [])
    assert len(service.faults.met) >= 3


@pytest.mark.parametrize(("kind", "error"), [("forbidden", ForbiddenError), ("broken", BrokenTransferError)])
def test_a_service_that_refuses_stops_the_run_and_nothing_is_lost(
    bucket: str,
    local: tuple[dict[str, Any], Result],
    service: S3Server,
    tmp_path: Path,
    kind: Any,
    error: type[Exception],
) -> None:
    recipe = _into(local[0], bucket)
    service.faults = Faults([None] * 8, rates={Fault(kind): 1.0})
    with pytest.raises(error) as caught:
        run(recipe, tmp_path / "run", executor=Inline())
    assert "step store" in caught.value.place  # type: ignore[attr-defined]
    left = status(tmp_path / "run")
    assert left.rejected == left.failed == 0
    assert left.waiting > 0
    assert torn(tmp_path / "run") == []
    assert not list((tmp_path / "run" / "spool").iterdir())
    service.faults = Faults()
    assert run(recipe, tmp_path / "run", executor=Inline()).done == UNITS
    assert faults_of(tmp_path / "run", local[1], UNITS) == []


def test_a_bucket_that_disappears_is_named(
    local: tuple[dict[str, Any], Result], service: S3Server, tmp_path: Path
) -> None:
    service.client.create_bucket(Bucket="fleeting")

    def vanish(told: Progress) -> None:
        if told.done == 2:
            _empty(service, "fleeting")

    recipe = _into(local[0], "s3://fleeting/study")
    with pytest.raises(NotFoundError, match="check bucket"):
        run(recipe, tmp_path / "run", executor=Inline(), progress=vanish)
    with pytest.raises(NotFoundError, match="check bucket"):
        run(recipe, tmp_path / "run", executor=Inline())
    service.client.create_bucket(Bucket="fleeting")
    with pytest.raises(LedgerError, match="emptied"):
        run(recipe, tmp_path / "run", executor=Inline())
    mended = repair(verify(tmp_path / "run"), executor=Inline())
    assert mended.result
    assert (mended.result.done, mended.after.faults) == (UNITS, ())
    assert faults_of(tmp_path / "run", local[1], UNITS) == []
    _empty(service, "fleeting")


def _empty(service: S3Server, bucket: str) -> None:
    client = service.client
    for one in client.list_objects_v2(Bucket=bucket).get("Contents", ()):
        client.delete_object(Bucket=bucket, Key=one["Key"])
    client.delete_bucket(Bucket=bucket)


def test_a_share_that_goes_away_is_named(local: tuple[dict[str, Any], Result], tmp_path: Path) -> None:
    (tmp_path / "mnt").mkdir()
    recipe = _into(local[0], str(tmp_path / "mnt" / "share"))

    def unmount(told: Progress) -> None:
        if told.done == 2:
            (tmp_path / "mnt").rename(tmp_path / "away")

    with pytest.raises(NotFoundError, match="mounted"):
        run(recipe, tmp_path / "run", executor=Inline(), progress=unmount)
    (tmp_path / "away").rename(tmp_path / "mnt")
    assert run(recipe, tmp_path / "run", executor=Inline()).done == UNITS
    assert faults_of(tmp_path / "run", local[1], UNITS) == []


def test_credentials_of_a_recipe_are_never_written(
    bucket: str, service: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    recipe = _into(
        light_recipe(write_plate(tmp_path / "images", 2)), bucket,
        access_key_id="testing", secret_access_key="open-sesame", endpoint=service.endpoint,
    )  # fmt: skip
    assert run(recipe, tmp_path / "run", executor=Inline(), overrides=["stream.batch_size=1"]).done == 2
    written = [path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()]
    assert not any(b"open-sesame" in data for data in [*written, *_held(service, bucket).values()])


def test_verify_finds_exactly_what_was_spoilt_and_repair_mends_exactly_that(
    at: str, local: tuple[dict[str, Any], Result], service: S3Server, tmp_path: Path
) -> None:
    recipe, result = local
    folder = tmp_path / "run"
    run(_into(recipe, at), folder, executor=Inline())
    held = _held(service, at)
    changed, missing, *rest = (key for key in held if key.startswith("parts/"))
    model = next(key for key in held if key.startswith("illumination/"))
    _spoil(service, at, changed, held[changed][:-1] + bytes([held[changed][-1] ^ 1]))
    _spoil(service, at, missing, None)
    _spoil(service, at, model, b"other")
    _spoil(service, at, rest[0].replace("/parts", "/parts")[:-8] + ".stray", b"foreign")
    found = verify(folder)
    assert sorted((fault.kind, fault.path) for fault in found.faults) == sorted(
        [("damaged", changed), ("missing", missing), ("damaged", model), ("foreign", rest[0][:-8] + ".stray")]
    )
    assert all(fault.plate for fault in found.faults if fault.kind != "foreign")
    service.stored = []
    mended = repair(found, executor=Inline())
    assert (mended.after.faults, mended.changed, mended.refitted) == ((), (), 1)
    assert 2 <= len(mended.recomputed) <= 3
    if at.startswith("s3"):
        again = {path.partition(at.removeprefix("s3:/"))[2].lstrip("/") for path in service.stored}
        assert {changed, missing, model} <= {key for key in again if "/" in key}
        assert len([key for key in again if key.startswith("parts/")]) == len(mended.recomputed)
    assert faults_of(folder, result, UNITS) == []
    assert {key: data for key, data in _held(service, at).items() if "/" in key} == {
        key: data for key, data in held.items() if "/" in key
    }


def test_a_copy_for_reading_is_not_repaired(
    bucket: str, local: tuple[dict[str, Any], Result], service: S3Server, tmp_path: Path
) -> None:
    run(_into(local[0], bucket), tmp_path / "run", executor=Inline())
    _spoil(service, bucket, local[1].parts[0], None)
    with pytest.raises(RecipeError, match="run folder"):
        repair(verify(bucket))


def test_the_ledgers_copy_is_renewed_while_a_run_goes_on(
    bucket: str,
    local: tuple[dict[str, Any], Result],
    service: S3Server,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("phenostream.stream.depot.EVERY", 0.05)
    counts: list[int] = []

    def copies() -> int:
        return sum(path.endswith("ledger.db") for path in service.stored)

    def linger(_: Progress) -> None:
        counts.append(copies())
        deadline = time.monotonic() + 2
        while copies() == counts[0] and time.monotonic() < deadline:
            time.sleep(0.06)

    run(_into(local[0], bucket), tmp_path / "run", executor=Inline(), progress=linger)
    assert copies() > counts[-1] > counts[0] > 0
    assert phenostream.read_profiles(bucket).equals(local[1].rows)


def test_slow_storage_holds_no_more_than_the_budget(
    bucket: str, local: tuple[dict[str, Any], Result], service: S3Server, tmp_path: Path
) -> None:
    service.faults = Faults(rates={Fault("stall", seconds=0.1): 1.0})
    recipe = _into(local[0], bucket) | {"stream": local[0]["stream"] | {"disk_budget": 200_000}}
    told = run(recipe, tmp_path / "run", executor=Inline())
    assert told.done == UNITS
    assert told.peak_disk <= 200_000
    assert faults_of(tmp_path / "run", local[1], UNITS) == []


def test_a_run_that_died_before_it_took_its_depot_is_in_order(
    at: str, local: tuple[dict[str, Any], Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe, folder = _into(local[0], at), tmp_path / "run"
    with monkeypatch.context() as dying:
        dying.setattr("phenostream.stream.depot.RunDepot._take", lambda *_, **__: sys.exit(9))
        with pytest.raises(SystemExit):
            run(recipe, folder, executor=Inline())
    assert verify(folder).faults == ()
    assert run(recipe, folder, executor=Inline()).done == UNITS
    assert faults_of(folder, local[1], UNITS) == []


# ---- kills -----------------------------------------------------------------------------------------------------------


def _kill_often(
    kind: str, work: Path, local: tuple[dict[str, Any], Result], kills: int, seed: int
) -> tuple[int, list[str]]:
    """Kill runs at random moments, two in one folder before it may finish: how many died, and what was wrong.

    A busy machine may be quicker now than when the unbroken run was timed: moments come sooner after each run that got
    away, and folders follow one another until as many died as asked, or twice the folders that this needs were used.
    """
    rng, died, wrong = random.Random(seed), 0, []
    with Nursery() as nursery:
        recipe = _into(local[0], _place(kind, work))
        code, seconds = nursery.run(recipe, work / "unbroken")
        assert (code, faults_of(work / "unbroken", local[1], UNITS)) == (0, [])
        for number in range(kills):
            if died >= kills:
                break
            (work / str(number)).mkdir()
            recipe, out = _into(local[0], _place(kind, work / str(number))), work / f"killed-{number}"
            for _ in range(2):
                child = nursery.start(recipe, out)
                time.sleep(rng.uniform(0, seconds))
                with suppress(ProcessLookupError):
                    os.kill(child, signal.SIGKILL)
                died += (killed := nursery.end() == -signal.SIGKILL)
                seconds *= 1 if killed else 0.7
                wrong += [f"visible after a kill: {fault}" for fault in torn(out)]
            code, _ = nursery.run(recipe, out)
            wrong += [f"exit code {code}: {last_words(out)}"] * (code != 0) + faults_of(out, local[1], UNITS)
    return died, wrong


def test_kills_at_random_moments(local: tuple[dict[str, Any], Result], tmp_path: Path) -> None:
    died, wrong = _kill_often("s3", tmp_path, local, 4, seed=3)
    assert (wrong, died >= 1) == ([], True)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["s3", "share"])
def test_many_kills_at_random_moments(kind: str, local: tuple[dict[str, Any], Result], tmp_path: Path) -> None:
    died, wrong = _kill_often(kind, tmp_path, local, 10, seed=5)
    assert (wrong, died >= 5) == ([], True)


class _Silence(Faults):
    """A storage that takes so many objects, and says nothing of later ones until it is over."""

    def __init__(self, taken: int) -> None:
        super().__init__([None] * taken, rates={Fault("broken"): 1.0})
        self.begun, self.over = Event(), Event()

    def draw(self) -> Fault | None:
        fault = super().draw()
        if fault:
            self.begun.set()
            self.over.wait(240)
            self.over.set()
        return fault


def test_an_interrupt_does_not_wait_for_silent_storage(
    bucket: str, local: tuple[dict[str, Any], Result], service: S3Server, tmp_path: Path
) -> None:
    service.faults = silence = _Silence(7)

    def interrupt() -> None:
        if silence.begun.wait(240):
            os.kill(os.getpid(), signal.SIGINT)

    thread = Thread(target=interrupt)
    thread.start()
    told = run(_into(local[0], bucket, timeout=480), tmp_path / "run", executor=Inline())
    assert told.interrupted
    assert not silence.over.is_set(), "the run waited for the storage"
    silence.over.set()
    thread.join()
    assert 0 < told.done < UNITS
    assert not list((tmp_path / "run" / "spool").glob("*.parquet"))
    assert torn(tmp_path / "run") == []


def test_an_interrupt_keeps_what_has_arrived(bucket: str, local: tuple[dict[str, Any], Result], tmp_path: Path) -> None:
    def stop(told: Progress) -> None:
        if told.done == 3:
            os.kill(os.getpid(), signal.SIGINT)

    told = run(_into(local[0], bucket), tmp_path / "run", executor=Inline(), progress=stop)
    assert told.interrupted
    assert told.done >= 3
    with closing(sqlite3.connect(tmp_path / "run" / "ledger.db")) as ledger:
        named = {row[0] for row in ledger.execute("SELECT path FROM parts")}
    assert len(named) == told.done
    assert torn(tmp_path / "run") == []
    assert run(_into(local[0], bucket), tmp_path / "run", executor=Inline()).done == UNITS
    assert faults_of(tmp_path / "run", local[1], UNITS) == []


def test_where_parts_lie_is_no_step_of_the_recipe() -> None:
    plain = Recipe.load(light_recipe("images"))
    put = Recipe.load(_into(light_recipe("images"), "s3://name:word@bucket/study", access_key_id="id"))
    assert (put.digest(), put.canonical_steps()) == (plain.digest(), plain.canonical_steps())
    assert provenance(put)["recipe"]["output"]["parts"] == "s3://bucket/study"
    secret = Recipe.load(put, ["seed=1"]).output.transport.access_key_id
    assert secret
    assert secret.get_secret_value() == "id"
