"""preconfirmation: what has an availability certificate is included (claim preconfirmation; I-PRE)."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any, ClassVar

from checkers.index import MS, Index, Key
from checkers.judge import Judge, conclude, record, short
from results.stats import summary as figures
from results.trace import TraceEvent
from results.verdict import Anomaly, Verdict

VOID = "void-by-equivocation"


@dataclass(frozen=True)
class _Promise:
    """A transaction in a certified batch: `event` is the first sight of the certificate at an honest node."""

    tx: str
    batch: str
    proposer: str
    honest: bool  # the proposer, all along, its disk kept
    event: TraceEvent


class Preconfirmation(Judge):
    """A pre-confirmed transaction is finalised within the inclusion bound, counted from the heal if that is later.

    Pre-confirmed is what is in a batch whose certificate an honest node or gateway holds. Anomalies: lost (never
    finalised), late (batches of honest proposers only), void-by-equivocation (never finalised, because another batch
    took the slot under EQ-FIRST; the summary tells the proposer's honesty). A batch that was void, but whose
    transaction a secondary included again in time, breaks nothing: share and delay are measures. Excluded and counted:
    pending, still within the bound at the end. Examined: promises judged, per transaction and honesty of the proposer.
    """

    property: ClassVar[str] = "preconfirmation"

    def judge(self, index: Index) -> Verdict:
        promises, unread = _promises(index)
        void = {batch for place in index.placed for batch in place.void}
        bound = int(index.bounds.inclusion_ms * MS)
        counts: Counter[str] = Counter()
        delays: list[float] = []
        rescues: list[float] = []
        anomalies: list[Anomaly] = []
        examined = 0
        for promise in promises:
            given = int(promise.event["time"])
            due = max(given, index.info.heal) + bound
            placed = index.inclusions.get(promise.tx)
            dropped = promise.batch in void
            counts["void"] += dropped
            if placed is None and due > index.end:
                counts["pending"] += 1
                continue
            examined += 1
            if placed is None:
                kind = VOID if dropped else "lost"
                anomalies.append(_broken(index, promise, kind, f"was never finalised in {_ms(index.end - given)}"))
                continue
            delay = max(0, placed[0][0].time - given)
            (rescues if dropped else delays).append(delay / MS)
            counts["void_rescued"] += dropped
            if placed[0][0].time > due and promise.honest:
                anomalies.append(_broken(index, promise, "late", f"was finalised only after {_ms(delay)}"))
            counts["late_of_faulty_proposers"] += placed[0][0].time > due and not promise.honest
        names = ("void", "void_rescued", "pending", "late_of_faulty_proposers")
        measures: dict[str, Any] = {
            "delay_ms": figures(delays),
            "void_rescue_delay_ms": figures(rescues),
            "void_share": round(counts["void"] / len(promises), 4) if promises else 0.0,
            "bound_ms": index.bounds.inclusion_ms,
            **{name: counts[name] for name in names},
            "unread_batches": len(unread),
        }
        nothing = "no pre-confirmed transaction could be judged"
        return conclude(self.property, examined, anomalies, measures, nothing, _doubts(index, unread))


def _honest(index: Index, proposer: str) -> bool:
    return proposer in index.info.tribe and proposer not in {*index.info.byzantine, *index.info.amnesiac}


def _promises(index: Index) -> tuple[list[_Promise], list[Key]]:
    """The first promise per transaction and honesty of its proposer, and the slots of batches that nobody can read."""
    first: dict[tuple[str, bool], _Promise] = {}
    unread: dict[str, Key] = {}
    seen: set[str] = set()
    for event in index.events("available"):
        batch, proposer = event["batch"], event["proposer"]
        if batch in seen:
            continue
        seen.add(batch)
        if batch not in index.contents:
            unread[batch] = Key(event["clan"], proposer, event["seq"])
        honest = _honest(index, proposer)
        for tx in index.contents.get(batch, ()):
            first.setdefault((tx, honest), _Promise(tx, batch, proposer, honest, event))
    return list(first.values()), list(unread.values())


def _broken(index: Index, promise: _Promise, kind: str, what: str) -> Anomaly:
    whose = "honest" if promise.honest else "faulty"
    why = ", whose slot another batch took" if kind == VOID else ""
    summary = (
        f"transaction {short(promise.tx)}, pre-confirmed by batch {short(promise.batch)} of {promise.proposer}"
        f" ({whose}){why}, {what} (bound {index.bounds.inclusion_ms:.0f} ms)"
    )
    return Anomaly(kind, summary, [record(promise.event)])


def _ms(span: int) -> str:
    return f"{span / MS:.0f} ms"


def _doubts(index: Index, unread: list[Key]) -> list[str]:
    doubts = [index.chain[1]] if index.chain[1] and index.finals else []
    if index.info.interrupted:
        doubts.append("the run was interrupted before its bounds could pass")
    lost = sum(_honest(index, key.proposer) for key in unread)
    if lost:
        doubts.append(f"no honest node knew the transactions of {lost} certified batches of honest proposers")
    unknown = sum(len(place.unknown) for place in index.placed)
    if unknown:
        doubts.append(f"no honest node knew the slots of {unknown} finalised batches")
    return doubts
