"""What micro-operations mean inside their own transaction, and whose write a value is; vectorised."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from results.microops import READ, Flags, Ints, Narrow
from results.transactions import FAIL, Transactions

ONE = np.int32(1)
T = TypeVar("T", bound=np.generic)


@dataclass(frozen=True, slots=True)
class Steps:
    """Per micro-operation, with those of one transaction on one key forming a segment; -1 is "none".

    `key` counts from 0 to `keys` - 1. `before`: writes of the segment before this step. `external`: a read that no
    write of its own transaction precedes.
    """

    key: Ints
    keys: int
    write: Flags
    order: Narrow  # steps by segment, each segment in its order
    segment: Narrow  # per step
    before: Narrow
    external: Flags
    previous: Narrow  # the step before it in the segment
    previous_read: Narrow
    previous_write: Narrow
    last_write: Flags  # the last write of its segment
    first_write: Narrow  # of the segment


def steps_of(history: Transactions, kind: int) -> Steps:
    """The steps of a history whose writes are of `kind` (APPEND or WRITE)."""
    key, keys = dense(history.key)
    code = history.owner.astype(np.int64) * max(keys, 1) + key
    order = np.argsort(code, kind="stable").astype(np.int32)
    size = len(order)
    code = code[order]
    fresh = np.ones(size, np.bool_)
    fresh[1:] = code[1:] != code[:-1]
    del code
    write, reads = history.kind == kind, history.kind == READ
    if bool(fresh.all()):
        return _apart(key, keys, write, reads, order)
    number = np.cumsum(fresh, dtype=np.int32) - ONE
    first = np.flatnonzero(fresh).astype(np.int32)  # place of the first step of each segment
    begin = first[number]
    wrote = write[order]
    until = np.cumsum(wrote, dtype=np.int32)  # writes up to and with this place
    earlier = until - wrote
    before = earlier - earlier[begin]
    total = np.diff(until[np.append(first[1:], size) - 1], prepend=np.int32(0))[number]  # writes of the segment
    first_write = np.full(size, -1, np.int32)
    some = total > 0
    first_write[some] = order[wrote][earlier[begin[some]]]
    previous = np.full(size, -1, np.int32)
    previous[1:] = np.where(fresh[1:], -ONE, order[:-1])

    def by_step(of_places: NDArray[T]) -> NDArray[T]:
        found = np.empty_like(of_places)
        found[order] = of_places
        return found

    own = by_step(before)
    return Steps(
        key, keys, write, order, by_step(number), own, reads & (own == 0), by_step(previous),
        by_step(_latest(reads[order], begin, order)), by_step(_latest(wrote, begin, order)),
        by_step(wrote & (before + ONE == total)), by_step(first_write),
    )  # fmt: skip


def _apart(key: Ints, keys: int, write: Flags, reads: Flags, order: Narrow) -> Steps:
    """No transaction has two steps on one key."""
    each = np.arange(len(order), dtype=np.int32)
    none, own = np.full(len(order), -1, np.int32), np.where(write, each, -ONE)
    return Steps(key, keys, write, order, each, none + ONE, reads, none, none, none, write, own)


def _latest(flag: Flags, begin: Narrow, order: Narrow) -> Narrow:
    """Per place: the step at the latest flagged place before it in its segment, else -1."""
    latest = np.full(len(flag), -1, np.int32)
    latest[1:] = np.maximum.accumulate(np.where(flag, np.arange(len(flag), dtype=np.int32), -ONE))[:-1]
    found: Narrow = np.where(latest >= begin, order[latest], -ONE)
    return found


def dense(values: Ints) -> tuple[Ints, int]:
    """The same values counted from 0 (equal for equal, not necessarily all of them used), and how many there may be."""
    if not len(values):
        return values, 0
    low, high = int(values.min()), int(values.max())
    if high - low <= 4 * len(values) + 1024:
        return values - low, high - low + 1
    unique, codes = np.unique(values, return_inverse=True)
    return codes.astype(np.int64), len(unique)


def shared(members: Ints, code: Ints) -> list[list[int]]:
    """The members of each code that several of them have."""
    order = np.argsort(code, kind="stable")
    same = np.flatnonzero(code[order[1:]] == code[order[:-1]])
    found: dict[int, list[int]] = {}
    for place in np.union1d(same, same + 1).tolist():
        found.setdefault(int(code[order[place]]), []).append(int(members[order[place]]))
    return list(found.values())


class Writers:
    """Which step wrote a value of a key; a write that did not fail is preferred to one that did."""

    def __init__(self, history: Transactions, steps: Steps) -> None:
        written = np.flatnonzero(steps.write)
        failed = history.status[history.owner[written]] == FAIL
        written = np.concatenate([written[~failed], written[failed]])
        self._history = history
        self._again: Ints = written[:0]
        self._low, self._span = 0, 0
        self._table: Narrow | None = None
        if self._tabulated(steps, written):
            return
        self._values = np.unique(history.result[written])
        code = self._code(steps.key[written], history.result[written])
        order = np.argsort(code, kind="stable")
        self._codes, self._steps = code[order], written[order]
        twice = np.flatnonzero(self._codes[1:] == self._codes[:-1])
        alive = history.status[history.owner[self._steps]] != FAIL
        self._again = twice[alive[twice] & alive[twice + 1]]

    def _tabulated(self, steps: Steps, written: Ints) -> bool:
        """Make a table of key and value, where that is dense, as counters per key are; False where it is not, or where
        some value was written twice."""
        if not len(written):
            return False
        value = self._history.result[written]
        self._low, high = int(value.min()), int(value.max())
        self._span = high - self._low + 1
        if self._span * steps.keys > 16 * len(written) + 1024:
            return False
        table = np.full(self._span * steps.keys, -1, np.int32)
        table[steps.key[written] * self._span + (value - self._low)] = written
        if np.count_nonzero(table >= 0) != len(written):
            return False
        self._table = table
        return True

    def ambiguous(self, done: str) -> str:
        """Why nothing can be concluded, if some value was written twice to a key; `done` is "appended" or "written"."""
        if not len(self._again):
            return ""
        first, second = (int(self._steps[self._again[0] + offset]) for offset in (0, 1))
        h = self._history
        return (
            f"{h.seen(first)} is {done} to key {h.names.of(int(h.key[first]))} twice ({h.at(int(h.owner[first]))} and "
            f"{h.at(int(h.owner[second]))}): whose it is in a read cannot be told; values must be unique per key"
        )

    def _code(self, key: Ints, value: Ints) -> Ints:
        return key * (len(self._values) + 1) + np.searchsorted(self._values, value)

    def find(self, key: Ints, value: Ints) -> Ints:
        """The writing step of each value of each key, -1 where nobody wrote it."""
        if self._table is not None:
            known = (value >= self._low) & (value < self._low + self._span)
            where = np.where(known, key * self._span + (value - self._low), 0)
            return np.where(known, self._table[where], -1)
        if not len(self._codes):
            return np.full(len(key), -1)
        place = np.minimum(np.searchsorted(self._values, value), len(self._values) - 1)
        code = key * (len(self._values) + 1) + place
        at = np.minimum(np.searchsorted(self._codes, code), len(self._codes) - 1)
        known = (self._codes[at] == code) & (self._values[place] == value)
        return np.where(known, self._steps[at], -1)
