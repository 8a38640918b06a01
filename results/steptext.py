"""Micro-operations from the plain text of transactions to columns: no Python object a step or a list element.

Plain is what our own lab writes: verbs, whole numbers below NAMED, null, and lists of such numbers. The text is JSON
that msgspec has been over already (a `msgspec.Raw`), so brackets match and commas stand between things. What is left to
find out is whether it has the shape of transactions; every character is accounted for. Of anything else nothing is said
here: the general way reads or refuses it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from results.microops import APPEND, NAMED, NIL, READ, WRITE, Columns, Flags, Ints

Bytes: TypeAlias = NDArray[np.uint8]

_BLANK = b" \t\r\n"
_NO_WORD = b"0123456789-,[]"
_QUOTE, _COMMA, _MINUS, _ZERO, _OPEN, _CLOSE, _N = b'",-0[]n'
_REACH = 12  # how far ahead it is looked, whatever is there
_MOST_DIGITS = 19  # that 64 bits can hold without a sign
_VERBS = {b'"append"': APPEND, b'"w"': WRITE, b'"r"': READ}
_KIND_OF = np.zeros(256, np.int8)
_KIND_OF[[word[1] for word in _VERBS]] = list(_VERBS.values())
_LENGTH_OF = np.zeros(len(_VERBS), np.int64)
_LENGTH_OF[list(_VERBS.values())] = list(map(len, _VERBS))


def plain_columns(values: Sequence[bytes]) -> Columns | None:
    """The columns of encoded transactions; None if they are not plain."""
    text = b",".join(values)
    if any(blank in text for blank in _BLANK):
        if text.count(_QUOTE) != 2 * sum(map(text.count, _VERBS)):  # "r " is no verb
            return None
        values = [bytes(value).translate(None, _BLANK) for value in values]
        text = b",".join(values)
    try:
        return _columns(text, np.fromiter(map(len, values), np.int64, len(values)))
    except _NotPlainError:
        return None


class _NotPlainError(ValueError):
    """Something else is in the text."""


def _demand(*conditions: Flags | np.bool_ | bool) -> None:
    for condition in conditions:
        if not np.all(condition):
            raise _NotPlainError


def _columns(source: bytes, lengths: Ints) -> Columns:
    text = np.frombuffer(source + bytes(_REACH), np.uint8)
    digit = text - _ZERO < 10
    begin = np.cumsum(lengths + 1) - (lengths + 1)
    _demand(text[begin] == _OPEN, (text[begin + 1] == _OPEN) | (text[begin + 1] == _CLOSE))
    steps = np.flatnonzero((text[:-1] == _OPEN) & (text[1:] == _QUOTE))
    kind = _KIND_OF[text[steps + 2]]
    comma = steps + 1 + _LENGTH_OF[kind]  # behind the verb
    _demand(text[comma - 1] == _QUOTE, text[comma] == _COMMA, digit[comma + 1] | (text[comma + 1] == _MINUS))
    ends = np.flatnonzero(digit[:-1] & ~digit[1:]) + 1  # of numbers
    key = np.searchsorted(ends, comma, "right")
    _demand(text[ends[key]] == _COMMA)
    at = ends[key] + 1  # of the value
    listed, nothing = text[at] == _OPEN, text[at] == _N
    single = ~listed & ~nothing
    _demand(single | (kind == READ))
    numbers = np.diff(key, append=len(ends)) - 1  # from the key to the next step's
    _demand(numbers[nothing] == 0, numbers[single] == 1)
    full = listed & (numbers > 0)
    last = ends[(key + numbers)[full]]  # where the last element ends
    _demand(digit[at[full] + 1] | (text[at[full] + 1] == _MINUS), text[last] == _CLOSE)
    empty = at[listed & ~full] + 1
    _demand(text[empty] == _CLOSE)
    close = at + 4  # of the step: behind null
    close[full], close[listed & ~full], close[single] = last + 1, empty + 1, ends[key[single] + 1]
    behind = text[close + 1]
    _demand(text[close] == _CLOSE, (behind == _CLOSE) | ((behind == _COMMA) & (text[close + 2] == _OPEN)))
    # A number behind a list would be taken for an element of it.
    _demand(~((text[:-2] == _CLOSE) & (text[1:-1] == _COMMA) & (digit[2:] | (text[2:] == _MINUS))))
    lists = int(listed.sum())
    _demand(np.count_nonzero(text == _OPEN) == len(lengths) + len(steps) + lists)
    _only_words(source, np.bincount(kind, minlength=len(_VERBS)).tolist(), int(nothing.sum()))
    value = _numbers(text, digit, ends)
    result = np.full(len(steps), NIL, np.int64)
    result[single], result[listed] = value[key[single] + 1], np.arange(lists)
    element = np.ones(len(value), np.bool_)
    element[key] = element[key[single] + 1] = False
    counts = np.diff(np.searchsorted(steps, begin), append=len(steps))
    return Columns(counts, kind, value[key], result, listed, numbers[listed], value[element])


def _only_words(source: bytes, verbs: list[int], nulls: int) -> None:
    """Besides numbers and what holds them together there are so many verbs and nulls, and nothing else."""
    words = source.translate(None, _NO_WORD)
    known = {**{word: verbs[kind] for word, kind in _VERBS.items()}, b"null": nulls}
    _demand(len(words) == sum(len(word) * count for word, count in known.items()))
    _demand(all(words.count(word) == count for word, count in known.items()))


def _numbers(text: Bytes, digit: Flags, ends: Ints) -> Ints:
    """The value of each number."""
    ones = text - _ZERO
    two = ones[1:] + (ones[:-1] * digit[:-1]) * np.uint8(10)  # of two digits, at the second one, or of one
    value = two[ends - 2].astype(np.uint64)
    longer, place = np.flatnonzero(digit[ends - 2] & digit[ends - 3]), 3
    while len(longer):
        _demand(place <= _MOST_DIGITS)
        value[longer] += np.uint64(10 ** (place - 1)) * ones[ends[longer] - place]
        place += 1
        longer = longer[digit[ends[longer] - place]]
    _demand(value < NAMED)
    result = value.view(np.int64)
    if (text == _MINUS).any():
        start = np.flatnonzero(digit[1:] & ~digit[:-1]) + 1
        negative = text[start - 1] == _MINUS
        result[negative] = -result[negative]
    return result
