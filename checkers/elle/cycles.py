"""Cycles of the dependency graph: strongly connected components decide, a bounded breadth-first search explains.

Whether there is a cycle that a model rules out is decided over the whole graph, in linear time and exactly (but see
`Graph.suspects`). The search then looks for the shortest cycle of each kind; what a bound left out is told.
"""

from __future__ import annotations

from dataclasses import dataclass, field

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


def search(history: Transactions, inference: Inference, ruled_out: frozenset[str]) -> Cycles:
    """Cycles of the kinds in `ruled_out`."""
    layers = ["", *(suffix for suffix in (SESSION_SUFFIX, REALTIME_SUFFIX) if f"G0{suffix}" in ruled_out)]
    classes = [name for name in CYCLES if name in ruled_out]
    graph = Graph(history, inference, layers[-1])
    members = graph.suspects(classes[-1])
    cycles = Cycles(components=len(members), largest=max(map(len, members), default=0))
    budget = Budget(MOST_VISITS)
    for transactions in members[:MOST_COMPONENTS]:
        hunt = _Hunt(graph.within(transactions), budget, ruled_out)
        cycles.found += hunt.run(classes, layers)
        cycles.not_searched += hunt.not_searched
    if len(members) > MOST_COMPONENTS:
        cycles.not_searched.append(f"{len(members) - MOST_COMPONENTS} further strongly connected components")
    return cycles


class Graph:
    """All edges that count; vertices as in `graph`, the moments of real time behind them."""

    def __init__(self, history: Transactions, inference: Inference, layer: str) -> None:
        self.history = history
        self.vertices = inference.vertices
        self.realtime = layer == REALTIME_SUFFIX
        self.edges = joined([inference.edges, sessions(history)]) if layer else inference.edges

    def suspects(self, cap: str) -> list[Ints]:
        """The transactions of each component with a cycle of class `cap` or below, the smallest components first.

        Exact, but for `cap` G-single: there the components are given that have a cycle up to G-nonadjacent.
        """
        data = _DATA[cap] | frozenset((_START[cap],))
        wanted = np.isin(self.edges.kind, [*data, PROCESS, FREE])
        edges = self.edges if bool(wanted.all()) else self.edges.where(wanted)
        size = len(self.history)
        labels = self._components(edges, doubled=False)
        if labels is None:
            return []
        label = labels[:size]
        inside = np.flatnonzero(label >= 0)
        groups = np.split(inside[np.argsort(label[inside], kind="stable")], np.cumsum(np.bincount(label[inside])))
        groups = [group for group in groups if len(group)]
        if cap in ("G-single", "G-nonadjacent"):
            labels = self._components(edges, doubled=True)
            if labels is None:
                return []
            marked = (labels[:size] >= 0) | (labels[self.vertices : self.vertices + size] >= 0)
            groups = [group for group in groups if bool(marked[group].any())]
        return sorted(groups, key=lambda group: (len(group), int(group[0])))

    def _components(self, edges: Edges, doubled: bool) -> Ints | None:
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
        if self.realtime:
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

    def run(self, classes: list[str], layers: list[str]) -> list[Cycle]:
        """One cycle per kind that was found, the gravest kind first."""
        for layer in layers:
            for name in classes:
                self._look_for(name, layer)
        if not self._best and self._partly:  # the budget is used up, yet a cycle there is: once more, without a bound
            for name in classes[::-1]:
                self._look_for(name, layers[-1], Budget(1 << 62), most=1)
        order = [name + layer for layer in layers for name in classes]
        return [
            Cycle(kind, tuple(self._best[kind]), kind not in self._partly)
            for kind in sorted(self._best, key=order.index)
        ]

    def _look_for(self, name: str, layer: str, budget: Budget | None = None, most: int = 0) -> None:
        budget = budget or self._budget
        starts, total = self._graph.starts(_START[name], most or MOST_STARTS)
        kinds = _DATA[name] | _LAYERS[layer]
        for number, start in enumerate(starts):
            if budget.left <= 0:
                starts = starts[:number]
                break
            limited = True if name == "G-nonadjacent" else None
            path = self._graph.path(start.target, start.source, kinds, budget, limited)
            if path is not None:
                self._keep([start, *path])
        if len(starts) < total:
            self._partly.add(name + layer)
            self.not_searched.append(f"{name}{layer}: cycles through {total - len(starts)} of {total} edges")

    def _keep(self, hops: list[Hop]) -> None:
        kind = classify(hops)
        if kind in self._ruled_out and (kind not in self._best or len(hops) < len(self._best[kind])):
            self._best[kind] = hops
