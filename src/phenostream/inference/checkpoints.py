"""Tensors out of foreign PyTorch checkpoints (``.pth``), without PyTorch and without ever unpickling.

A checkpoint is a zip: ``data.pkl`` is a pickle that names tensors, ``data/0``, ``data/1``, ... hold their numbers
(https://docs.pytorch.org/docs/stable/notes/serialization.html). A pickle is a program. This one is not run by
`pickle`: a small machine of our own follows the few instructions that a dictionary of tensors needs, knows the few
names that PyTorch uses to rebuild one, imports nothing, calls nothing, and refuses a file at the first instruction or
name beyond them. (``torch.load(weights_only=True)`` has the same idea; it needs PyTorch, has had holes
(CVE-2025-32434), and allows what later versions add.)
"""

from __future__ import annotations

import math
import pickletools
import warnings
import zipfile
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from phenostream.errors import DamagedError, HostileError, NotFoundError, TooLargeError

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

__all__ = ["read_checkpoint"]

_DTYPES = {
    "FloatStorage": "<f4", "DoubleStorage": "<f8", "HalfStorage": "<f2", "BFloat16Storage": "bfloat16",
    "LongStorage": "<i8", "IntStorage": "<i4", "ShortStorage": "<i2", "CharStorage": "i1", "ByteStorage": "u1",
    "BoolStorage": "?",
}  # fmt: skip
_INSTRUCTIONS = 5_000_000
_LEAVES = 200_000
_DEPTH = 32
_MARK = object()


@dataclass(frozen=True, slots=True)
class _Name:
    """Something that the pickle would import; here it is only its name."""

    name: str


def read_checkpoint(path: str | os.PathLike[str], *, most_bytes: int = 4 * 2**30) -> dict[str, NDArray[Any]]:
    """All tensors of a checkpoint by name; names of nested dictionaries and lists are joined by dots.

    Everything that is no tensor (epochs, options) is left behind; bfloat16 becomes float32.

    Args:
        path: a file of ``torch.save`` (PyTorch 1.6 or later), of a state dictionary or one that holds such.
        most_bytes: cap on the file and on all tensors together.

    Raises:
        HostileError: the pickle has an instruction or a name that tensors do not need; the message tells which.
        DamagedError: no such checkpoint, or one that contradicts itself.
        TooLargeError: over the caps.
        NotFoundError: no file.
    """
    place = Path(path)
    if not place.is_file():
        raise NotFoundError(f"there is no checkpoint at {place}", remedy="give the path of the .pth file")
    if place.stat().st_size > most_bytes:
        raise TooLargeError(f"{place.name} has {place.stat().st_size:,} bytes, over the cap of {most_bytes:,}")
    try:
        with zipfile.ZipFile(place) as archive:
            return _Checkpoint(archive, most_bytes).tensors()
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, EOFError, RuntimeError) as error:
        raise DamagedError(
            f"{place.name} is no checkpoint that can be read here: {error}",
            remedy="save its state_dict() again with PyTorch 1.6 or later",
        ) from error


class _Checkpoint:
    """The members of one zip."""

    def __init__(self, archive: zipfile.ZipFile, most_bytes: int) -> None:
        self._archive = archive
        self._left = self._room = most_bytes
        self._read: dict[str, bytes] = {}
        self._members = {entry.filename: entry for entry in archive.infolist()}
        roots = [name.removesuffix("data.pkl") for name in self._members if name.rpartition("/")[2] == "data.pkl"]
        if len(roots) != 1 or len(self._members) != len(archive.infolist()):
            raise DamagedError("the file is no PyTorch checkpoint", remedy="save its state_dict() with torch.save")
        self._root = roots[0]
        if self._member("byteorder", b"little") != b"little":
            raise DamagedError("the checkpoint was written by a big-endian machine", remedy="save it again")

    def tensors(self) -> dict[str, NDArray[Any]]:
        value = _Machine(self._storage).run(self._member("data.pkl"))
        named = value if isinstance(value, dict) else {"tensor": value}
        found: dict[str, NDArray[Any]] = {}
        for leaves, (name, one) in enumerate(_leaves(named, "", 0)):
            if leaves > _LEAVES:
                raise TooLargeError(f"the checkpoint holds more than {_LEAVES:,} values")
            if isinstance(one, np.ndarray):
                if name in found:
                    raise DamagedError(f"the checkpoint holds {name} twice")
                self._left -= one.nbytes
                if self._left < 0:
                    raise TooLargeError("the checkpoint's tensors are over the cap")
                found[name] = _from_bfloat16(one) if one.dtype == _BF16 else one.copy()
        return found

    def _member(self, name: str, default: bytes | None = None) -> bytes:
        entry = self._members.get(self._root + name)
        if entry is None:
            if default is None:
                raise DamagedError(f"the checkpoint has no {name}", remedy="get the file again")
            return default
        if entry.compress_type != zipfile.ZIP_STORED:
            raise HostileError(f"{name} is compressed, which PyTorch never does", remedy="save the checkpoint again")
        return self._archive.read(entry)

    def _stored(self, key: str) -> bytes:
        """The bytes of a storage, read once: many tensors may be views of it."""
        if key not in self._read:
            entry = self._members.get(f"{self._root}data/{key}")
            self._room -= entry.file_size if entry else 0
            if self._room < 0:
                raise TooLargeError("the checkpoint's storages are over the cap")
            self._read[key] = self._member(f"data/{key}")
        return self._read[key]

    def _storage(self, kind: str, key: str, count: int) -> NDArray[Any]:
        data = self._stored(key)
        numbers = np.frombuffer(data, _BF16 if _DTYPES[kind] == "bfloat16" else _DTYPES[kind])
        if len(numbers) < count:
            raise DamagedError(f"storage {key} holds {len(numbers):,} numbers, not {count:,}")
        return numbers[:count]


