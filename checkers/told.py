"""What a gateway tells before the outcome: `pre` and `ord`, each only once its own records bear it out (2.1 finality).

A gateway's records of one step follow each other, so its own clock decides, and no allowance for clocks is needed.
"""

from __future__ import annotations

from checkers.index import Index
from checkers.judge import record, short
from results.trace import TraceEvent
from results.verdict import Anomaly

PRE, ORD, HEIGHT = "early-preconfirmation", "early-order", "wrong-height"


class Sights:
    """What one gateway saw, and when (ns): certificates of availability, and final blocks by height."""

    def __init__(self) -> None:
        self.available: dict[str, int] = {}  # by batch
        self.ordered: dict[str, int] = {}  # by batch
        self.blocks: dict[int, tuple[int, frozenset[str]]] = {}  # height -> time, batches

    def certified(self, batch: str, time: int) -> bool:
        """Was the batch certified as available, or in a final block, by then?"""
        return self.available.get(batch, time + 1) <= time or self.ordered.get(batch, time + 1) <= time


def early(index: Index) -> tuple[list[Anomaly], int]:
    """Anomalies of `pre` and `ord`, and how many of them could be judged.

    Judged are gateways that never failed and whose trace has certificates (a lean one has none). Anomalies:
    early-preconfirmation (no certified batch holds the transaction), early-order (no block that is final at this
    gateway does, or it has none at the height that it tells), wrong-height (the block of that height does not).
    """
    sights = _sights(index)
    batches: dict[str, set[str]] = {}
    for batch, txs in index.contents.items():
        for tx in txs:
            batches.setdefault(tx, set()).add(batch)
    void = {(place.final.height, batch) for place in index.placed for batch in place.void}
    anomalies: list[Anomaly] = []
    examined = 0
    for event in index.events("gateway"):
        sight = sights.get(event["node"])
        if sight is None or event["phase"] not in ("pre", "ord"):
            continue
        examined += 1
        held = batches.get(event["tx"], set())
        if event["phase"] == "pre":
            if not any(sight.certified(batch, int(event["time"])) for batch in held):
                why = "had no certificate of a batch that holds it"
                anomalies.append(_anomaly(PRE, event, "preconfirmed", why))
        else:
            kind, why = _unordered(sight, event, held, void)
            if kind:
                anomalies.append(_anomaly(kind, event, "ordered", why))
    return anomalies, examined


def _sights(index: Index) -> dict[str, Sights]:
    steady = set(index.steady) & set(index.info.gateways)
    found: dict[str, Sights] = {}
    for event in index.events("available"):
        if event["node"] in steady:
            sight = found.setdefault(event["node"], Sights())
            sight.available.setdefault(event["batch"], int(event["time"]))
    for event in index.events("finalise"):
        sight_of = found.get(event["node"])
        if sight_of is not None:
            time = int(event["time"])
            sight_of.blocks.setdefault(event["height"], (time, frozenset(event["batches"])))
            for batch in event["batches"]:
                sight_of.ordered.setdefault(batch, time)
    return found


def _unordered(sight: Sights, event: TraceEvent, held: set[str], void: set[tuple[int, str]]) -> tuple[str, str]:
    """The kind of the lie, and why the transaction was not ordered at this gateway when it said so; else empty."""
    time, height = int(event["time"]), event.get("height")
    if not height:  # told with the outcome, which names no height for it
        if any(sight.ordered.get(batch, time + 1) <= time for batch in held):
            return "", ""
        return ORD, "had finalised no block with a batch that holds it"
    final, batches = sight.blocks.get(height, (time + 1, frozenset()))
    if final > time:
        return ORD, "had not finalised that height"
    if not any((height, batch) not in void for batch in held & batches):
        return HEIGHT, "the block there holds no batch with it that counts"
    return "", ""


def _anomaly(kind: str, event: TraceEvent, what: str, why: str) -> Anomaly:
    at = f" at height {event['height']}" if event.get("height") else ""
    summary = f"{event['node']} told that transaction {short(event['tx'])} is {what}{at}, but {why}"
    return Anomaly(kind, summary, [record(event)])
