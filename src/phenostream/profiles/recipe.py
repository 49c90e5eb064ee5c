"""A recipe of operations: one YAML file says what is done to a table, step by step."""

from __future__ import annotations

import json
import shutil
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import pyarrow as pa
from pydantic import BaseModel, ByteSize, ConfigDict, Field, ValidationError

from phenostream.errors import DiskFullError, NotFoundError, PhenostreamError, RecipeError
from phenostream.profiles.operating import operation, operation_names, settings_of
from phenostream.profiles.reading import read_foreign
from phenostream.profiles.tables import Files, Held, open_table, write_pieces, write_table
from phenostream.profiles.writing import replacing
from phenostream.values import recipes

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from phenostream.profiles.operating import Outcome
    from phenostream.profiles.tables import Source

_FITTED = "{number:02d}-{name}.fitted.parquet"
_REJECTED = "{number:02d}-{name}.rejected.parquet"


class Frozen(BaseModel):
    """Settings are values: frozen, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Input(Frozen):
    """The table that the steps start from."""

    path: Path = Field(description="run folder, Parquet file, or another program's table; relative to the recipe")
    format: str = Field("auto", description="auto, or the name of a reader")
    options: dict[str, Any] = Field(default_factory=dict, description="settings of that reader")


class ProfilesRecipe(Frozen):
    """What is done to one table."""

    input: Input = Field(description="where the rows come from")
    profiles: tuple[dict[str, Any], ...] = Field(
        min_length=1, description="steps in order, each `name: {settings}`, or the name alone in a mapping"
    )
    memory: ByteSize = Field(ByteSize(4 << 30), description="a table that takes more is kept on disk between steps")

    @classmethod
    def load(cls, recipe: ProfilesRecipe | Mapping[str, Any] | str | Path, overrides: Iterable[str] = ()) -> Self:
        """A recipe from a YAML file or a mapping, with ``input.path=x`` or ``profiles.0.method=mad`` overrides.

        Raises:
            RecipeError: with the key and what was expected; every step's settings are checked, too.
            NotFoundError: no such file.
        """
        base, mapping = _read(recipe)
        for override in overrides:
            _override(mapping, override)
        steps = mapping.get("profiles")
        if isinstance(steps, list):
            mapping["profiles"] = [{step: {}} if isinstance(step, str) else step for step in steps]
        try:
            found = cls.model_validate(mapping)
        except ValidationError as error:
            told = recipes.faults(error, most=1)
            raise RecipeError(told, remedy="a recipe has `input`, `profiles`, `memory`") from error
        found = found.model_copy(update={"input": found.input.model_copy(update={"path": base / found.input.path})})
        for number, step in enumerate(found.profiles, start=1):
            _named(step, number, base)
        return found.model_copy(update={"profiles": tuple(_placed(step, base) for step in found.profiles)})


@dataclass(frozen=True, slots=True)
class Ran:
    """How a recipe ended.

    Attributes:
        out: the table written.
        rows: its rows.
        features: its columns with the role feature.
        steps: what each step told, in order, with its name under ``step``.
    """

    out: Path
    rows: int
    features: int
    steps: tuple[dict[str, Any], ...]


def run_recipe(
    recipe: ProfilesRecipe | Mapping[str, Any] | str | Path, out: str | Path, *, overrides: Iterable[str] = (),
    fitted: str | Path | None = None,
) -> Ran:  # fmt: skip
    """Do the steps of a recipe one after the other, and write the table that comes out.

    Memory stays near ``memory``: a table that would take more is kept as a Parquet file in a working folder beside
    `out` between two steps, which is gone at the end.

    Args:
        recipe: file, mapping or recipe.
        out: Parquet file to write. Beside it, in the folder ``<out>.steps``, what each step fitted and rejected, and
            ``steps.json`` with the resolved recipe and what was told.
        overrides: ``key=value`` as in :meth:`ProfilesRecipe.load`.
        fitted: the ``.steps`` folder of an earlier run: what it fitted is applied instead of fitting anew.

    Raises:
        RecipeError: unknown step or setting, or one that does not suit the table.
        DiskFullError: no room; `out` is as it was.
    """
    told, target = ProfilesRecipe.load(recipe, overrides), Path(out)
    known = _known(fitted, told)
    working = target.with_name(f".{target.name}.working")
    notes = working / "notes"
    with _scratch(working, notes):
        source = _settled(_input(told.input), told, working / "00.parquet")
        steps = []
        for number, step in enumerate(told.profiles, start=1):
            name, settings = _named(step, number)
            done = operation(name).operate(source, settings, known.get(number))
            _note(done, notes, number, name)
            steps.append({"step": name, **done.told})
            source = _settled(done.source, told, working / f"{number:02d}.parquet")
        rows = write_table(source, target)
        _write_json(notes / "steps.json", {"recipe": told.model_dump(mode="json"), "rows": rows, "steps": steps})
        kept = target.with_name(f"{target.name}.steps")
        shutil.rmtree(kept, ignore_errors=True)
        notes.replace(kept)
        return Ran(target, rows, _features(source), tuple(steps))


def recipe_schema() -> dict[str, Any]:
    """JSON Schema of a recipe with the settings of every operation, for editors."""
    whole_schema = ProfilesRecipe.model_json_schema()
    steps = {name: operation(name).Settings.model_json_schema() for name in operation_names()}
    whole_schema["properties"]["profiles"]["items"] = {
        "oneOf": [
            {"type": "object", "properties": {name: schema}, "required": [name]} for name, schema in steps.items()
        ]
    }
    return whole_schema


def _input(given: Input) -> Source:
    if given.format == "auto" and given.path.suffix == ".parquet" and not given.options:
        return _roles_or_names(given.path)
    return read_foreign(given.path, given.format, **given.options)


def _roles_or_names(path: Path) -> Source:
    """A Parquet file of this package says its roles itself; any other is read by its names."""
    found = open_table(path)
    told = any(field.metadata and b"phenostream" in field.metadata for field in found.schema())
    return found if told else read_foreign(path, "table")


def _settled(source: Source, told: ProfilesRecipe, spool: Path) -> Source:
    """`source` read once, into memory where it fits, else into a file: no step computes another's work twice."""
    if isinstance(source, Held | Files):
        return source
    pieces, waiting, size = source.tables(), [], 0
    for table in pieces:
        waiting.append(table)
        size += table.nbytes
        if size > told.memory // 3:
            return _spooled(chain(waiting, pieces), source, spool)
    return Held(pa.concat_tables(waiting))