#: NumPy has no bfloat16: its two bytes travel as a type of their own, so that nothing takes them for integers.
_BF16 = np.dtype([("bfloat16", "<u2")])


def _from_bfloat16(array: NDArray[Any]) -> NDArray[np.float32]:
    return (np.ascontiguousarray(array["bfloat16"]).astype("<u4") << 16).view("<f4")


def _leaves(value: Any, name: str, depth: int) -> Iterator[tuple[str, Any]]:
    if depth > _DEPTH:
        raise TooLargeError(f"the checkpoint nests more than {_DEPTH} deep")
    if isinstance(value, dict):
        items: Any = value.items()
    elif isinstance(value, list | tuple):
        items = enumerate(value)
    else:
        yield name, value
        return
    for key, one in items:
        yield from _leaves(one, f"{name}.{key}" if name else str(key), depth + 1)


@dataclass(slots=True)
class _Machine:
    """Follows a pickle without importing or calling anything.

    Values on its stack are numbers, text, tuples, lists, dictionaries, arrays, and `_Name`.
    """

    storage: Callable[[str, str, int], NDArray[Any]]
    stack: list[Any] = field(default_factory=list)
    memo: dict[int, Any] = field(default_factory=dict)

    def run(self, program: bytes) -> Any:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)  # of Python, on escapes that a damaged text has
                for count, (code, argument, _) in enumerate(pickletools.genops(program)):
                    if code.name == "STOP":
                        return self.stack.pop()
                    self._follow(code.name, argument, count)
        except (HostileError, DamagedError, TooLargeError):
            raise
        except (ValueError, IndexError, KeyError, TypeError, OverflowError) as error:
            raise DamagedError(f"the checkpoint's pickle is broken: {error}", remedy="get the file again") from error
        raise DamagedError("the checkpoint's pickle has no end", remedy="get the file again")

    def _follow(self, name: str, argument: Any, count: int) -> None:
        if count > _INSTRUCTIONS:
            raise TooLargeError(f"the checkpoint's pickle has more than {_INSTRUCTIONS:,} instructions")
        if name in _LITERALS:
            self.stack.append(argument)
        elif name in _CONSTANTS:
            self.stack.append(_CONSTANTS[name]())
        elif name in ("BINGET", "LONG_BINGET"):
            self.stack.append(self.memo[argument])
        elif name in ("BINPUT", "LONG_BINPUT"):
            self.memo[argument] = self.stack[-1]
        elif (step := getattr(self, f"_do_{name.lower()}", None)) is not None:
            step(argument)
        else:
            raise HostileError(
                f"the checkpoint's pickle uses {name}, which no tensor needs", remedy="ask for a plain state_dict"
            )

    def _to_mark(self) -> list[Any]:
        at = max(place for place, one in enumerate(self.stack) if one is _MARK)
        found = self.stack[at + 1 :]
        del self.stack[at:]
        return found

    def _do_proto(self, version: int) -> None:
        if not 2 <= version <= 5:
            raise DamagedError(f"the checkpoint's pickle has protocol {version}")

    def _do_frame(self, _: Any) -> None:
        """Only a hint for buffering."""

    def _do_memoize(self, _: Any) -> None:
        self.memo[len(self.memo)] = self.stack[-1]

    def _do_mark(self, _: Any) -> None:
        self.stack.append(_MARK)

    def _do_tuple(self, _: Any) -> None:
        self.stack.append(tuple(self._to_mark()))

    def _do_tuple1(self, _: Any) -> None:
        self.stack[-1:] = [tuple(self.stack[-1:])]

    def _do_tuple2(self, _: Any) -> None:
        self.stack[-2:] = [tuple(self.stack[-2:])]

    def _do_tuple3(self, _: Any) -> None:
        self.stack[-3:] = [tuple(self.stack[-3:])]

    def _do_append(self, _: Any) -> None:
        one = self.stack.pop()
        _as(list, self.stack[-1]).append(one)

    def _do_appends(self, _: Any) -> None:
        found = self._to_mark()
        _as(list, self.stack[-1]).extend(found)

    def _do_setitem(self, _: Any) -> None:
        key, value = self.stack[-2:]
        del self.stack[-2:]
        _as(dict, self.stack[-1])[_key(key)] = value

    def _do_setitems(self, _: Any) -> None:
        found = self._to_mark()
        target = _as(dict, self.stack[-1])
        for key, value in zip(found[::2], found[1::2], strict=True):
            target[_key(key)] = value

    def _do_build(self, _: Any) -> None:
        # A state dictionary carries versions of its layers as an attribute: data, and left behind.
        state = self.stack.pop()
        _as(dict, state)
        _as(dict, self.stack[-1])

    def _do_global(self, argument: str) -> None:
        self._named(argument.replace(" ", ".", 1))

    def _do_stack_global(self, _: Any) -> None:
        module, name = self.stack[-2:]
        del self.stack[-2:]
        self._named(f"{_as(str, module)}.{_as(str, name)}")

    def _named(self, name: str) -> None:
        if name not in _KNOWN and not (name.startswith("torch.") and name.removeprefix("torch.") in _DTYPES):
            raise HostileError(
                f"the checkpoint's pickle asks for {name}, which no tensor needs: it may hold code",
                remedy="ask for a plain state_dict, or for safetensors",
            )
        self.stack.append(_Name(name))

    def _do_binpersid(self, _: Any) -> None:
        told = _as(tuple, self.stack.pop())
        kind, storage, key, _, count = told
        if kind != "storage" or not str(_as(str, key)).isalnum():
            raise DamagedError(f"the checkpoint points to {told[:3]}")
        self.stack.append(self.storage(_as(_Name, storage).name.removeprefix("torch."), key, _count(count)))

    def _do_reduce(self, _: Any) -> None:
        arguments = _as(tuple, self.stack.pop())
        name = _as(_Name, self.stack.pop()).name
        if name not in _KNOWN:
            raise DamagedError(f"the checkpoint's pickle calls {name}")
        self.stack.append(_KNOWN[name](*arguments))


