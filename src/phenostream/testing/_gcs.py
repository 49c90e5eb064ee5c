"""The listing and the guard of `phenostream.testing.servers.GcsServer`."""

from __future__ import annotations

import base64
import binascii
import json
from functools import cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs
from xml.sax.saxutils import escape

from phenostream.synthetic.serve import etag

if TYPE_CHECKING:
    from pathlib import Path

_ENTRY = (
    "<Contents><Key>{key}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified>"
    "<ETag>{tag}</ETag><Size>{size}</Size></Contents>"
)


def listing(bucket: Path, query: str, page: int) -> bytes:
    """The answer to a listing (XML API, ``GET Bucket``, version 2): at most `page` names, and where to go on."""
    asked = {name: values[-1] for name, values in parse_qs(query).items()}
    keys = sorted(path.relative_to(bucket).as_posix() for path in bucket.rglob("*") if path.is_file())
    prefix, after = asked.get("prefix", ""), asked.get("continuation-token", "")
    found = [key for key in keys if key.startswith(prefix) and key > after]
    told = "".join(_entry(bucket / key, key) for key in found[:page])
    more = f"<NextContinuationToken>{escape(found[page - 1])}</NextContinuationToken>" if len(found) > page else ""
    text = f"<?xml version='1.0' encoding='UTF-8'?><ListBucketResult>{told}{more}</ListBucketResult>"
    return text.encode()


def _entry(path: Path, key: str) -> str:
    return _ENTRY.format(key=escape(key), tag=escape(etag(path)), size=path.stat().st_size)


class Guard:
    """Lets in who shows a token (JWT, RS256) signed by the service account that it has made."""

    @cached_property
    def _key(self) -> Any:
        from cryptography.hazmat.primitives.asymmetric import rsa  # noqa: PLC0415

        return rsa.generate_private_key(65537, 2048)

    def account(self) -> str:
        """The service account's file (JSON)."""
        from cryptography.hazmat.primitives import serialization as how  # noqa: PLC0415

        pem = self._key.private_bytes(how.Encoding.PEM, how.PrivateFormat.PKCS8, how.NoEncryption()).decode()
        told = {"private_key": pem, "private_key_id": "1", "client_email": "reader@example.org"}
        return json.dumps({"type": "service_account", **told})

    def lets_in(self, authorization: str) -> bool:
        """Whether the ``Authorization`` header holds a token of the account."""
        from cryptography.exceptions import InvalidSignature  # noqa: PLC0415
        from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15  # noqa: PLC0415
        from cryptography.hazmat.primitives.hashes import SHA256  # noqa: PLC0415

        signed, _, signature = authorization.removeprefix("Bearer ").rpartition(".")
        try:
            raw = base64.urlsafe_b64decode(signature + "=" * (-len(signature) % 4))
            self._key.public_key().verify(raw, signed.encode(), PKCS1v15(), SHA256())
        except (InvalidSignature, binascii.Error):
            return False
        return True