def _spooled(pieces: Iterable[pa.Table], source: Source, spool: Path) -> Source:
    write_pieces(pieces, source.schema(), spool)
    for earlier in spool.parent.glob("*.parquet"):
        if earlier != spool:
            earlier.unlink()
    return open_table(spool)


def _note(done: Outcome, notes: Path, number: int, name: str) -> None:
    for table, pattern in ((done.fitted, _FITTED), (done.rejected, _REJECTED)):
        if table is not None:
            write_plain(table, notes / pattern.format(number=number, name=name))


def write_plain(table: pa.Table, path: Path) -> None:
    """A small table as Parquet, its schema metadata kept; whole or not at all."""
    from pyarrow import parquet  # noqa: PLC0415

    with replacing(path) as temporary:
        parquet.write_table(table, temporary, compression="zstd", write_page_checksum=True)


def read_plain_parquet(path: Path) -> pa.Table:
    """What :func:`write_plain` wrote. Raises NotFoundError."""
    from pyarrow import parquet  # noqa: PLC0415

    if not path.is_file():
        raise NotFoundError(f"nothing fitted at {path}", remedy="give the .steps folder of an earlier run")
    return parquet.ParquetFile(path, page_checksum_verification=True).read()


def _known(fitted: str | Path | None, told: ProfilesRecipe) -> dict[int, pa.Table]:
    """What an earlier run fitted, by number of the step; read before anything is replaced."""
    if fitted is None:
        return {}
    if not Path(fitted).is_dir():
        raise NotFoundError(f"nothing fitted at {fitted}", remedy="give the .steps folder of an earlier run")
    names = [_named(step, number)[0] for number, step in enumerate(told.profiles, start=1)]
    files = {number: Path(fitted) / _FITTED.format(number=number, name=name) for number, name in enumerate(names, 1)}
    return {number: read_plain_parquet(path) for number, path in files.items() if path.is_file()}


