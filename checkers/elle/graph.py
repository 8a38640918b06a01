"""The dependency graph as columns: edges between transactions, hubs for many-to-many edges, and real time as a chain.

Vertices 0..n-1 are transactions, from n on hubs. A hub stands for all edges from those that lead into it to those that
it leads to; no transaction depends on itself through one (see `Fans`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

from results.microops import Flags, Ints
from results.transactions import FAIL, OK, Transactions

WW, WR, RW, PROCESS, REALTIME, FREE = 0, 1, 2, 3, 4, 5  # FREE: out of a hub, continues whatever led into it
KIND_NAMES = ("ww", "wr", "rw", "process", "realtime")
NO_STEP = -1


@dataclass(frozen=True, slots=True)
class Edges:
    """Edges source -> target; `here` and `there` are the micro-operations that prove them, NO_STEP if there is none."""

    source: Ints
    target: Ints
    kind: Ints
    here: Ints
    there: Ints

    def __len__(self) -> int:
        return len(self.source)

    def where(self, mask: Flags | Ints) -> Edges:
        """The edges that `mask` selects."""
        return Edges(*(getattr(self, field.name)[mask] for field in fields(self)))


def edges(kind: int, source: Ints, target: Ints, here: Ints | None = None, there: Ints | None = None) -> Edges:
    """Edges of one kind, without loops: what a transaction owes to itself is no dependency."""
    blank = np.full(len(source), NO_STEP)
    all_of = Edges(
        source, target, np.full(len(source), kind), blank if here is None else here, blank if there is None else there
    )
    return all_of.where(source != target)


def joined(parts: Sequence[Edges]) -> Edges:
    """All edges of several sets."""
    none = [np.empty(0, np.int64)]
    return Edges(*(np.concatenate([getattr(part, field.name) for part in parts] or none) for field in fields(Edges)))


@dataclass(frozen=True, slots=True)
class Side:
    """One side of many-to-many edges: transactions (each once a group), the steps that prove it, and their groups."""

    group: Ints
    transaction: Ints
    step: Ints

    @staticmethod
    def of(group: Ints, transaction: Ints, step: Ints) -> Side:
        """Sorted by group, the first step of each transaction in a group alone."""
        order = np.lexsort((transaction, group))
        group, transaction, step = group[order], transaction[order], step[order]
        fresh = np.ones(len(order), np.bool_)
        fresh[1:] = (group[1:] != group[:-1]) | (transaction[1:] != transaction[:-1])
        return Side(group[fresh], transaction[fresh], step[fresh])

    def where(self, mask: Flags) -> Side:
        """The members that `mask` selects."""
        return Side(self.group[mask], self.transaction[mask], self.step[mask])


class Fans:
    """Collects many-to-many edges, everything on the left before everything on the right, in linear space.

    With many on both sides of a group they go through a hub. A transaction on both sides must not reach itself: if it
    is the only such one it is joined directly; two of them do depend on each other both ways, so a hub tells no lie.
    """

    def __init__(self, transactions: int) -> None:
        self.vertices = transactions  # and hubs
        self.parts: list[Edges] = []

    def add(self, kind: int, left: Side, right: Side) -> None:
        """Edges of `kind` from each of `left` to each other one of `right` in the same group."""
        groups = np.intersect1d(left.group, right.group)
        lefts = np.searchsorted(left.group, groups, "right") - np.searchsorted(left.group, groups)
        rights = np.searchsorted(right.group, groups, "right") - np.searchsorted(right.group, groups)
        big = groups[lefts * rights > 4 * (lefts + rights)]
        self._direct(kind, left.where(~np.isin(left.group, big)), right)
        for group in big.tolist():
            self._hub(kind, left.where(left.group == group), right.where(right.group == group))

    def _hub(self, kind: int, left: Side, right: Side) -> None:
        both = np.isin(left.transaction, right.transaction)
        if both.sum() == 1:
            self._direct(kind, left.where(both), right)
            left = left.where(~both)
        hub, self.vertices = self.vertices, self.vertices + 1
        self.parts.append(edges(kind, left.transaction, np.full(len(left.transaction), hub), here=left.step))
        self.parts.append(edges(FREE, np.full(len(right.transaction), hub), right.transaction, there=right.step))

    def _direct(self, kind: int, left: Side, right: Side) -> None:
        first = np.searchsorted(right.group, left.group)
        count = np.searchsorted(right.group, left.group, "right") - first
        a = np.repeat(np.arange(len(left.group)), count)
        b = first[a] + np.arange(len(a)) - np.repeat(np.cumsum(count) - count, count)
        self.parts.append(
            edges(kind, left.transaction[a], right.transaction[b], here=left.step[a], there=right.step[b])
        )


def sessions(history: Transactions) -> Edges:
    """Each committed transaction of a process before the next one of that process."""
    happened = np.flatnonzero(history.status != FAIL)
    order = happened[np.lexsort((history.invoked[happened], history.process[happened]))]
    before, after = order[:-1], order[1:]
    same = (history.process[before] == history.process[after]) & (history.status[before] == OK)
    return edges(PROCESS, before[same], after[same])


def time_chain(history: Transactions, first: int) -> tuple[Ints, Ints, int]:
    """Real-time order in linear space: sources, targets, and how many vertices it adds, counting from `first`.

    The moments at which transactions end form a chain, those without a beginning in between as one. A transaction leads
    to the moment after its end, a moment to the next one and to all transactions that begin before that. So A reaches B
    through the chain if and only if A ended before B began (by rank; equal ranks are concurrent).
    """
    ended = np.flatnonzero(history.status == OK)
    began = np.flatnonzero(history.status != FAIL)
    begins = np.sort(history.invoked[began])
    end_place = np.searchsorted(begins, history.completed[ended], side="right")  # how many began up to that end
    begin_place = np.searchsorted(begins, history.invoked[began], side="left")  # how many began before that beginning
    moments = np.unique(end_place)
    end_moment = np.searchsorted(moments, end_place)
    begin_moment = np.searchsorted(moments, begin_place, side="right") - 1
    late = begin_moment >= 0
    chain = first + np.arange(len(moments))
    sources = np.concatenate([ended, chain[:-1], first + begin_moment[late]])
    targets = np.concatenate([first + end_moment, chain[1:], began[late]])
    return sources, targets, len(moments)


def strongly_connected(source: Ints, target: Ints, vertices: int) -> Ints | None:
    """Component of each vertex, -1 for those that are alone; None if all are."""
    from scipy.sparse import csr_array  # importing it takes a quarter of a second: only where there is a graph
    from scipy.sparse.csgraph import connected_components

    if not len(source):
        return None
    matrix = csr_array((np.ones(len(source), np.int8), (source, target)), shape=(vertices, vertices))
    count, labels = connected_components(matrix, directed=True, connection="strong")
    if count == vertices:
        return None
    sizes = np.bincount(labels, minlength=count)
    return np.where(sizes[labels] > 1, labels, -1).astype(np.int64)
