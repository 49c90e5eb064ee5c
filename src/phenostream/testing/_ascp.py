"""A stand-in for Aspera's ``ascp``: takes its arguments, copies from a folder, and fails as told."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["StandInAscp"]

_SCRIPT = """#!{python} -IS
import json, os, shutil, sys, time

HERE, SERVED = {here!r}, {served!r}
number = 0
while True:  # each run takes the next number, also when several run at once
    try:
        note = os.open(f"{{HERE}}/{{number:04}}.json", os.O_CREAT | os.O_EXCL | os.O_WRONLY)
        break
    except FileExistsError:
        number += 1
with open(f"{{HERE}}/plan") as file:
    plan = json.load(file)
deed = plan[number] if number < len(plan) else {{}}
source, target = sys.argv[-2:]
path = SERVED + source.partition(":")[2]
level = sys.argv[sys.argv.index("-k") + 1] if "-k" in sys.argv else "0"
moved = start = 0


def leave(status, *lines):
    print(*lines, sep="\\n", flush=True)
    told = {{"arguments": sys.argv[1:], "password": os.environ.get("ASPERA_SCP_PASS"), "moved": moved, "start": start}}
    os.write(note, json.dumps(told).encode())
    sys.exit(status)


if "says" in deed:
    leave(deed.get("status", 1), deed["says"])
if os.path.isdir(path):  # as ascp does: folders come with all that they hold
    shutil.copytree(path, target, dirs_exist_ok=True)
    time.sleep(deed.get("hang", 0))
    leave(0)
if not os.path.exists(path):
    leave(1, "ascp: Server aborted session: No such file or directory, exiting.")
size = os.path.getsize(path)
if level != "0" and os.path.exists(target) and os.path.exists(target + ".aspx"):
    start = os.path.getsize(target)
open(target + ".aspx", "w").close()
with open(path, "rb") as come, open(target, "ab" if start else "wb") as go:
    come.seek(start)
    stop = deed.get("after", size)
    while moved < stop - start:
        moved += go.write(come.read(min(1 << 20, stop - start - moved)))
        time.sleep(deed.get("pause", 0))
if "hang" in deed:
    os.write(note, b"{{}}")
    time.sleep(deed["hang"])
if deed.get("status"):
    leave(deed["status"], "ascp: Data transfer timeout, exiting.")
os.unlink(target + ".aspx")
leave(0, *deed.get("quietly", [
    f'LOG FASP Transfer Stop uuid=1 op=recv status=success file="{{target}}" size={{size}} start_byte={{start}}',
    f"Completed: {{size // 1024}}K bytes transferred in 0 seconds",
]))
"""


class StandInAscp:
    """A program that behaves as ``ascp`` does where it matters, for the files below a folder.

    It continues what it has left behind (``-k 1``), copies folders with all that they hold, logs and sums up in ascp's
    words, and ends with its exit status.

    Attributes:
        program: path of the executable.
    """

    def __init__(
        self, served: str | os.PathLike[str], home: str | os.PathLike[str], deeds: Sequence[Mapping[str, Any]] = ()
    ) -> None:
        """Serve `served`; write the program and its notes into the folder `home`.

        The first runs behave as `deeds` say, later ones well: ``says`` (text, then nothing but the exit status),
        ``status`` (exit status), ``after`` (stop at this byte), ``hang`` (seconds of silence then), ``pause`` (seconds
        between mebibytes), ``quietly`` (other last words, a list of lines).
        """
        self._home = Path(home)
        self._home.mkdir(parents=True)
        (self._home / "plan").write_text(json.dumps([dict(deed) for deed in deeds]))
        script = _SCRIPT.format(python=sys.executable, here=str(self._home), served=os.fspath(served))
        self.program = str(self._home / "ascp")
        Path(self.program).write_text(script)
        Path(self.program).chmod(0o755)

    @property
    def runs(self) -> list[dict[str, Any]]:
        """What each run noted: its ``arguments``, the ``password`` given to it, bytes ``moved`` and their ``start``."""
        return [json.loads(note.read_text() or "{}") for note in sorted(self._home.glob("*.json"))]
