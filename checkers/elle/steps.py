"""What micro-operations mean inside their own transaction, and whose write a value is; vectorised."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from results.microops import READ, Flags, Ints
from results.transactions import FAIL, Transactions


@dataclass(frozen=True, slots=True)
class Steps:
    """Per micro-operation, with those of one transaction on one key forming a segment; -1 is "none".

    `key` counts from 0 to `keys` - 1. `before`: writes of the segment before this step. `external`: a read that no
    write of its own transaction precedes.
    """

    key: Ints
    keys: int
    write: Flags
    order: Ints  # steps by segment, each segment in its order
    segment: Ints  # per step
    before: Ints
    external: Flags
    previous: Ints  # the step before it in the segment
    previous_read: Ints
    previous_write: Ints
    last_write: Flags  # the last write of its segment
    first_write: Ints  # of the segment


def steps_of(history: Transactions, kind: int) -> Steps:
    """The steps of a history whose writes are of `kind` (APPEND or WRITE)."""
    key, keys = dense(history.key)
    code = history.owner * max(keys, 1) + key
    order = np.argsort(code, kind="stable")
    size = len(order)
    fresh = np.ones(size, np.bool_)
    fresh[1:] = code[order[1:]] != code[order[:-1]]
    write = history.kind == kind
    if bool(fresh.all()):
        return _apart(key, keys, write, history.kind == READ, order)
    number = np.cumsum(fresh) - 1
    first = np.flatnonzero(fresh)  # place of the first step of each segment
    begin = first[number]
    wrote = write[order]
    until = np.cumsum(wrote)  # writes up to and with this place
    before = (until - wrote) - (until - wrote)[begin]
    total = np.diff(until[np.append(first[1:], size) - 1], prepend=0)[number]  # writes of the segment
    first_write = np.full(size, -1)
    some = total > 0
    first_write[some] = order[wrote][(until - wrote)[begin[some]]]
    back = np.empty(size, np.int64)
    back[order] = np.arange(size)
    previous = np.full(size, -1)
    previous[1:] = np.where(fresh[1:], -1, order[:-1])
    reads = history.kind == READ
    return Steps(
        key, keys, write, order, number[back], before[back], reads & (before[back] == 0), previous[back],
        _latest(reads[order], begin, order)[back], _latest(wrote, begin, order)[back],
        (wrote & (before + 1 == total))[back], first_write[back],
    )  # fmt: skip


def _apart(key: Ints, keys: int, write: Flags, reads: Flags, order: Ints) -> Steps:
    """No transaction has two steps on one key."""
    none, own = np.full(len(order), -1), np.where(write, np.arange(len(order)), -1)
    return Steps(key, keys, write, order, np.arange(len(order)), none + 1, reads, none, none, none, write, own)


def _latest(flag: Flags, begin: Ints, order: Ints) -> Ints:
    """Per place: the step at the latest flagged place before it in its segment, else -1."""
    latest = np.full(len(flag), -1)
    latest[1:] = np.maximum.accumulate(np.where(flag, np.arange(len(flag)), -1))[:-1]
    return np.where(latest >= begin, order[latest], -1)


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
        self._values = np.unique(history.result[written])
        code = self._code(steps.key[written], history.result[written])
        order = np.argsort(code, kind="stable")
        self._codes, self._steps = code[order], written[order]
        twice = np.flatnonzero(self._codes[1:] == self._codes[:-1])
        alive = history.status[history.owner[self._steps]] != FAIL
        self._again = twice[alive[twice] & alive[twice + 1]]
        self._history = history

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
        if not len(self._codes):
            return np.full(len(key), -1)
        place = np.minimum(np.searchsorted(self._values, value), len(self._values) - 1)
        code = key * (len(self._values) + 1) + place
        at = np.minimum(np.searchsorted(self._codes, code), len(self._codes) - 1)
        known = (self._codes[at] == code) & (self._values[place] == value)
        return np.where(known, self._steps[at], -1)
