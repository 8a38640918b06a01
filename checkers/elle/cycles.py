"""Cycles of the dependency graph: strongly connected components decide, a bounded breadth-first search explains.

Whether there is a cycle that a model rules out is decided over the whole graph, in linear time and exactly (but see
`Graph.suspects`). The search then looks for the shortest cycle of each kind; what a bound left out is told.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from checkers.elle.findings import Inference
from checkers.elle.graph import (
    FREE,
    PROCESS,
    REALTIME,
    RW,
    WR,
    WW,
    Edges,
    joined,
    sessions,
    strongly_connected,
    time_chain,
)
from checkers.elle.models import CYCLES, REALTIME_SUFFIX, SESSION_SUFFIX
from checkers.elle.path import Budget, Cycle, Hop, Subgraph, classify
from results.microops import Ints
from results.transactions import Transactions

MOST_COMPONENTS = 64  # searched one by one, the smallest first
MOST_STARTS = 64  # edges of one component from which a cycle of one class is looked for
MOST_VISITS = 3_000_000  # vertices visited by all searches together: some seconds

_DATA = {
    "G0": frozenset((WW,)),
    "G1c": frozenset((WW, WR)),
    "G-single": frozenset((WW, WR)),  # besides the one rw edge that it starts with
    "G-nonadjacent": frozenset((WW, WR, RW)),
    "G2-item": frozenset((WW, WR, RW)),
}
_START = {"G0": WW, "G1c": WR, "G-single": RW, "G-nonadjacent": RW, "G2-item": RW}
_LAYERS = {"": frozenset[int](), SESSION_SUFFIX: frozenset((PROCESS,)), REALTIME_SUFFIX: frozenset((PROCESS, REALTIME))}


@dataclass
class Cycles:
    """What was found: a cycle per kind and component; how many components have one; what was not searched."""

    found: list[Cycle] = field(default_factory=list)
    components: int = 0
    largest: int = 0
    not_searched: list[str] = field(default_factory=list)
    allowed: bool = False  # all was searched, and what cycles there are (of G-nonadjacent) the model allows


def search(history: Transactions, inference: Inference, ruled_out: frozenset[str]) -> Cycles:
    """Cycles of the kinds in `ruled_out`."""
    layers = ["", *(suffix for suffix in (SESSION_SUFFIX, REALTIME_SUFFIX) if f"G0{suffix}" in ruled_out)]
    classes = [name for name in CYCLES if name in ruled_out]
    graph = Graph(history, inference, layers[-1])
    members = graph.suspects(classes[-1])
    cycles = Cycles(components=len(members), largest=max(map(len, members), default=0))
    if not members:
        return cycles
    order = [(layer, name) for layer in layers for name in classes]
    rings = {at: graph.rings(*at, members) for at in order}
    budget = Budget(MOST_VISITS)
    for transactions in members[:MOST_COMPONENTS]:
        hunt = _Hunt(graph.within(transactions), budget, ruled_out)
        cycles.found += hunt.run(rings)
        cycles.not_searched += hunt.not_searched
    if len(members) > MOST_COMPONENTS:
        cycles.not_searched.append(f"{len(members) - MOST_COMPONENTS} further strongly connected components")
    cycles.allowed = classes[-1] == "G-single" and not cycles.not_searched
    return cycles


class Graph:
    """All edges that count; vertices as in `graph`, the moments of real time behind them."""

    def __init__(self, history: Transactions, inference: Inference, layer: str) -> None:
        self.history = history
        self.vertices = inference.vertices
        self.realtime = layer == REALTIME_SUFFIX
        self._dependencies = inference.edges
        self._layer = layer

    @cached_property
    def edges(self) -> Edges:
        """Dependencies and, where a layer has them, sessions."""
        return joined([self._dependencies, sessions(self.history)]) if self._layer else self._dependencies

    def suspects(self, cap: str) -> list[Ints]:
        """The transactions of each component with a cycle of class `cap` or below, the smallest components first.

        Exact, but for `cap` G-single: there the components are given that have a cycle up to G-nonadjacent.
        """
        data = _DATA[cap] | frozenset((_START[cap],))
        # Real time has the order of sessions in it, but where equal times make ranks equal.
        covered = self.realtime and bool((self.history.index >= 0).all())
        edges = self._dependencies if covered else self.edges
        wanted = np.isin(edges.kind, [*data, PROCESS, FREE])
        edges = edges if bool(wanted.all()) else edges.where(wanted)
        size = len(self.history)
        labels = self._components(edges, self.realtime)
        if labels is None:
            return []
        label = labels[:size]
        inside = np.flatnonzero(label >= 0)
        groups = np.split(inside[np.argsort(label[inside], kind="stable")], np.cumsum(np.bincount(label[inside])))
        groups = [group for group in groups if len(group)]
        if cap in ("G-single", "G-nonadjacent"):
            labels = self._components(edges, self.realtime, doubled=True)
            if labels is None:
                return []
            marked = (labels[:size] >= 0) | (labels[self.vertices : self.vertices + size] >= 0)
            groups = [group for group in groups if bool(marked[group].any())]
        return sorted(groups, key=lambda group: (len(group), int(group[0])))

    def rings(self, layer: str, name: str, members: list[Ints]) -> Ints | None:
        """The component of each vertex among the edges that cycles of a class in a layer may take; -1: in none."""
        inside = np.zeros(self.vertices, np.bool_)
        inside[np.concatenate(members)] = True
        inside[len(self.history) :] = True
        wanted = np.isin(self.edges.kind, [*_DATA[name], _START[name], FREE, *_LAYERS[layer]])
        edges = self.edges.where(wanted & inside[self.edges.source] & inside[self.edges.target])
        return self._components(edges, REALTIME in _LAYERS[layer])

    def _components(self, edges: Edges, realtime: bool, doubled: bool = False) -> Ints | None:
        """The number of each vertex's component, -1 where it is alone; None if all are.

        `doubled` has each vertex twice: as reached by an rw edge, from where no rw edge leads on, and as reached
        otherwise. So its cycles are those in which no two rw edges follow each other.
        """
        source, target = edges.source, edges.target
        vertices = self.vertices
        if doubled:
            onward = edges.kind != RW
            to_second = target + np.where(onward, 0, vertices)
            keeps = np.where(edges.kind[onward] == FREE, vertices, 0)  # out of a hub: as it was entered
            source = np.concatenate([source, source[onward] + vertices])
            target = np.concatenate([to_second, target[onward] + keeps])
            vertices *= 2
        if realtime:
            late, then, moments = time_chain(self.history, vertices)
            source, target = np.concatenate([source, late]), np.concatenate([target, then])
            if doubled:
                ends = late < len(self.history)
                source, target = (
                    np.concatenate([source, late[ends] + self.vertices]),
                    np.concatenate([target, then[ends]]),
                )
            vertices += moments
        return strongly_connected(source, target, vertices)

    def within(self, transactions: Ints) -> Subgraph:
        """The component of these transactions with all edges among them, and the hubs between them."""
        inside = np.zeros(self.vertices, np.bool_)
        inside[transactions] = True
        inside[len(self.history) :] = True  # hubs lead nowhere else once the edges are cut
        return Subgraph(
            self.history, self.edges.where(inside[self.edges.source] & inside[self.edges.target]), transactions
        )


class _Hunt:
    """Looks for the shortest cycle of each kind within one component."""

    def __init__(self, subgraph: Subgraph, budget: Budget, ruled_out: frozenset[str]) -> None:
        self._graph = subgraph
        self._budget = budget
        self._ruled_out = ruled_out
        self._best: dict[str, list[Hop]] = {}
        self._partly: set[str] = set()  # kinds for which not all starts were tried
        self.not_searched: list[str] = []

    def run(self, rings: dict[tuple[str, str], Ints | None]) -> list[Cycle]:
        """One cycle per kind that was found, the gravest kind first."""
        for (layer, name), labels in rings.items():
            if labels is not None:
                self._look_for(name, layer, labels, MOST_STARTS, MOST_VISITS // MOST_STARTS)
        if not self._best and self._partly:  # the budget is used up, yet a cycle there is: once more, without a bound
            for (layer, name), labels in reversed(rings.items()):
                if labels is not None:
                    self._budget = Budget(1 << 62)
                    self._look_for(name, layer, labels, 1, 1 << 62)
        order = [name + layer for layer, name in rings]
        return [
            Cycle(kind, tuple(self._best[kind]), kind not in self._partly)
            for kind in sorted(self._best, key=order.index)
        ]

    def _look_for(self, name: str, layer: str, labels: Ints, most: int, visits: int) -> None:
        """Try `most` edges to start from, with `visits` for each."""
        budget = self._budget
        starts, total = self._graph.starts(_START[name], labels, most)
        kinds = _DATA[name] | _LAYERS[layer]
        limited = True if name == "G-nonadjacent" else None
        tried = 0
        for start in starts:
            if budget.left <= 0:
                break
            share = Budget(min(budget.left, visits))
            budget.left -= share.left
            path = self._graph.path(start.target, start.source, kinds, share, limited)
            budget.left += share.left
            tried += share.left > 0
            if path is not None:
                self._keep([start, *path])
        if tried < total:
            self._partly.add(name + layer)
            self.not_searched.append(f"{name}{layer}: cycles through {total - tried} of {total} edges")

    def _keep(self, hops: list[Hop]) -> None:
        kind = classify(hops)
        if kind in self._ruled_out and (kind not in self._best or len(hops) < len(self._best[kind])):
            self._best[kind] = hops
