"""The dependency graph as columns: edges between transactions, hubs for many-to-many edges, and real time as a chain.

Vertices 0..n-1 are transactions, from n on hubs. A hub stands for all edges from those that lead into it to those that
it leads to; no transaction depends on itself through one (see `Fans`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

from results.microops import Flags, Ints, Narrow
from results.transactions import FAIL, NEVER, Transactions

WW, WR, RW, PROCESS, REALTIME, FREE = 0, 1, 2, 3, 4, 5  # FREE: out of a hub, continues whatever led into it
KIND_NAMES = ("ww", "wr", "rw", "process", "realtime")
NO_STEP = -1
SMALL = 100_000  # edges of a graph that is looked through in Python first
DIRECT = 4  # a hub from this many times the edges on that it would need


@dataclass(frozen=True, slots=True)
class Edges:
    """Edges source -> target; `here` and `there` are the micro-operations that prove them, NO_STEP if there is none."""

    source: Narrow
    target: Narrow
    kind: Narrow
    here: Narrow
    there: Narrow

    def __len__(self) -> int:
        return len(self.source)

    def where(self, mask: Flags | Ints) -> Edges:
        """The edges that `mask` selects."""
        return Edges(*(getattr(self, field.name)[mask] for field in fields(self)))


def edges(
    kind: int, source: Ints | Narrow, target: Ints | Narrow, here: Ints | Narrow | None = None,
    there: Ints | Narrow | None = None,
) -> Edges:  # fmt: skip
    """Edges of one kind, without loops: what a transaction owes to itself is no dependency."""
    a: Narrow = source.astype(np.int32, copy=False)
    b: Narrow = target.astype(np.int32, copy=False)
    apart = a != b
    proofs = [None if steps is None else steps.astype(np.int32, copy=False) for steps in (here, there)]
    if not bool(apart.all()):
        a, b = a[apart], b[apart]
        proofs = [None if steps is None else steps[apart] for steps in proofs]
    size = len(a)
    blank = np.full(size, NO_STEP, np.int32)
    first, second = (blank if steps is None else steps for steps in proofs)
    return Edges(a, b, np.full(size, kind, np.int32), first, second)


def joined(parts: Sequence[Edges]) -> Edges:
    """All edges of several sets."""
    none = [np.empty(0, np.int32)]
    return Edges(*(np.concatenate([getattr(part, field.name) for part in parts] or none) for field in fields(Edges)))


@dataclass(frozen=True, slots=True)
class Side:
    """One side of many-to-many edges: transactions (each once a group), the steps that prove it, and their groups."""

    group: Ints
    transaction: Ints | Narrow
    step: Ints

    @staticmethod
    def of(group: Ints, transaction: Ints | Narrow, step: Ints) -> Side:
        """Sorted by group, the first step of each transaction in a group alone."""
        order = np.lexsort((transaction, group))
        group, transaction, step = group[order], transaction[order], step[order]
        fresh = np.ones(len(order), np.bool_)
        fresh[1:] = (group[1:] != group[:-1]) | (transaction[1:] != transaction[:-1])
        return Side(group[fresh], transaction[fresh], step[fresh])

    def where(self, mask: Flags | slice) -> Side:
        """The members that `mask` selects."""
        return Side(self.group[mask], self.transaction[mask], self.step[mask])

    def span(self, groups: Ints) -> tuple[Ints, Ints]:
        """Where each group begins and ends."""
        return np.searchsorted(self.group, groups), np.searchsorted(self.group, groups, "right")


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
        (a, b), (c, d) = left.span(groups), right.span(groups)
        big = (b - a) * (d - c) > DIRECT * (b - a + d - c)
        self._direct(kind, left.where(~np.isin(left.group, groups[big])), right)
        for at in np.flatnonzero(big).tolist():
            self._hub(kind, left.where(slice(a[at], b[at])), right.where(slice(c[at], d[at])))

    def _hub(self, kind: int, left: Side, right: Side) -> None:
        both = np.isin(left.transaction, right.transaction)
        if both.sum() == 1:
            self._direct(kind, left.where(both), right)
            left = left.where(~both)
        hub, self.vertices = self.vertices, self.vertices + 1
        self.parts.append(edges(kind, left.transaction, np.full(len(left.transaction), hub), here=left.step))
        self.parts.append(edges(FREE, np.full(len(right.transaction), hub), right.transaction, there=right.step))

    def _direct(self, kind: int, left: Side, right: Side) -> None:
        first, last = right.span(left.group)
        count = last - first
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
    same = (history.process[before] == history.process[after]) & (history.completed[before] != NEVER)
    return edges(PROCESS, before[same], after[same])


def time_chain(history: Transactions, first: int) -> tuple[Narrow, Narrow, int]:
    """Real-time order in linear space: sources, targets, and how many vertices it adds, counting from `first`.

    The moments at which transactions end form a chain, those without a beginning in between as one. A transaction leads
    to the moment after its end, a moment to the next one and to all transactions that begin before that. So A reaches B
    through the chain if and only if A ended before B began (by rank; equal ranks are concurrent).
    """
    ended = np.flatnonzero(history.completed != NEVER)
    began = np.flatnonzero(history.status != FAIL)
    begins = history.invoked[began]
    end_place = _begun(begins, history.completed[ended], 0)  # how many began up to that end
    begin_place = _begun(begins, begins, 1)  # how many began before that beginning
    marked = np.zeros(len(began) + 1, np.int32)
    marked[end_place] = 1
    moment = np.cumsum(marked, dtype=np.int32) - np.int32(1)  # by place: the last one up to it, -1 before the first
    moments = int(moment[-1]) + 1
    begin_moment = moment[begin_place]
    late = begin_moment >= 0
    chain = np.arange(first, first + moments, dtype=np.int32)
    sources = np.concatenate([ended.astype(np.int32), chain[:-1], begin_moment[late] + np.int32(first)])
    targets = np.concatenate([moment[end_place] + np.int32(first), chain[1:], began[late].astype(np.int32)])
    return sources, targets, moments


def _begun(begins: Ints, ranks: Ints, before: int) -> Ints | Narrow:
    """How many begin up to each rank, or, with `before` 1, ahead of it. By a table where the ranks are dense, as those
    are that are counted record by record."""
    if not len(begins) or not len(ranks):
        return np.zeros(len(ranks), np.int32)
    low, high = min(int(begins.min()), int(ranks.min())) - 1, max(int(begins.max()), int(ranks.max()))
    if high - low > 8 * len(begins) + 1024:
        return np.searchsorted(np.sort(begins), ranks, side="left" if before else "right")
    table = np.cumsum(np.bincount(begins - low, minlength=high - low + 1), dtype=np.int32)
    found: Narrow = table[ranks - (low + before)]
    return found


def strongly_connected(source: Ints | Narrow, target: Ints | Narrow, vertices: int) -> Ints | None:
    """Component of each vertex, -1 for those that are alone; None if all are."""
    if len(source) <= SMALL and _acyclic(source, target, vertices):
        return None
    from scipy.sparse import (
        csr_array,
    )  # importing it costs as much as 100,000 edges: not for a small graph without cycles
    from scipy.sparse.csgraph import connected_components

    matrix = csr_array((np.ones(len(source), np.int8), (source, target)), shape=(vertices, vertices))
    count, labels = connected_components(matrix, directed=True, connection="strong")
    if count == vertices:
        return None
    sizes = np.bincount(labels, minlength=count)
    return np.where(sizes[labels] > 1, labels, -1).astype(np.int64)


def _acyclic(source: Ints | Narrow, target: Ints | Narrow, vertices: int) -> bool:
    """Can all vertices be taken one by one, each after those that lead to it?"""
    order = np.argsort(source, kind="stable")
    targets = target[order].tolist()
    first = np.searchsorted(source[order], np.arange(vertices + 1)).tolist()
    waiting = np.bincount(target, minlength=vertices).tolist()
    ready = [vertex for vertex in range(vertices) if not waiting[vertex]]
    taken = 0
    while ready:
        vertex = ready.pop()
        taken += 1
        for after in targets[first[vertex] : first[vertex + 1]]:
            waiting[after] -= 1
            if not waiting[after]:
                ready.append(after)
    return taken == vertices
