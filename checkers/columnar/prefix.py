"""prefix on columns: nodes whose heights do not go 1, 2, 3, .. link by link, and heights with two blocks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from checkers import prefix as rule
from checkers.columnar.groups import Ints, grouped
from checkers.columnar.wide import Rows, Wide
from results.verdict import Anomaly, Verdict


def judge(wide: Wide) -> Verdict:
    """The verdict of `checkers.prefix`."""
    finals = wide.rows("finalise")
    height, block = finals.ints("height"), finals.ids("block")
    pairs, heights = grouped(finals.node, height), grouped(height)
    unclean = _unclean(finals)
    links = _Links(wide, finals)
    anomalies: list[Anomaly] = []
    bridged, again = 0, len(finals) - len(pairs)
    births = wide.records("start", "restart")
    for code in unclean.tolist():
        own = [event for event in births if event["node"] == wide.names[code]]
        life = sorted([*own, *finals.records(finals.node == code)], key=lambda e: int(e["time"]))
        found = rule.grown(life, links)
        anomalies += found.anomalies
        bridged += found.bridged
    common: rule.Common = {}
    for event in finals.records(heights.differing(block)):
        common.setdefault(event["height"], {}).setdefault(event["block"], {}).setdefault(event["node"], event)
    anomalies += rule.diverged(common)
    nodes = len({event["node"] for event in births} | {wide.names[code] for code in np.unique(finals.node).tolist()})
    return rule.concluded("prefix", len(finals), anomalies, nodes, len(heights), bridged, again)


def _unclean(finals: Rows) -> Ints:
    """Codes of the nodes whose records are not a chain from height 1 on, each block the child of the one before."""
    order = np.argsort(finals.node, kind="stable")
    node, height = finals.node[order], finals.ints("height")[order]
    block, parent = finals.ids("block")[order], finals.ids("parent")[order]
    first = np.append(True, node[1:] != node[:-1]) if len(node) else np.zeros(0, np.bool_)
    clean = (
        np.where(first, height == 1, np.append(True, (height[1:] == height[:-1] + 1) & (parent[1:] == block[:-1])))
        if len(node)
        else first
    )
    found: Ints = np.unique(node[~clean])
    return found


class _Links(Mapping[str, str]):
    """Block -> its parent, as the last record of it has it."""

    def __init__(self, wide: Wide, finals: Rows) -> None:
        self._values = wide.values
        self._parent = np.full(len(wide.values), -1, np.int64)
        self._parent[finals.ids("block")] = finals.ids("parent")

    def __getitem__(self, block: str) -> str:
        number = self._values.find(block)
        if number < 0 or self._parent[number] < 0:
            raise KeyError(block)
        parent: str = self._values.of(int(self._parent[number]))
        return parent

    def __iter__(self) -> Iterator[str]:
        return (self._values.of(number) for number in np.flatnonzero(self._parent >= 0).tolist())

    def __len__(self) -> int:
        return int((self._parent >= 0).sum())
