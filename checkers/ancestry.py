"""ancestry: what is certified builds on what was committed before it (I-D, and the chain part of I-CERT)."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from typing import ClassVar

from checkers.certified import COMMIT, certified
from checkers.index import Index
from checkers.judge import Judge, conclude, record, short
from results.trace import TraceEvent
from results.verdict import Anomaly, Verdict

DIRECT = ("two-chain", "commit-votes")


class Ancestry(Judge):
    """Every certified block extends the block that was directly committed last before its view, and a certified parent.

    Parents are those that honest nodes recorded when they proposed, voted for or finalised a block. Anomalies:
    abandoned-commit (certified in a view after a direct commit, yet not the committed block or a descendant),
    uncertified-parent (no honest node saw its parent certified), parent-view (the parent's view is not the one before,
    for optimistic and normal certificates, or not an earlier one). Examined: certified blocks.
    """

    property: ClassVar[str] = "ancestry"

    def judge(self, index: Index) -> Verdict:
        parents, genesis = _parents(index)
        blocks: dict[str, TraceEvent] = {}  # the first certificate of each block, by view
        for event in sorted(certified(index).valid, key=lambda e: (e["view"], e["kind"] == COMMIT, e["block"])):
            blocks.setdefault(event["block"], event)
        direct: dict[str, TraceEvent] = {}
        for event in sorted(index.events("finalise"), key=lambda e: (int(e["view"]), e["block"])):
            if event.get("rule") in DIRECT:
                direct.setdefault(event["block"], event)
        placed = [block for block in blocks if block in parents]
        anomalies = _abandoned(blocks, direct, parents, genesis)
        for block in placed:
            anomalies += _parent(blocks[block], blocks, parents[block], genesis)
        doubts = list(certified(index).doubts)
        lost = len(blocks) - len(placed)
        if lost:
            doubts.append(f"no honest node recorded the parent of {lost} of {len(blocks)} certified blocks")
        measures = {"certified": len(blocks), "committed_directly": len(direct), "without_parent": lost}
        return conclude(self.property, len(placed), anomalies, measures, "no honest node saw a certificate", doubts)


def _parents(index: Index) -> tuple[dict[str, str], set[str]]:
    """Block -> parent, and the blocks that stand for the genesis: the parents of what has height 1."""
    parents: dict[str, str] = {}
    genesis: set[str] = set()
    for event in index.events("propose", "vote", "finalise"):
        parent = event.get("parent")
        if parent is not None:
            parents.setdefault(event["block"], parent)
            if event.get("height") == 1:
                genesis.add(parent)
    return parents, genesis


def _parent(event: TraceEvent, blocks: Mapping[str, TraceEvent], parent: str, genesis: set[str]) -> list[Anomaly]:
    """Is the parent certified, in the view that this kind of certificate demands?"""
    view, kind = event["view"], event["kind"]
    if parent in genesis:
        below = 0
    elif parent in blocks:
        below = blocks[parent]["view"]
    else:
        summary = (
            f"{short(event['block'])} is certified in view {view} ({event['node']}), but no honest node saw a"
            f" certificate for its parent {short(parent)}"
        )
        return [Anomaly("uncertified-parent", summary, [record(event)])]
    if below == view - 1 or (below < view and kind not in ("optimistic", "normal")):
        return []
    due = f"view {view - 1}" if kind in ("optimistic", "normal") else f"a view before {view}"
    summary = (
        f"{short(event['block'])} has a {kind} certificate of view {view}; its parent {short(parent)} should be of"
        f" {due} and is of view {below}"
    )
    witness = [record(event)] + ([record(blocks[parent])] if parent in blocks else [])
    return [Anomaly("parent-view", summary, witness)]


def _abandoned(
    blocks: Mapping[str, TraceEvent], direct: Mapping[str, TraceEvent], parents: Mapping[str, str], genesis: set[str]
) -> list[Anomaly]:
    """Going down from a certified block, the first directly committed one must be the last committed up to its view.

    That is enough for all earlier ones, because directly committed blocks are compared with each other likewise.
    """
    order = list(direct)  # by view
    place = {block: number for number, block in enumerate(order)}
    views = [int(direct[block]["view"]) for block in order]
    nearest: dict[str, str | None] = dict.fromkeys(genesis, "")
    anomalies = []
    for event in sorted({**blocks, **direct}.values(), key=lambda e: (int(e["view"]), e["block"])):
        block = event["block"]
        below = parents.get(block) if block in place else block
        last = (place[block] if block in place else bisect_right(views, int(event["view"]))) - 1
        if last < 0 or below is None:
            continue
        found, due = _nearest(below, direct, parents, nearest), order[last]
        if found not in (None, due):
            committed = direct[due]
            summary = (
                f"{short(block)} of view {event['view']} ({event['node']}) does not extend {short(due)}, which"
                f" {committed['node']} had committed directly in view {committed['view']}"
            )
            anomalies.append(Anomaly("abandoned-commit", summary, [record(committed), record(event)]))
    return anomalies


def _nearest(
    block: str, direct: Mapping[str, TraceEvent], parents: Mapping[str, str], nearest: dict[str, str | None]
) -> str | None:
    """The first directly committed block on the way down, `block` included; "" if none, None if the way is not known.

    Remembered in `nearest` for every block on the way, so that all ways together take linear time.
    """
    way = []
    while block not in nearest:
        nearest[block] = block if block in direct else None  # None for now: records that go in a circle end here
        if block in direct or block not in parents:
            break
        way.append(block)
        block = parents[block]
    nearest.update(dict.fromkeys(way, nearest[block]))
    return nearest[block]
