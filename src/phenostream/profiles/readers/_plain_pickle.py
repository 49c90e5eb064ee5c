"""Plain values out of a pickle without unpickling: no name is imported, nothing is called."""

from __future__ import annotations

import pickletools
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from phenostream.errors import DamagedError, HostileError, PhenostreamError

#: The names that NumPy writes into a pickled array; they are recognised as words, never looked up.
_WORDS = {
    (f"{module}.{inner}", word)
    for module in ("numpy.core", "numpy._core")
    for inner, word in (("multiarray", "_reconstruct"), ("multiarray", "scalar"))
} | {("numpy", "ndarray"), ("numpy", "dtype")}
_MARK = object()
_SIMPLE = {
    "NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": (),
}  # fmt: skip
_LITERALS = frozenset({
    "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "BINBYTES",
    "SHORT_BINBYTES", "SHORT_BINSTRING", "BINSTRING", "INT", "LONG", "FLOAT", "UNICODE", "STRING",
})  # fmt: skip


@dataclass(slots=True)
class _Call:
    """What the pickle would have called, and with what; it is only described."""

    word: str
    arguments: tuple[Any, ...]
    state: Any = None


def plain_dict(data: bytes) -> dict[str, Any]:
    """The dictionary of plain values that a pickled 0-dimensional object array holds.

    The opcodes are read as what they are, a program of a stack machine, by a machine that knows text, numbers, tuples,
    lists, dictionaries and the four names that NumPy uses, and that has no way to import or call anything.

    Raises:
        HostileError: the pickle names anything else.
        DamagedError: it is broken, or no dictionary.
    """
    try:
        found = _run(data)
    except PhenostreamError:
        raise
    except (IndexError, KeyError, ValueError, TypeError, AttributeError) as error:
        raise DamagedError(f"the pickled metadata is broken: {error}") from error
    if isinstance(found, _Call) and found.word == "_reconstruct" and isinstance(found.state, tuple):
        contents = found.state[-1]
        found = contents[0] if isinstance(contents, list) and len(contents) == 1 else None
    if not isinstance(found, dict):
        raise DamagedError("the pickled metadata is no dictionary")
    return {str(key): _plain(value) for key, value in found.items()}


def _run(data: bytes) -> Any:  # noqa: C901, PLR0912  (one branch an opcode)
    stack: list[Any] = []
    memo: dict[int, Any] = {}
    for opcode, value, _ in pickletools.genops(data):
        name, argument = opcode.name, cast("Any", value)
        if name in _LITERALS:
            stack.append(argument)
        elif name in _SIMPLE:
            stack.append(_SIMPLE[name])
        elif name == "EMPTY_DICT":
            stack.append({})
        elif name == "EMPTY_LIST":
            stack.append([])
        elif name == "MARK":
            stack.append(_MARK)
        elif name in ("BINPUT", "LONG_BINPUT", "PUT"):
            memo[int(argument)] = stack[-1]
        elif name == "MEMOIZE":
            memo[len(memo)] = stack[-1]
        elif name in ("BINGET", "LONG_BINGET", "GET"):
            stack.append(memo[int(argument)])
        elif name in ("GLOBAL", "STACK_GLOBAL"):
            module, word = argument.split(" ", 1) if name == "GLOBAL" else stack[-2:]
            del stack[len(stack) - (2 if name == "STACK_GLOBAL" else 0) :]
            if (module, word) not in _WORDS:
                raise HostileError(
                    f"the pickled metadata names {module}.{word}", remedy="do not open it elsewhere either"
                )
            stack.append(_Call(word, ()))
        elif name == "REDUCE":
            arguments = stack.pop()
            stack[-1] = _Call(stack[-1].word, tuple(arguments))
        elif name == "BUILD":
            state = stack.pop()
            stack[-1].state = state
        elif name in ("TUPLE1", "TUPLE2", "TUPLE3"):
            size = int(name[-1])
            stack[-size:] = [tuple(stack[-size:])]
        elif name in ("TUPLE", "SETITEMS", "APPENDS"):
            _gather(stack, name)
        elif name == "SETITEM":
            last, key = stack.pop(), stack.pop()
            stack[-1][key] = last
        elif name == "APPEND":
            last = stack.pop()
            stack[-1].append(last)
        elif name == "STOP":
            return stack.pop()
        elif name not in ("PROTO", "FRAME"):
            raise HostileError(f"the pickled metadata does {name}, which plain values need not")
    raise DamagedError("the pickled metadata ends early")


def _gather(stack: list[Any], name: str) -> None:
    start = len(stack) - 1 - stack[::-1].index(_MARK)
    items = stack[start + 1 :]
    del stack[start:]
    if name == "TUPLE":
        stack.append(tuple(items))
    elif name == "APPENDS":
        stack[-1].extend(items)
    else:
        stack[-1].update(zip(items[::2], items[1::2], strict=True))


def _plain(value: Any) -> Any:
    if isinstance(value, _Call) and value.word == "scalar":
        kind, data = value.arguments
        code = str(kind.arguments[0])
        if code[:1] not in "biufSU" or not isinstance(data, bytes):
            raise DamagedError(f"the metadata holds a value of type {code!r}")
        return np.frombuffer(data, np.dtype(code), 1)[0].item()
    if isinstance(value, str | int | float | bool) or value is None:
        return value
    raise DamagedError(f"the metadata holds a {type(value).__name__}, not a plain value")
