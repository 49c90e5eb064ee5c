"""One family of errors: each is also the builtin a caller already catches, and says what to do next.

Every error carries a *reason* (the word under which a rejected input is counted), whether it is *transient* (a retry
may help: the retry policy is in the type), and a *remedy*. Places are added on the way up, :meth:`PhenostreamError.at`.
"""

from __future__ import annotations

from typing import ClassVar, Self, cast


class PhenostreamError(Exception):
    """Root of the family.

    Attributes:
        reason: the word under which the input is counted when this error rejects it.
        transient: whether the same call may succeed later.
        remedy: what the user can do next, a sentence.
    """

    reason: ClassVar[str] = "error"
    transient: ClassVar[bool] = False

    def __init__(self, message: str, *, remedy: str = "") -> None:
        """Keep `message`, and `remedy` as the last line shown."""
        super().__init__(message)
        self.message = message
        self.remedy = remedy

    def at(self, **place: object) -> Self:
        """Add a place (plate, well, site, file, step) and return the same error, to be raised on."""
        words = ", ".join(f"{key} {value}" for key, value in place.items() if value not in (None, ""))
        if words and f"at {words}" not in getattr(self, "__notes__", ()):
            self.add_note(f"at {words}")
        return self

    @property
    def place(self) -> str:
        """Where it happened, innermost first, as one line."""
        return "; ".join(note.removeprefix("at ") for note in getattr(self, "__notes__", ()))

    def alone(self) -> Self:
        """The same error without its cause and traceback, to be sent to another process.

        Dask teaches `pickle` to carry both along, and not every library's errors come back from it.
        """
        return cast("Self", _revive(type(self), self.message, self.remedy, list(getattr(self, "__notes__", ()))))

    def __str__(self) -> str:
        return f"{self.message} ({self.remedy})" if self.remedy else self.message

    def __reduce__(self) -> tuple[object, ...]:
        # The two-argument constructor and the notes do not survive the default pickling between processes.
        return _revive, (type(self), self.message, self.remedy, list(getattr(self, "__notes__", ())))


def _revive(kind: type[PhenostreamError], message: str, remedy: str, notes: list[str]) -> PhenostreamError:
    error = kind(message, remedy=remedy)
    for note in notes:
        error.add_note(note)
    return error


class RecipeError(PhenostreamError, ValueError):
    """A recipe or a setting does not say what it must."""

    reason = "recipe"


class NotFoundError(PhenostreamError, FileNotFoundError):
    """A plate, well, file, array or chunk that was asked for is not there."""

    reason = "missing"

    def __str__(self) -> str:
        return PhenostreamError.__str__(self)


class NotCapturedError(NotFoundError):
    """Bytes that may well exist, but that the capture being read does not hold: nobody asked for them in time."""

    reason = "not-captured"


class DamagedError(PhenostreamError, ValueError):
    """Bytes are there but are not what their format says: truncated, corrupt, a wrong checksum."""

    reason = "damaged"


class HostileError(PhenostreamError, ValueError):
    """A file asks for something no honest file needs: external links, path escapes, code."""

    reason = "hostile"


class TooLargeError(PhenostreamError, ValueError):
    """A claimed size is over the cap, refused before allocation."""

    reason = "too-large"


class OutOfRangeError(PhenostreamError, IndexError):
    """A frame, channel or plane lies outside the image."""

    reason = "out-of-range"


class EmptyError(PhenostreamError, ValueError):
    """An image or movie without pixels or frames."""

    reason = "empty"


class WrongDtypeError(PhenostreamError, TypeError):
    """Pixels of a type the step cannot use."""

    reason = "wrong-dtype"


class WrongShapeError(PhenostreamError, ValueError):
    """An array of a shape the step cannot use, or two arrays that do not fit."""

    reason = "wrong-shape"


class NotFiniteError(PhenostreamError, ValueError):
    """Pixels that are NaN or infinite, where a step needs numbers."""

    reason = "not-finite"


class ChannelMissingError(PhenostreamError, KeyError):
    """A channel that the recipe needs is not in the field."""

    reason = "channel-missing"

    def __str__(self) -> str:
        return PhenostreamError.__str__(self)


class UnreachableError(PhenostreamError, ConnectionError):
    """A host does not answer."""

    reason = "unreachable"
    transient = True

    def __str__(self) -> str:
        return PhenostreamError.__str__(self)


class ClusterError(UnreachableError):
    """The machines that should compute cannot: scheduler gone, other versions installed, images not in sight."""

    reason = "cluster"


class BrokenTransferError(PhenostreamError, ConnectionError):
    """A transfer ended early or stalled."""

    reason = "broken-transfer"
    transient = True

    def __str__(self) -> str:
        return PhenostreamError.__str__(self)


class ThrottledError(PhenostreamError, ConnectionError):
    """A server asks for patience (429, 503); `retry_after` is in seconds, 0 where it did not say."""

    reason = "throttled"
    transient = True

    def __init__(self, message: str, *, remedy: str = "", retry_after: float = 0.0) -> None:
        """Keep the server's own delay."""
        super().__init__(message, remedy=remedy)
        self.retry_after = retry_after

    def __str__(self) -> str:
        return PhenostreamError.__str__(self)


class ForbiddenError(PhenostreamError, PermissionError):
    """A server or a file system refuses access."""

    reason = "forbidden"

    def __str__(self) -> str:
        return PhenostreamError.__str__(self)


class ChangedError(PhenostreamError, ValueError):
    """A source that must stay the same has changed; the message names the files."""

    reason = "changed"


class UnsettledError(ChangedError):
    """A source changed while it was being read: this attempt is void, another may succeed."""

    transient = True


class OverBudgetError(PhenostreamError, OSError):
    """One unit alone needs more disk or memory than the budget allows."""

    reason = "over-budget"

    def __str__(self) -> str:
        return PhenostreamError.__str__(self)


class DiskFullError(PhenostreamError, OSError):
    """The disk is full or cannot be written."""

    reason = "disk-full"

    def __str__(self) -> str:
        return PhenostreamError.__str__(self)


class BusyError(PhenostreamError, BlockingIOError):
    """Another process works in this folder; the message gives its pid."""

    reason = "busy"

    def __str__(self) -> str:
        return PhenostreamError.__str__(self)


class ExistsError(PhenostreamError, FileExistsError):
    """Something is already there under this name, and nobody said that it may be replaced."""

    reason = "exists"

    def __str__(self) -> str:
        return PhenostreamError.__str__(self)


class LedgerError(PhenostreamError, RuntimeError):
    """A run folder that this version or this recipe cannot continue."""

    reason = "ledger"


class LeakageError(PhenostreamError, ValueError):
    """The same experiment, plate or well stands on both sides of a split, or nothing unseen is left to judge by."""

    reason = "leakage"


class DivergedError(PhenostreamError, ArithmeticError):
    """Training has left the numbers: a loss or gradient is NaN or infinite; the message names the step."""

    reason = "diverged"


class StepError(PhenostreamError, RuntimeError):
    """A step failed in a way that nobody foresaw; the message carries the original error."""

    reason = "step-failed"


class MissingExtraError(PhenostreamError, ImportError):
    """An optional dependency is not installed; the remedy is the exact command."""

    reason = "missing-extra"

    def __str__(self) -> str:
        return PhenostreamError.__str__(self)

    @classmethod
    def of(cls, package: str, extra: str) -> MissingExtraError:
        """The error for `package`, which the extra named `extra` brings."""
        return cls(f"{package} is not installed", remedy=f'pip install "phenostream[{extra}]"')
