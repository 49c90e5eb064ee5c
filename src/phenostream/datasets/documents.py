"""Documents of packs and exports: JSON that carries its own digest, so that a changed byte of it is noticed."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any, Final

from phenostream.errors import DamagedError

if TYPE_CHECKING:
    from collections.abc import Mapping

SEAL: Final = "sha256"
"""The key under which a document has the digest of all the others."""


def digest(payload: bytes) -> str:
    """SHA-256 of `payload`, in hexadecimal digits."""
    return hashlib.sha256(payload).hexdigest()


def plain(told: Mapping[str, Any]) -> bytes:
    """`told` as JSON; the same content gives the same bytes."""
    return (json.dumps(told, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()


def seal(told: Mapping[str, Any]) -> bytes:
    """`told` as JSON, with its digest under the key `SEAL`."""
    return plain({**told, SEAL: digest(plain(told))})


def unseal(payload: bytes, what: str, *, remedy: str = "") -> dict[str, Any]:
    """What was sealed. Raises DamagedError, which calls it `what`, where a single byte is another."""
    try:
        told: dict[str, Any] = json.loads(payload)
        told.pop(SEAL)
        whole = seal(told) == payload
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DamagedError(f"{what} is damaged: {error!r}", remedy=remedy) from error
    if not whole:
        raise DamagedError(f"{what} is not what was written", remedy=remedy)
    return told
