"""Plain YAML is read as PyYAML's safe loader reads it; the rest is refused."""

from __future__ import annotations

from contextlib import suppress

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from phenostream.errors import DamagedError, HostileError, PhenostreamError, TooLargeError
from phenostream.inference.yaml_text import read_yaml

plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=20,
)


class _Plain(yaml.SafeDumper):
    def ignore_aliases(self, data: object) -> bool:
        return True


@given(st.dictionaries(st.text(max_size=8), plain, max_size=6))
def test_plain_values_come_back(told: dict[str, object]) -> None:
    text = yaml.dump(told, Dumper=_Plain).encode()
    assert read_yaml(text) == yaml.safe_load(text) == told


@pytest.mark.parametrize(
    "text", ["a: &x [1]\nb: *x", "a: !!python/name:os.system", "a: !local 1", "a: !!binary aGk=", "!!set {a}"]
)
def test_aliases_and_tags_are_refused(text: str) -> None:
    with pytest.raises(HostileError):
        read_yaml(text.encode())


@pytest.mark.parametrize(
    "text", ["a: 1\na: 2", "? [a, b]\n: 1", "{a: 1", "- a", "", "\x00", "a: " + "[" * 100, "a: 2001-99-99"]
)
def test_what_is_no_mapping_is_refused(text: str) -> None:
    with pytest.raises(DamagedError):
        read_yaml(text.encode())


def test_length_is_capped_before_parsing() -> None:
    with pytest.raises(TooLargeError):
        read_yaml(b"a: 1" + b" " * 100, most=100)


@given(st.binary(max_size=100))
def test_noise_is_a_mapping_or_refused_by_name(data: bytes) -> None:
    with suppress(PhenostreamError):
        assert isinstance(read_yaml(data), dict)
