"""order: once its block is finalised, a transaction's position is the same everywhere and stays (claim
ordering-finality; I-PFX at the level of transactions)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any, ClassVar, TypeAlias

from checkers.index import Index
from checkers.judge import Judge, conclude, record, short
from results.trace import TraceEvent
from results.verdict import Anomaly, Verdict

Place: TypeAlias = tuple[int, ...]  # a height, or a clan and a height
TOLD = ("ord", "exec", "aborted")


class Order(Judge):
    """One total order of transactions over all honest nodes and gateways, which nobody ever tells differently later.

    The position of a transaction is its height, the place of its batch in the block, and its place in what its clan
    executes at that height. Anomalies: order-differs (two nodes, one height, other batches), execution-differs (two
    nodes, one clan and height, other transactions or another order), position-changed (one node, at two times),
    wrong-position (a gateway told a wallet a height that does not hold its transaction). Examined: positions of
    transactions, one per node that finalised them.
    """

    property: ClassVar[str] = "order"
    columnar: ClassVar[str] = "checkers.columnar.order"

    def judge(self, index: Index) -> Verdict:
        finals, executed = index.events("finalise"), index.events("execute")
        told = [e for e in index.events("gateway") if e["phase"] in TOLD and e.get("height")]
        anomalies = finalised(finals) + executions(executed) + _wrongly_told(index, told)
        sizes = {batch: len(txs) for batch, txs in index.contents.items()}
        held = {(e["node"], e["height"]): sum(sizes.get(batch, 0) for batch in e["batches"]) for e in finals}
        nodes = sorted({node for (node, _), count in held.items() if count})
        heights = len({height for _, height in held})
        return concluded(sum(held.values()), anomalies, nodes, heights, len(executed), len(told))


def concluded(
    examined: int, anomalies: list[Anomaly], nodes: Sequence[str], heights: int, executions: int, told: int
) -> Verdict:
    """The verdict; `nodes` are those that finalised a transaction."""
    doubts = [f"only {nodes[0]} finalised a transaction; an order is shared by two"] if len(nodes) == 1 else []
    measures: dict[str, Any] = {
        "nodes": len(nodes),
        "heights": heights,
        "executions": executions,
        "told_by_gateways": told,
    }
    return conclude("order", examined, anomalies, measures, "no transaction was finalised", doubts)


def finalised(events: Iterable[TraceEvent]) -> list[Anomaly]:
    """Finalise records that differ at one height."""
    return _compared(events, "order-differs", lambda e: (e["height"],), _batches)


def executions(events: Iterable[TraceEvent]) -> list[Anomaly]:
    """Execute records that differ at one clan and height."""
    return _compared(events, "execution-differs", lambda e: (e["clan"], e["height"]), _executed)


def _batches(event: TraceEvent) -> tuple[Any, ...]:
    return event["block"], tuple(event["batches"])


def _executed(event: TraceEvent) -> tuple[Any, ...]:
    aborted = tuple((tx, reason) for tx, reason in event["aborted"])
    return event["block"], tuple(event["batches"]), tuple(event["applied"]), aborted


def _compared(
    events: Iterable[TraceEvent],
    kind: str,
    where: Callable[[TraceEvent], Place],
    content: Callable[[TraceEvent], tuple[Any, ...]],
) -> list[Anomaly]:
    """At each place all records of one node must be equal, and those of all nodes."""
    own: dict[tuple[str, Place], tuple[tuple[Any, ...], TraceEvent]] = {}
    versions: dict[Place, dict[tuple[Any, ...], TraceEvent]] = {}
    anomalies = []
    for event in events:
        place, held = where(event), content(event)
        before, first = own.setdefault((event["node"], place), (held, event))
        if before != held:
            summary = f"{event['node']} told {_named(place)} differently at two times: {_difference(first, event)}"
            anomalies.append(Anomaly("position-changed", summary, [record(first), record(event)]))
            continue  # at odds with itself: not also with the others
        versions.setdefault(place, {}).setdefault(held, event)
    for place in sorted(versions):
        records = sorted(versions[place].values(), key=lambda e: (int(e["time"]), e["node"]))
        if len(records) > 1:
            one, other = records[:2]
            summary = (
                f"{one['node']} and {other['node']} do not agree on {_named(place)} ({len(records)} versions):"
                f" {_difference(one, other)}"
            )
            anomalies.append(Anomaly(kind, summary, [record(e) for e in records]))
    return anomalies


def _named(place: Place) -> str:
    return f"height {place[-1]}" + (f" of clan {place[0]}" if len(place) > 1 else "")


def _difference(one: TraceEvent, other: TraceEvent) -> str:
    """The first field, and the first place in it, in which two records differ."""
    for name in ("block", "batches", "applied", "aborted"):
        first, second = one.get(name), other.get(name)
        if first == second:
            continue
        if not isinstance(first, list) or not isinstance(second, list):
            return f"{name} {short(str(first))} and {short(str(second))}"
        at = next((i for i, (a, b) in enumerate(zip(first, second, strict=False)) if a != b), -1)
        if at < 0:
            return f"{name} of {len(first)} and of {len(second)} entries"
        return f"place {at + 1} of {name}"
    return "their records differ"


def _wrongly_told(index: Index, told: list[TraceEvent]) -> list[Anomaly]:
    """Heights told to wallets, of the finalised chain's part whose transactions are all known."""
    known = {
        place.final.height
        for place in index.placed
        if not place.unknown and all(batch in index.contents for batch in place.final.batches)
    }
    anomalies = []
    for event in told:
        heights = {final.height for final, _ in index.inclusions.get(event["tx"], ())}
        if event["height"] in known and event["height"] not in heights:
            anomalies.append(misplaced(event, heights))
    return anomalies


def misplaced(event: TraceEvent, heights: Collection[int]) -> Anomaly:
    """A wallet was told a height other than the `heights` of its transaction."""
    where = f"it is at height {min(heights)}" if heights else "it is in no finalised batch that counts"
    summary = f"{event['node']} told {event['phase']} of {short(event['tx'])} at height {event['height']}, but {where}"
    return Anomaly("wrong-position", summary, [record(event)])
