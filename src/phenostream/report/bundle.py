"""What the page's scripts need, put into the page: the plotting library, the page's own code, and the numbers as JSON.

The content security policy names the hash of each script: nothing else runs, whatever stands in a plate's name.
"""

from __future__ import annotations

import base64
import hashlib
import json
from functools import lru_cache
from importlib import resources, util
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike

_LIBRARY = ("bokeh.min.js", "bokeh-api.min.js")
_OWN = ("core.js", "plates.js", "cells.js", "plots.js", "start.js")


@lru_cache(maxsize=1)
def scripts() -> tuple[str, ...]:
    """The text of the page's scripts, in their order: BokehJS where it is installed, then the page's own."""
    own = resources.files(__package__).joinpath("templates", "scripts")
    code = "\n".join(own.joinpath(name).read_text(encoding="utf-8") for name in _OWN)
    return (*_library(), f'"use strict";\n(() => {{\n{code}}})();\n')


def has_library() -> bool:
    """Whether BokehJS is there to be put into the page."""
    return bool(_library())


@lru_cache(maxsize=1)
def _library() -> tuple[str, ...]:
    found = util.find_spec("bokeh")
    if found is None or not found.submodule_search_locations:
        return ()
    folder = Path(next(iter(found.submodule_search_locations))) / "server" / "static" / "js"
    if not all((folder / name).is_file() for name in _LIBRARY):
        return ()
    # A script element ends at the first closing tag, wherever it stands.
    return tuple((folder / name).read_text(encoding="utf-8").replace("</script", "<\\/script") for name in _LIBRARY)


def policy(texts: Sequence[str]) -> str:
    """The content security policy of a page with exactly these scripts."""
    hashes = " ".join(f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'" for text in texts)
    return f"default-src 'none'; img-src data: blob:; style-src 'unsafe-inline'; script-src {hashes}"


def numbers(values: ArrayLike) -> str:
    """Numbers as base64 of little-endian float32, NaN where there is none."""
    return base64.b64encode(np.ascontiguousarray(values, "<f4").tobytes()).decode()


def as_json(value: Any) -> str:
    """JSON that can stand inside a script element: no tag can end it, no NaN is in it."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    safe = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}
    for letter, written in safe.items():
        text = text.replace(letter, written)
    return text
