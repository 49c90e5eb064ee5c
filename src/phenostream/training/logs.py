"""What a fit tells while it runs: CSV files that resume without a seam, and event files for TensorBoard."""

from __future__ import annotations

import csv
import io
import os
from typing import TYPE_CHECKING, Any

from phenostream.errors import MissingExtraError
from phenostream.training.durable import replace_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path


class Table:
    """A CSV file whose first column is ``step``, rising.

    Opened again after `step` steps, it forgets every later row, and a last row that a kill has torn.
    """

    def __init__(self, path: Path, step: int) -> None:
        self.path = path
        self._columns: list[str] = []
        if path.is_file():
            kept = list(_kept(path.read_text(encoding="utf-8"), step))
            replace_text(path, "".join(kept))
            self._columns = next(csv.reader(kept[:1]), [])

    def add(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Append rows and see them onto the disk. The first row ever names the columns."""
        if not rows:
            return
        text = io.StringIO()
        first = not self._columns
        self._columns = self._columns or list(rows[0])
        writer = csv.DictWriter(text, self._columns, lineterminator="\n")
        if first:
            writer.writeheader()
        writer.writerows(rows)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(text.getvalue())
            file.flush()
            os.fsync(file.fileno())


def _kept(text: str, step: int) -> list[str]:
    header, *rows = text.splitlines(keepends=True) or [""]
    if not header.endswith("\n"):
        return []
    kept = [header]
    for row in rows:
        whole = row.endswith("\n") and row.count(",") == header.count(",")
        if not whole or int(row.partition(",")[0]) > step:
            break
        kept.append(row)
    return kept if len(kept) > 1 else []


class Journal:
    """Everything that a fit logs, of the one process that writes.

    It goes on after `step` steps, the last of which that had been validated was `validated`.
    """

    def __init__(self, folder: Path, step: int = 0, validated: int = 0, *, tensorboard: bool) -> None:
        self._steps = Table(folder / "steps.csv", step)
        self._validations = Table(folder / "validations.csv", validated)
        self._events = _events(folder / "tensorboard", step) if tensorboard else None

    def steps(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Log steps: ``step``, ``epoch``, and numbers."""
        self._steps.add(rows)
        self._tell("train", rows)

    def validation(self, row: Mapping[str, Any]) -> None:
        """Log one validation: ``step``, ``epoch``, and metrics."""
        self._validations.add([row])
        self._tell("validation", [row])

    def flush(self) -> None:
        """See to it that the event files hold what was logged."""
        if self._events:
            self._events.flush()

    def close(self) -> None:
        """End the event files."""
        if self._events:
            self._events.close()

    def _tell(self, group: str, rows: Sequence[Mapping[str, Any]]) -> None:
        if self._events is None:
            return
        for row in rows:
            for name, value in row.items():
                if name not in ("step", "epoch"):
                    self._events.add_scalar(f"{group}/{name}", value, row["step"])


def _events(folder: Path, step: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415
    except ImportError as error:
        raise MissingExtraError.of("tensorboard", "train") from error
    # Events after the checkpoint belong to steps that are taken again: TensorBoard forgets them.
    return SummaryWriter(folder, purge_step=step + 1 if step else None)