def _features(source: Source) -> int:
    from phenostream.values import columns_of  # noqa: PLC0415

    return sum(column.role == "feature" for column in columns_of(source.schema()))


@contextmanager
def _scratch(working: Path, notes: Path) -> Iterator[None]:
    """The working folder, gone at the end; what a killed run left there is gone before."""
    if not working.parent.is_dir():
        raise NotFoundError(f"there is no folder {working.parent}", remedy="make it, or choose another place")
    shutil.rmtree(working, ignore_errors=True)
    try:
        notes.mkdir(parents=True)
        yield
    except OSError as error:
        if isinstance(error, PhenostreamError) or error.errno is None:
            raise
        raise DiskFullError(f"cannot write {error.filename}: {error.strerror}", remedy="free disk space") from error
    finally:
        shutil.rmtree(working, ignore_errors=True)


def _write_json(path: Path, value: Any) -> None:
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(value, indent=2, sort_keys=True, default=str), encoding="utf-8")


def _named(step: Mapping[str, Any], number: int, base: Path | None = None) -> tuple[str, BaseModel]:
    if len(step) != 1:
        raise RecipeError(f"step {number} names {len(step)} operations", remedy="write one `- name: {settings}` a step")
    ((name, given),) = _placed(step, base).items()
    if not isinstance(given, dict):
        raise RecipeError(f"step {number}, {name}: settings are no mapping", remedy="write `name: {key: value}`")
    return name, settings_of(name, given)


def _placed(step: Mapping[str, Any], base: Path | None) -> dict[str, Any]:
    """Tables that a step names lie relative to the recipe."""
    made = {name: given if given is not None else {} for name, given in step.items()}
    for name, given in made.items():
        if base is not None and isinstance(given, dict):
            paths = {key: str(base / given[key]) for key in ("table", "blocklist") if isinstance(given.get(key), str)}
            made[name] = {**given, **paths}
    return made


def _read(recipe: ProfilesRecipe | Mapping[str, Any] | str | Path) -> tuple[Path, dict[str, Any]]:
    if isinstance(recipe, ProfilesRecipe):
        return Path(), recipe.model_dump(mode="json")
    if not isinstance(recipe, str | Path):
        return Path(), json.loads(json.dumps(dict(recipe), default=str))
    path = Path(recipe)
    return path.parent, recipes.read(path, start="`input:`")


def _override(mapping: dict[str, Any], text: str) -> None:
    keys, value = recipes.typed(text, what="the override", example="input.path=x or profiles.0.key=value")
    place: Any = mapping
    *parents, last = keys.split(".")
    for parent in parents:
        place = _below(place, parent, text)
    if (
        isinstance(place, dict)
        and len(place) == 1
        and isinstance(next(iter(place.values())), dict)
        and last not in place
    ):
        # `profiles.0.method`: the step's name need not be repeated.
        place = next(iter(place.values()))
    if not isinstance(place, dict):
        raise RecipeError(f"override {text!r}: nothing there to set")
    place[last] = value


def _below(place: Any, key: str, text: str) -> Any:
    if isinstance(place, list):
        if not key.isdecimal() or int(key) >= len(place):
            raise RecipeError(f"override {text!r}: there is no step {key}", remedy="steps count from 0")
        return place[int(key)]
    if not isinstance(place, dict):
        raise RecipeError(f"override {text!r}: {key} holds no keys")
    return place.setdefault(key, {})
