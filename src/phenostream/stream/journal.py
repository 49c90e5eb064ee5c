"""What happened, twice: lines for people (run.log) and JSON lines for scripts (run.jsonl)."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from phenostream.stream.folder import named_disk

if TYPE_CHECKING:
    from pathlib import Path


class Journal:
    """Appends to both logs; every failure carries its id, the same in the ledger, the report and here."""

    def __init__(self, folder: Path) -> None:
        """Open the logs of the run folder. Raises DiskFullError."""
        self._folder = folder
        with named_disk(folder):
            self._human = (folder / "run.log").open("a", encoding="utf-8")
            self._lines = (folder / "run.jsonl").open("a", encoding="utf-8")

    def note(self, event: str, message: str, **details: Any) -> None:
        """One event, in words and as JSON. Raises DiskFullError."""
        now = time.time()
        stamp = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(now))
        record = {"time": round(now, 3), "event": event, "message": message, **details}
        with named_disk(self._folder):
            self._human.write(f"{stamp}  {' '.join(message.split())}\n")
            self._lines.write(json.dumps(record, sort_keys=True, default=str) + "\n")
            self._human.flush()
            self._lines.flush()

    def close(self) -> None:
        """Close both files; lines that a full disk has refused are lost, the ledger has what they said."""
        for file in (self._human, self._lines):
            with suppress(OSError):
                file.close()
