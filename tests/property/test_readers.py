"""Readers of outside files on edited golden files: accepted rightly, or refused with a reason (see tests/fuzzing)."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzzing.targets import TARGETS, seeds

PIECES = [
    b"", b"\n", b"\x00", b"\xff", b'"', b"\\", b"{", b"}", b"[", b"]", b",", b":", b"null", b"true", b"-1", b"1e999",
    b"9223372036854775808", b'"\\ud800"', b"\xed\xa0\x80", b"[[[[[[[[", b'"time":1,"time":2,', b"#_", b";", b"nan",
]  # fmt: skip
EDITS = st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 40), st.sampled_from(PIECES)), min_size=1, max_size=4)


@pytest.mark.parametrize("name", TARGETS)
@settings(max_examples=40)
@given(data=st.data(), edits=EDITS)
def test_edited_files(name: str, data: st.DataObject, edits: list[tuple[int, int, bytes]]) -> None:
    text = data.draw(st.sampled_from(seeds(name)))
    for place, gone, new in edits:
        at = place % (len(text) + 1)
        text = text[:at] + new + text[at + gone :]
    TARGETS[name](text)


@pytest.mark.parametrize("name", TARGETS)
@settings(max_examples=40)
@given(data=st.binary(max_size=200))
def test_bytes_at_random(name: str, data: bytes) -> None:
    TARGETS[name](data)
