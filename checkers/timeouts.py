"""timeouts: views are entered for a reason, and timeout certificates carry the highest lock (I-TC)."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from typing import ClassVar

from checkers.arithmetic import tribe_quorum
from checkers.certified import COMMIT, certified
from checkers.evidence import EvidenceError, Notary, unhex
from checkers.index import Index
from checkers.judge import Judge, conclude, record, short
from results.trace import TraceEvent
from results.verdict import Anomaly, Verdict

BY_TIMEOUT = "timeout"


class Timeouts(Judge):
    """Every view is entered through a certificate or a timeout certificate of the view before, and these are valid.

    A timeout certificate needs Q distinct, verified time-outs of its view; the highest of their lock views is that of
    the certificate inside, which somebody honest holds; a fallback vote is for a child of that block. Anomalies:
    unjustified-view, invalid-timeout-certificate, fallback-off-highest. Examined: views entered.
    """

    property: ClassVar[str] = "timeouts"
    columnar: ClassVar[str] = "checkers.columnar.timeouts"

    def judge(self, index: Index) -> Verdict:
        entered = [event for event in index.events("enter") if event["via"] != "start"]
        seen = {(event["node"], event["view"]) for event in index.events("certify") if event["kind"] != COMMIT}
        left = {(event["node"], event["view"]) for event in index.events("timeout_certificate")}
        anomalies = [
            unjustified(event)
            for event in entered
            if (event["node"], event["view"] - 1) not in (left if event["via"] == BY_TIMEOUT else seen)
        ]
        distinct: dict[tuple[object, ...], TraceEvent] = {}
        for event in index.events("timeout_certificate"):
            identity = (event["view"], *event["signers"], *event.get("signatures", ()))
            distinct.setdefault(identity, event)
        good = certified(index).blocks
        invalid, doubts = assessed(index.info.tribe, index.notary, distinct.values(), good)
        off = [event for event in index.events("vote") if event.get("high") is not None]
        anomalies += invalid + fallbacks(off)
        return concluded(len(entered), anomalies, len(distinct), doubts, {})


def concluded(
    examined: int, anomalies: list[Anomaly], certificates: int, doubts: list[str], more: Mapping[str, object]
) -> Verdict:
    """The verdict, with `more` measures."""
    measures = {"views": examined, "timeout_certificates": certificates, **more}
    return conclude("timeouts", examined, anomalies, measures, "no honest node entered a view", doubts)


def unjustified(event: TraceEvent) -> Anomaly:
    """A view entered whose reason the node itself did not record."""
    what = "a timeout certificate" if event["via"] == BY_TIMEOUT else "a certificate"
    summary = f"{event['node']} entered view {event['view']} without {what} of view {event['view'] - 1}"
    return Anomaly("unjustified-view", summary, [record(event)])


def fallbacks(votes: Iterable[TraceEvent]) -> list[Anomaly]:
    """Fallback votes for no child of the highest block of their timeout certificate."""
    anomalies = []
    for event in votes:
        high = event["high"]
        if event.get("parent") != high:
            summary = (
                f"{event['node']} gave a fallback vote in view {event['view']} for a child of"
                f" {short(str(event.get('parent')))}; the highest block of its timeout certificate is {short(high)}"
            )
            anomalies.append(Anomaly("fallback-off-highest", summary, [record(event)]))
    return anomalies


def assessed(
    tribe: Sequence[str], notary: Notary, events: Iterable[TraceEvent], good: Container[tuple[int, str]]
) -> tuple[list[Anomaly], list[str]]:
    """Invalid ones among timeout certificates, and doubts; `good` are certified (view, block)."""
    anomalies: list[Anomaly] = []
    doubts: list[str] = []
    for event in events:
        try:
            fault = fault_of(tribe, notary, event, good)
        except EvidenceError as error:
            doubts.append(f"timeout certificate of view {event['view']} at {event['node']}: {error}")
            continue
        if fault is not None:
            summary = f"{event['node']} accepted a timeout certificate of view {event['view']} that is invalid: {fault}"
            anomalies.append(Anomaly("invalid-timeout-certificate", summary, [record(event)]))
    return anomalies, doubts


def fault_of(tribe: Sequence[str], notary: Notary, event: TraceEvent, good: Container[tuple[int, str]]) -> str | None:
    """Why a timeout certificate is invalid, or None. Records without signatures are judged by their signers alone."""
    view, high = event["view"], event["high_view"]
    signers = event["signers"]
    if len(set(signers)) != len(signers) or set(signers) - set(tribe):
        return f"signed by {', '.join(signers)}, not so many different nodes of the tribe"
    if len(signers) < tribe_quorum(len(tribe)):
        return f"{len(signers)} signers where {tribe_quorum(len(tribe))} are needed"
    if "signatures" not in event:
        return None
    locks, signatures = event["lock_views"], event["signatures"]
    if len(locks) != len(signers) or len(signatures) != len(signers):
        raise EvidenceError(f"{len(locks)} lock views and {len(signatures)} signatures for {len(signers)} signers")
    if max(locks) != high or high >= view:
        return f"lock views {locks} with a highest certificate of view {high}"
    if high > 0 and (high, event["high"]) not in good:
        return (
            f"its highest certificate, for {short(event['high'])} of view {high}, is not one that an honest node holds"
        )
    for signer, lock, signature in zip(signers, locks, signatures, strict=True):
        statement = notary.statement("timeout", view, lock)
        if not notary.signed(signer, statement, unhex(signature, 64, f"signature of {signer}")):
            return f"the signature of {signer} does not cover view {view} and lock view {lock}"
    return None
