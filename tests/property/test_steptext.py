"""The fast way from text to columns says the same as the general one, or nothing; and whatever blanks are between."""

from __future__ import annotations

import json

import msgspec
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from results.microops import NAMED, Columns, Names, StepError, flatten
from results.steptext import plain_columns

NUMBERS = st.integers(-3, 120) | st.integers(-(10**19), 10**19) | st.sampled_from([NAMED - 1, NAMED, -NAMED, 10**18])
PLAIN = st.integers(-120, 120) | st.integers(1 - NAMED, NAMED - 1)
STEPS = st.one_of(
    st.tuples(st.just("append"), PLAIN, PLAIN),
    st.tuples(st.just("w"), PLAIN, PLAIN),
    st.tuples(st.just("r"), PLAIN, st.none() | PLAIN | st.lists(PLAIN, max_size=5)),
)
HISTORIES = st.lists(st.lists(STEPS, max_size=4), min_size=1, max_size=5)
# Things that look like steps: every place may hold what belongs to another.
THINGS = st.recursive(
    st.sampled_from(["append", "w", "r", "r ", "rr", "null", "", "\\", "é"]) | st.none() | st.booleans()
    | NUMBERS | st.sampled_from([1.5, 1e300, 2.0]),
    lambda inner: st.lists(inner, max_size=4),
    max_leaves=12,
)  # fmt: skip
ALMOST = st.lists(st.lists(STEPS | st.lists(THINGS, max_size=4) | THINGS, max_size=3) | THINGS, min_size=1, max_size=4)


def encoded(history: list[object], blank: str) -> list[msgspec.Raw]:
    separators = (f"{blank},{blank}", f"{blank}:{blank}")
    texts = [json.dumps(transaction, separators=separators) for transaction in history]
    return [msgspec.json.decode(text, type=msgspec.Raw) for text in texts]


def same(one: Columns, other: Columns) -> bool:
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in Columns.__struct_fields__)


@given(HISTORIES, st.sampled_from(["", " ", "\t", "\r\n "]))
@example([[("r", -0, [10, 200, 3000]), ("append", 7, -12)], []], "")
@example([[]], " ")
def test_what_our_lab_writes_is_plain_and_read_as_the_general_way_reads_it(history: list[object], blank: str) -> None:
    values = encoded(history, blank)
    plain = plain_columns(values)
    assert plain is not None
    assert same(plain, flatten(values, Names()))


@given(ALMOST, st.sampled_from(["", " "]))
@example([[["r", 1, [], 5]]], "")
@example([[["r", 1, [1], 5]]], "")
@example([[["r", 1, [1], [2]]]], "")
@example([[["r", 1, [[1]]]]], "")
@example([[["r", 1, [["r", 2, None]]]]], "")
@example([[["r", 1, None], 5]], "")
@example([[["r", 1]]], "")
@example([[[["r", 1, None]]]], "")
@example([[["r ", 1, None]]], " ")
@example([[["r", 1.5, None]]], "")
@example([[["r", "r", None]]], "")
@example([[["append", 1, None]]], "")
@example([5, [["r", 1, None]]], "")
@example([None], "")
@example([["r"]], "")
@example([["a"]], "")
@example([[["r", 1, NAMED]]], "")
def test_what_is_not_plain_is_left_to_the_general_way(history: list[object], blank: str) -> None:
    values = encoded(history, blank)
    plain = plain_columns(values)
    if plain is not None:
        assert same(plain, flatten(values, Names()))


@pytest.mark.parametrize("text", ['[["r",1,[1,2]]', '["r",1,null]', "[5]", "{}", '"r"', "[[]]"])
def test_no_transaction_is_plain_that_the_general_way_refuses(text: str) -> None:
    values = [msgspec.Raw(text.encode())]
    with pytest.raises(StepError):
        flatten(values, Names())
    assert plain_columns(values) is None
