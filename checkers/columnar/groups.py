"""Grouping rows by equal values, without sorting where the values are small numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Ints: TypeAlias = NDArray[np.int64]
Flags: TypeAlias = NDArray[np.bool_]
ROOM = 4  # numbers per row that a table of groups may have before the groups are renumbered
LEAST = 1 << 16


@dataclass(frozen=True)
class Groups:
    """Rows with equal values have equal `key`s, all below `size`."""

    key: Ints
    size: int

    def firsts(self) -> Ints:
        """By key: the first row of its group, -1 if there is none."""
        first = np.full(self.size, -1, np.int64)
        first[self.key[::-1]] = np.arange(len(self.key) - 1, -1, -1)  # of equal keys the last assignment stays
        return first

    def lasts(self) -> Ints:
        """By key: the last row of its group, -1 if there is none."""
        last = np.full(self.size, -1, np.int64)
        last[self.key] = np.arange(len(self.key))
        return last

    def representatives(self) -> Ints:
        """The first row of each group, in order."""
        first = self.firsts()
        return np.sort(first[first >= 0])

    def __len__(self) -> int:
        """How many groups there are."""
        seen = np.zeros(self.size, np.bool_)
        seen[self.key] = True
        return int(seen.sum())

    def differing(self, *contents: Ints) -> Flags:
        """Rows of groups whose rows do not all have the same contents."""
        return self.any(self.unlike(*contents))

    def unlike(self, *contents: Ints) -> Flags:
        """Rows whose contents are not those of the first row of their group."""
        first = self.firsts()[self.key]
        unlike = np.zeros(len(self.key), np.bool_)
        for content in contents:
            unlike |= content != content[first]
        return unlike

    def any(self, rows: Flags) -> Flags:
        """All rows of groups of which one row is flagged."""
        flagged = np.zeros(self.size, np.bool_)
        flagged[self.key[rows]] = True
        return flagged[self.key]

    def counts(self) -> Ints:
        """By key: how many rows."""
        return np.bincount(self.key, minlength=self.size)


def grouped(*columns: Ints) -> Groups:
    """Rows grouped by the values of these columns together."""
    rows = len(columns[0])
    key, size = np.zeros(rows, np.int64), 1
    for column in columns if rows else ():
        low, high = int(column.min()), int(column.max())
        values, span = column, high - low + 1
        if span > max(ROOM * rows, LEAST):
            found, values = np.unique(column, return_inverse=True)
            low, span = 0, len(found)
        key = key * span + (values - low)
        size *= span
        if size > max(ROOM * rows, LEAST):
            found, key = np.unique(key, return_inverse=True)
            size = len(found)
    return Groups(key, size)


def both(one: tuple[Ints, ...], other: tuple[Ints, ...]) -> tuple[Groups, Groups]:
    """Rows of two tables with a common numbering of their groups."""
    whole = grouped(*(np.concatenate(columns) for columns in zip(one, other, strict=True)))
    cut = len(one[0])
    return Groups(whole.key[:cut], whole.size), Groups(whole.key[cut:], whole.size)


def found(one: tuple[Ints, ...], other: tuple[Ints, ...]) -> Flags:
    """Which rows of `one` have the values of some row of `other`."""
    mine, theirs = both(one, other)
    there = np.zeros(mine.size, np.bool_)
    there[theirs.key] = True
    return there[mine.key]


def previous(owner: Ints) -> Ints:
    """For each row the row before it of the same owner, -1 for the first. Rows are in order."""
    order = np.argsort(owner, kind="stable")
    before = np.full(len(owner), -1, np.int64)
    same = owner[order[1:]] == owner[order[:-1]]
    before[order[1:][same]] = order[:-1][same]
    return before


def spread(starts: Ints, lengths: Ints) -> Ints:
    """The numbers starts[i] .. starts[i] + lengths[i] - 1 for each i, one after the other."""
    total = int(lengths.sum())
    ends = np.cumsum(lengths)
    return np.arange(total) - np.repeat(ends - lengths, lengths) + np.repeat(starts, lengths)
