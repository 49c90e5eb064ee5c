"""Exit codes, and errors as a person wants to read them."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

from phenostream import errors

if TYPE_CHECKING:
    from collections.abc import Callable

OK = 0
UNEXPECTED = 1
USAGE = 2
INCOMPLETE = 3
BUSY = 4
DISK = 5
SOURCE = 6
FAULTY = 7
INTERRUPTED = 130

HELP = """\b
Exit codes:
  0    everything asked for is done
  1    an unforeseen error (please report it)
  2    wrong usage, recipe or input array
  3    the run ended, but some inputs were rejected or failed (see `phenostream status`)
  4    another process works in the folder
  5    the disk is full or cannot be written; nothing is lost, run again
  6    a source or a cluster is missing, unreachable, forbidden, changed or damaged
  7    verify found faults that are not repaired, or models test found differences
  130  interrupted; what is done is kept, run again to go on
"""

_CODES: tuple[tuple[type[Exception], int], ...] = (
    (errors.BusyError, BUSY),
    (errors.DiskFullError, DISK),
    (errors.NotFoundError, SOURCE),
    (errors.UnreachableError, SOURCE),
    (errors.BrokenTransferError, SOURCE),
    (errors.ThrottledError, SOURCE),
    (errors.ForbiddenError, SOURCE),
    (errors.ChangedError, SOURCE),
    (errors.DamagedError, SOURCE),
    (errors.HostileError, SOURCE),
    (errors.StepError, UNEXPECTED),
    (errors.PhenostreamError, USAGE),
)


def code_of(error: Exception) -> int:
    """The exit code that tells `error`."""
    return next((code for kind, code in _CODES if isinstance(error, kind)), UNEXPECTED)


def guarded(command: Callable[[], object]) -> int:
    """Run a command; print a named error with its place and remedy instead of a traceback."""
    try:
        command()
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else UNEXPECTED
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        return INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK
    except errors.PhenostreamError as error:
        lines = [f"error: {error.message}", *(f"  where:  {note}" for note in error.place.split("; ") if note)]
        if error.remedy:
            lines.append(f"  remedy: {error.remedy}")
        with suppress(OSError):  # the disk that is full may hold the log that errors go to
            sys.stderr.write("\n".join(lines) + "\n")
            sys.stderr.flush()
        return code_of(error)
    return OK
