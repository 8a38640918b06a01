"""Shortest paths and cycles within one component of the dependency graph."""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from dataclasses import dataclass

import numpy as np

from checkers.elle.graph import FREE, NO_STEP, PROCESS, REALTIME, RW, WR, Edges
from checkers.elle.models import REALTIME_SUFFIX, SESSION_SUFFIX
from results.microops import Ints
from results.transactions import Transactions


@dataclass(frozen=True, slots=True)
class Hop:
    """One step of a path: a transaction depends on the one before, for the reason that kind and steps give."""

    source: int
    target: int
    kind: int
    here: int = NO_STEP
    there: int = NO_STEP


@dataclass(frozen=True, slots=True)
class Cycle:
    """A cycle, its class, and whether no shorter one of its class can be in its component."""

    kind: str
    hops: tuple[Hop, ...]
    shortest: bool


def classify(hops: list[Hop]) -> str:
    """The class of a cycle: what kinds of edges it takes, and whether rw edges follow each other."""
    kinds = [hop.kind for hop in hops]
    rw = kinds.count(RW)
    adjacent = any(a == RW and b == RW for a, b in zip(kinds, kinds[1:] + kinds[:1], strict=True))
    if rw > 1:
        name = "G2-item" if adjacent else "G-nonadjacent"
    else:
        name = "G-single" if rw else "G1c" if WR in kinds else "G0"
    return name + (REALTIME_SUFFIX if REALTIME in kinds else SESSION_SUFFIX if PROCESS in kinds else "")


MOST_COUNTED = 10_000  # edges to start from


class Budget:
    """How many vertices all searches together may still visit."""

    def __init__(self, visits: int) -> None:
        self.left = visits


class Subgraph:
    """One component: its transactions, the edges among them (through hubs too), and their times."""

    def __init__(self, history: Transactions, edges: Edges, transactions: Ints) -> None:
        self.edges = edges
        vertices = np.unique(np.concatenate([transactions, edges.source, edges.target]))
        order = np.argsort(edges.source, kind="stable")
        self._source, self._target = edges.source[order].tolist(), edges.target[order].tolist()
        self._kind = edges.kind[order].tolist()
        self._here, self._there = edges.here[order].tolist(), edges.there[order].tolist()
        first = np.searchsorted(edges.source[order], vertices)
        last = np.searchsorted(edges.source[order], vertices, "right")
        spans = zip(first.tolist(), last.tolist(), strict=True)
        self._out = {vertex: range(*span) for vertex, span in zip(vertices.tolist(), spans, strict=True)}
        by_begin = transactions[np.argsort(history.invoked[transactions], kind="stable")]
        self._by_begin = by_begin.tolist()
        self._begins = history.invoked[by_begin].tolist()
        self._end = dict(zip(transactions.tolist(), history.completed[transactions].tolist(), strict=True))

    def path(
        self, start: int, goal: int, kinds: frozenset[int], budget: Budget, after_rw: bool | None = None
    ) -> list[Hop] | None:
        """A shortest path along edges of `kinds` (REALTIME among them or not); None if there is none within the budget.

        With `after_rw` given, no two rw edges may follow each other on the path; True: nor may one come first, or last.
        """
        plain = after_rw is None
        origin = (start, bool(after_rw))
        came: dict[tuple[int, bool], tuple[tuple[int, bool], Hop]] = {origin: (origin, Hop(start, start, FREE))}
        queue = deque([origin])
        hubs: set[tuple[int, int]] = set()  # those passed through already, and on what kind of edge
        unreached = len(self._begins) if REALTIME in kinds else 0  # from here on by beginning all have been reached
        while queue and budget.left > 0:
            state = queue.popleft()
            budget.left -= 1
            vertex, limited = state
            hops = self._hops(vertex, kinds - {RW} if limited else kinds, hubs)
            if unreached:
                place = bisect_right(self._begins, self._end[vertex])
                hops += [Hop(vertex, other, REALTIME) for other in self._by_begin[place:unreached]]
                unreached = min(unreached, place)
            budget.left -= len(hops)
            for hop in hops:
                reached = (hop.target, not plain and hop.kind == RW)
                if reached in came:
                    continue
                came[reached] = (state, hop)
                if hop.target == goal and not (after_rw and hop.kind == RW):
                    return _back(came, reached, origin)
                queue.append(reached)
        return None

    def _hops(self, vertex: int, kinds: frozenset[int], hubs: set[tuple[int, int]]) -> list[Hop]:
        """The edges out of a transaction; those through a hub as one, unless it is among `hubs`, which it joins."""
        found: list[Hop] = []
        for edge in self._out.get(vertex, ()):
            target, kind, here = self._target[edge], self._kind[edge], self._here[edge]
            if kind not in kinds:
                continue
            if target in self._end:
                found.append(Hop(vertex, target, kind, here, self._there[edge]))
            elif (target, kind) not in hubs:
                hubs.add((target, kind))
                onward = ((self._target[out], self._there[out]) for out in self._out.get(target, ()))
                found += [Hop(vertex, last, kind, here, there) for last, there in onward if last != vertex]
        return found

    def starts(self, kind: int, labels: Ints, most: int) -> tuple[list[Hop], int]:
        """The first `most` hops of a kind that stay within one of the labelled components, and how many there are."""
        found: list[Hop] = []
        total = 0
        for vertex in self._end:
            label = labels[vertex]
            if label < 0:
                continue
            for hop in self._hops(vertex, frozenset((kind,)), set()):
                if labels[hop.target] == label:
                    total += 1
                    if len(found) < most:
                        found.append(hop)
            if total >= MOST_COUNTED:
                break
        return found, total


def _back(
    came: dict[tuple[int, bool], tuple[tuple[int, bool], Hop]], end: tuple[int, bool], origin: tuple[int, bool]
) -> list[Hop]:
    hops: list[Hop] = []
    state = end
    while state != origin:
        state, hop = came[state]
        hops.append(hop)
    return hops[::-1]
