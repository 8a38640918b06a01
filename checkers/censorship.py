"""censorship: what an honest family member received is included in time (claim censorship-resistance; I-CENS)."""

from __future__ import annotations

from typing import Any, ClassVar

from checkers.index import MS, Index
from checkers.judge import Judge, conclude, record, short
from results.stats import summary as figures
from results.trace import TraceEvent
from results.verdict import Anomaly, Verdict


class Censorship(Judge):
    """A transaction forwarded by an honest gateway is finalised within the inclusion bound.

    It counts if a never-faulty member of its family received it (from then on, or from the heal if later), or if its
    whole family is Byzantine (from the forward on). Excluded and counted: received by no such member; pending, still
    within the bound at the end. Anomalies: censored (never finalised), delayed. Examined: transactions judged.
    """

    property: ClassVar[str] = "censorship"

    def judge(self, index: Index) -> Verdict:
        forwards = _first(index.events("forward"))
        received = _received(index)
        bound = int(index.bounds.inclusion_ms * MS)
        counts = dict.fromkeys(("undelivered", "pending", "whole_family_byzantine", "rescued_by_secondaries"), 0)
        roles = {(event["tx"], event["batch"]): event["role"] for event in index.events("include")}
        delays: list[float] = []
        anomalies: list[Anomaly] = []
        examined = 0
        for tx, forward in forwards.items():
            known = received.get(tx)
            if known is None:
                if not set(forward["family"]) <= set(index.info.byzantine):
                    counts["undelivered"] += 1
                    continue
                counts["whole_family_byzantine"] += 1
            since = int((known or forward)["time"])
            start = max(since, index.info.heal)
            placed = index.inclusions.get(tx)
            if placed is None and start + bound > index.end:
                counts["pending"] += 1
                continue
            examined += 1
            if placed is None:
                anomalies.append(_censored(index, tx, forward, known, start))
                continue
            final, batch = placed[0]
            delays.append((final.time - since) / MS)
            counts["rescued_by_secondaries"] += roles.get((tx, batch)) == "secondary"
            if final.time > start + bound:
                anomalies.append(_delayed(index, tx, known or forward, final.time, start))
        measures: dict[str, Any] = {"delay_ms": figures(delays), "bound_ms": index.bounds.inclusion_ms, **counts}
        return conclude(
            self.property, examined, anomalies, measures, "no forwarded transaction could be judged", _doubts(index)
        )


def _first(events: list[TraceEvent]) -> dict[str, TraceEvent]:
    """Earliest record per transaction."""
    first: dict[str, TraceEvent] = {}
    for event in events:
        first.setdefault(event["tx"], event)
    return first


def _received(index: Index) -> dict[str, TraceEvent]:
    """Transaction -> when the first never-faulty family member received it."""
    steady = set(index.steady)
    return _first([event for event in index.events("received") if event["node"] in steady])


def _doubts(index: Index) -> list[str]:
    doubts = [index.chain[1]] if index.chain[1] and index.finals else []
    if index.info.interrupted:
        doubts.append("the run was interrupted before its bounds could pass")
    unread = sum(batch not in index.contents for place in index.placed for batch, _ in place.effective)
    if unread:
        doubts.append(f"no honest node knew the transactions of {unread} finalised batches")
    return doubts


def _censored(index: Index, tx: str, forward: TraceEvent, known: TraceEvent | None, start: int) -> Anomaly:
    waited = (index.end - start) / MS
    whose = f"{known['node']} had received it as {known['role']}" if known else "its whole family is Byzantine"
    summary = (
        f"transaction {short(tx)}, forwarded by {forward['node']} to {', '.join(forward['family'])}, was never"
        f" finalised in {waited:.0f} ms (bound {index.bounds.inclusion_ms:.0f} ms); {whose}"
    )
    return Anomaly("censored", summary, [record(event) for event in (forward, known) if event])


def _delayed(index: Index, tx: str, since: TraceEvent, time: int, start: int) -> Anomaly:
    summary = (
        f"transaction {short(tx)}, known to {since['node']}, was finalised only after {(time - start) / MS:.0f} ms"
        f" (bound {index.bounds.inclusion_ms:.0f} ms)"
    )
    final, batch = index.inclusions[tx][0]
    finalised = {"event": "finalise", "node": final.node, "time": time, "height": final.height, "batch": batch}
    return Anomaly("delayed", summary, [record(since), finalised])
