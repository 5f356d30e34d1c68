"""The quick way to canonical bytes is the RFC's way, whatever the value."""

import math

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from storage.canonical import Json, canonical_bytes

LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**53) + 1, 2**53 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.integers(-(2**53) - 9, 2**53 + 9).map(float),
    st.sampled_from([0.0, -0.0, 1.0, 0.05, 1.05, 1e-4, 9.9e-5, 1e-6, 1e-7, 2.0**53, 1e15 + 0.5, 1e16, 1e21, 1e22]),
    st.text(),
    st.sampled_from(["\x00\x1f\x7f\x80\u2028\u2029", '"\\\\/\b\f\n\r\t', "\ud7ff\ue000\uffff\U0001f600"]),
)
VALUES = st.recursive(
    LEAVES, lambda inner: st.one_of(st.lists(inner), st.lists(inner).map(tuple), st.dictionaries(st.text(), inner))
)


@given(VALUES)
def test_every_value_is_written_as_rfc_8785_has_it(value: Json) -> None:
    assert canonical_bytes(value) == rfc8785.dumps(value)


def test_every_character_of_the_basic_plane_is_written_as_rfc_8785_has_it() -> None:
    text = "".join(chr(code) for code in range(0x10000) if not 0xD800 <= code <= 0xDFFF)
    assert canonical_bytes([text]) == rfc8785.dumps([text])
    assert canonical_bytes(dict.fromkeys(text, 0)) == rfc8785.dumps(dict.fromkeys(text, 0))


@pytest.mark.parametrize("value", [2**53, -(2**53), math.nan, math.inf, "\ud800", {"\udfff": 1}, [1, {"a": [2**53]}]])
def test_what_has_no_canonical_form_is_refused(value: Json) -> None:
    with pytest.raises(ValueError, match=r"."):
        canonical_bytes(value)
