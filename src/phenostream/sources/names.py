"""Keys, URLs and orders of names."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import quote, urlsplit, urlunsplit

from phenostream.errors import HostileError

_DIGITS = re.compile(r"(\d+)")
# What RFC 3986 allows in a path beside letters and digits; everything else is percent-encoded, "%" included, so a key
# can never smuggle an encoded "..".
_SAFE = "/-._~!$&'()*+,;=:@"


def checked(key: str) -> str:
    """`key` itself when it is a clean relative POSIX path.

    Raises HostileError: empty, absolute, an empty, ``.`` or ``..`` part, a NUL.
    """
    if "\0" in key or any(part in {"", ".", ".."} for part in key.split("/")):
        raise HostileError(f"the key {key!r} leaves its store", remedy="keys are relative paths without . and ..")
    return key


def folder(prefix: str) -> str:
    """`prefix` as the beginning of keys: empty, or ending in one slash. Raises HostileError as `checked` does."""
    stripped = prefix.rstrip("/")
    return f"{checked(stripped)}/" if stripped else ""


def join(base: str, key: str) -> str:
    """URL of `key` below the URL `base`; a query of `base` (a signature) stays at the end."""
    parts = urlsplit(base)
    path = f"{parts.path.rstrip('/')}/{quote(key, safe=_SAFE)}"
    return urlunsplit((parts.scheme, parts.netloc, path, parts.query, ""))


def shown(url: str) -> str:
    """`url` for messages and logs: without user, password and query, which may carry secrets."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def is_loopback(host: str) -> bool:
    """Whether `host` is this machine, by its address or as ``localhost``."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def natural(name: str) -> tuple[tuple[int, int, str], ...]:
    """Sort key under which numbers inside names count as numbers: s2 before s10."""
    parts = _DIGITS.split(name)
    return tuple((0, int(part), part) if place % 2 else (1, 0, part) for place, part in enumerate(parts) if part)