def _tensor(storage: Any, offset: Any, size: Any, strides: Any, *_: Any) -> NDArray[Any]:
    """A view of a storage, as ``torch._utils._rebuild_tensor_v2`` makes it, within its bounds."""
    numbers = _as(np.ndarray, storage)
    shape, steps = ([_count(one) for one in _as(tuple, each)] for each in (size, strides))
    if len(shape) != len(steps) or len(shape) > 32:
        raise DamagedError(f"the checkpoint has a tensor of shape {shape} with strides {steps}")
    last = _count(offset) + sum((length - 1) * step for length, step in zip(shape, steps, strict=True))
    count = math.prod(shape)
    if count and (last >= len(numbers) or count > len(numbers)):
        raise DamagedError(f"the checkpoint has a tensor of shape {shape} beyond its storage")
    if not count:
        return np.zeros(shape, numbers.dtype)
    strides_bytes = [step * numbers.itemsize for step in steps]
    return np.lib.stride_tricks.as_strided(numbers[offset:], shape, strides_bytes, writeable=False)


def _parameter(tensor: Any, *_: Any) -> NDArray[Any]:
    array: NDArray[Any] = _as(np.ndarray, tensor)
    return array


def _ordered(*arguments: Any) -> dict[Any, Any]:
    pairs = arguments[0] if arguments else ()
    return {_key(key): value for key, value in pairs}


_LITERALS = {"BINUNICODE", "SHORT_BINUNICODE", "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT"}
_CONSTANTS: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None, "NEWTRUE": lambda: True, "NEWFALSE": lambda: False,
    "EMPTY_TUPLE": tuple, "EMPTY_LIST": list, "EMPTY_DICT": dict,
}  # fmt: skip
_KNOWN: dict[str, Callable[..., Any]] = {
    "collections.OrderedDict": _ordered,
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_parameter": _parameter,
    "torch.Size": tuple,
}


def _as(kind: Any, value: Any) -> Any:
    if not isinstance(value, kind):
        raise DamagedError(f"the checkpoint's pickle has a {type(value).__name__} where a {kind.__name__} must be")
    return value


def _key(key: Any) -> str | int | float | bool | None:
    if not isinstance(key, str | int | float | bool | None):
        raise DamagedError(f"the checkpoint has a {type(key).__name__} for a key")
    return key


def _count(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise DamagedError(f"the checkpoint has {value!r} for a length")
    return value
