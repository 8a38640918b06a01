"""ancestry: what is certified builds on what was committed before it (I-D, and the chain part of I-CERT)."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from typing import ClassVar, TypeVar

from checkers.certified import COMMIT, certified
from checkers.index import Index
from checkers.judge import Judge, conclude, record, short
from results.trace import TraceEvent
from results.verdict import Anomaly, Verdict

DIRECT = ("two-chain", "commit-votes")
_NONE = -1  # the place of the genesis among the directly committed blocks
Block = TypeVar("Block", bound=Hashable)


class Ancestry(Judge):
    """Every certified block extends the block that was directly committed last before its view, and a certified parent.

    Parents are those that honest nodes recorded when they proposed, voted for or finalised a block. Anomalies:
    abandoned-commit (certified in a view after a direct commit, yet not the committed block or a descendant),
    uncertified-parent (no honest node saw its parent certified), parent-view (the parent's view is not the one before,
    for optimistic and normal certificates, or not an earlier one). Examined: certified blocks.
    """

    property: ClassVar[str] = "ancestry"
    columnar: ClassVar[str] = "checkers.columnar.ancestry"

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
        committed = [(int(event["view"]), block) for block, event in direct.items()]
        both = sorted((int(event["view"]), block) for block, event in {**blocks, **direct}.items())
        anomalies = [
            abandoned({**blocks, **direct}[block], direct[due])
            for block, due in astray(both, committed, parents, genesis)
        ]
        for block in placed:
            parent = parents[block]
            anomalies += misplaced(blocks[block], parent, blocks.get(parent), parent in genesis)
        lost = len(blocks) - len(placed)
        return concluded(len(placed), anomalies, len(blocks), len(direct), lost, certified(index).doubts, {})


def concluded(
    examined: int, anomalies: list[Anomaly], certified: int, direct: int, lost: int, doubts: Sequence[str],
    more: Mapping[str, object],
) -> Verdict:  # fmt: skip
    """The verdict; `lost` blocks have no parent on record, `more` are further measures."""
    doubts = list(doubts)
    if lost:
        doubts.append(f"no honest node recorded the parent of {lost} of {certified} certified blocks")
    measures = {"certified": certified, "committed_directly": direct, "without_parent": lost, **more}
    return conclude("ancestry", examined, anomalies, measures, "no honest node saw a certificate", doubts)


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


def misplaced(event: TraceEvent, parent: str, below: TraceEvent | None, genesis: bool) -> list[Anomaly]:
    """Is the parent (its certificate: `below`) certified, in the view that this kind of certificate demands?"""
    view, kind = event["view"], event["kind"]
    if genesis:
        lower = 0
    elif below is not None:
        lower = below["view"]
    else:
        summary = (
            f"{short(event['block'])} is certified in view {view} ({event['node']}), but no honest node saw a"
            f" certificate for its parent {short(parent)}"
        )
        return [Anomaly("uncertified-parent", summary, [record(event)])]
    if lower == view - 1 or (lower < view and kind not in ("optimistic", "normal")):
        return []
    due = f"view {view - 1}" if kind in ("optimistic", "normal") else f"a view before {view}"
    summary = (
        f"{short(event['block'])} has a {kind} certificate of view {view}; its parent {short(parent)} should be of"
        f" {due} and is of view {lower}"
    )
    witness = [record(event)] + ([record(below)] if below is not None else [])
    return [Anomaly("parent-view", summary, witness)]


def abandoned(event: TraceEvent, committed: TraceEvent) -> Anomaly:
    """A certified block that does not build on what was committed before it."""
    summary = (
        f"{short(event['block'])} of view {event['view']} ({event['node']}) does not extend"
        f" {short(committed['block'])}, which {committed['node']} had committed directly in view {committed['view']}"
    )
    return Anomaly("abandoned-commit", summary, [record(committed), record(event)])


def astray(
    blocks: Iterable[tuple[int, Block]],
    direct: Sequence[tuple[int, Block]],
    parents: Mapping[Block, Block],
    genesis: Collection[Block],
) -> Iterator[tuple[Block, Block]]:
    """Blocks that do not extend the one directly committed last before their view, each with that one.

    `blocks` are (view, block) of all certified and directly committed ones, `direct` of the latter, both in order.
    Going down from a block, the first directly committed one must be the last committed up to its view. That is enough
    for all earlier ones, because directly committed blocks are compared with each other likewise.
    """
    place = {block: number for number, (_, block) in enumerate(direct)}
    views = [view for view, _ in direct]
    nearest: dict[Block, int | None] = dict.fromkeys(genesis, _NONE)
    for view, block in blocks:
        below = parents.get(block) if block in place else block
        due = (place[block] if block in place else bisect_right(views, view)) - 1
        if due < 0 or below is None:
            continue
        if _nearest(below, place, parents, nearest) not in (None, due):
            yield block, direct[due][1]


def _nearest(
    block: Block, place: Mapping[Block, int], parents: Mapping[Block, Block], nearest: dict[Block, int | None]
) -> int | None:
    """The place of the first directly committed block on the way down, `block` included; None if the way is not known.

    Remembered in `nearest` for every block on the way, so that all ways together take linear time.
    """
    way = []
    while block not in nearest:
        nearest[block] = place.get(block)  # None for now: records that go in a circle end here
        if block in place or block not in parents:
            break
        way.append(block)
        block = parents[block]
    nearest.update(dict.fromkeys(way, nearest[block]))
    return nearest[block]
