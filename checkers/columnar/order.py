"""order on columns: heights whose records differ, and heights told to wallets that do not hold their transaction."""

from __future__ import annotations

import numpy as np

from checkers import order as rule
from checkers.columnar.chain import chain_of
from checkers.columnar.groups import found, grouped
from checkers.columnar.wide import Wide
from results.verdict import Anomaly, Verdict


def judge(wide: Wide) -> Verdict:
    """The verdict of `checkers.order`."""
    finals, executed = wide.rows("finalise"), wide.rows("execute")
    height, batches = finals.ints("height"), finals.ids("batches")
    anomalies = rule.finalised(finals.records(grouped(height).differing(finals.ids("block"), batches)))
    places = grouped(executed.ints("clan"), executed.ints("height"))
    contents = (executed.ids(name) for name in ("block", "batches", "applied", "aborted"))
    anomalies += rule.executions(executed.records(places.differing(*contents)))
    wrong, told = _wrongly_told(wide)
    pairs = grouped(finals.node, height)
    last = pairs.lasts()
    last = last[last >= 0]
    lists, place = np.unique(batches[last], return_inverse=True)
    elements, owner = wide.items(lists)
    sizes = np.bincount(owner, chain_of(wide).sizes[elements], len(lists)).astype(np.int64)[place]
    nodes = [wide.names[code] for code in np.unique(finals.node[last][sizes > 0]).tolist()]
    heights = len(grouped(height))
    return rule.concluded(int(sizes.sum()), anomalies + wrong, nodes, heights, len(executed), told)


def _wrongly_told(wide: Wide) -> tuple[list[Anomaly], int]:
    """Heights told of transactions that are elsewhere, and how many were told."""
    gateway, chain = wide.rows("gateway"), chain_of(wide)
    height, tx = gateway.ints("height", missing=0), gateway.ids("tx")
    told = np.isin(gateway.ids("phase"), [wide.values.find(phase) for phase in rule.TOLD]) & (height != 0)
    known = np.zeros(len(gateway), np.bool_)
    within = (height > 0) & (height <= chain.heights)
    known[within] = chain.known[height[within]]
    txs, heights, _ = chain.inclusions
    suspects = np.flatnonzero(told & known & ~found((tx, height), (txs, heights)))
    wrong = [
        rule.misplaced(event, set(heights[txs == tx[place]].tolist()))
        for place, event in zip(suspects.tolist(), gateway.records(suspects), strict=False)
    ]
    return wrong, int(told.sum())
