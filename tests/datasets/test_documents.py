"""Documents: every changed byte is noticed, spaces and order of keys included."""

import json

import pytest

from phenostream.datasets.documents import plain, seal, unseal
from phenostream.errors import DamagedError

TOLD = {"name": "Zellkern é", "share": 0.05, "shape": [6, 512, 512], "none": None, "inner": {"b": 1, "a": "x"}}


def test_what_is_sealed_comes_back():
    assert unseal(seal(TOLD), "it") == TOLD
    assert seal(TOLD) == seal(dict(reversed(TOLD.items())))
    assert json.loads(seal(TOLD)) | TOLD == json.loads(seal(TOLD)), "plain JSON for everyone else"


def test_no_byte_can_change_unnoticed():
    payload = seal(TOLD)
    for place in range(len(payload)):
        for bit in (0x01, 0x20):
            changed = payload[:place] + bytes([payload[place] ^ bit]) + payload[place + 1 :]
            with pytest.raises(DamagedError, match=r"^it is"):
                unseal(changed, "it")


@pytest.mark.parametrize(
    "payload", [b"", b"{}", b"[]", b"null", b"\xff", plain(TOLD), seal(TOLD)[:-1], seal(TOLD) + b" "]
)
def test_what_was_never_sealed_is_damaged(payload):
    with pytest.raises(DamagedError, match=r"^it is") as caught:
        unseal(payload, "it", remedy="write it again")
    assert caught.value.remedy == "write it again"
