"""timeouts: views are entered for a reason, and timeout certificates carry the highest lock (I-TC)."""

from __future__ import annotations

from typing import ClassVar

from checkers.arithmetic import tribe_quorum
from checkers.certified import COMMIT, certified
from checkers.evidence import EvidenceError, unhex
from checkers.index import Index
from checkers.judge import Judge, conclude, record, short
from results.trace import TraceEvent
from results.verdict import Anomaly, Verdict


class Timeouts(Judge):
    """Every view is entered through a certificate or a timeout certificate of the view before, and these are valid.

    A timeout certificate needs Q distinct, verified time-outs of its view; the highest of their lock views is that of
    the certificate inside, which somebody honest holds; a fallback vote is for a child of that block. Anomalies:
    unjustified-view, invalid-timeout-certificate, fallback-off-highest. Examined: views entered.
    """

    property: ClassVar[str] = "timeouts"

    def judge(self, index: Index) -> Verdict:
        anomalies, examined = _views(index)
        good = certified(index).blocks
        doubts: list[str] = []
        checked: dict[tuple[object, ...], str | None] = {}
        for event in index.events("timeout_certificate"):
            identity = (event["view"], *event["signers"], *event.get("signatures", ()))
            if identity in checked:
                continue
            try:
                fault = checked[identity] = _fault(index, event, good)
            except EvidenceError as error:
                doubts.append(f"timeout certificate of view {event['view']} at {event['node']}: {error}")
                continue
            if fault is not None:
                summary = (
                    f"{event['node']} accepted a timeout certificate of view {event['view']} that is invalid: {fault}"
                )
                anomalies.append(Anomaly("invalid-timeout-certificate", summary, [record(event)]))
        for event in index.events("vote"):
            high = event.get("high")
            if high is not None and event.get("parent") != high:
                summary = (
                    f"{event['node']} gave a fallback vote in view {event['view']} for a child of"
                    f" {short(str(event.get('parent')))}; the highest block of its timeout certificate is {short(high)}"
                )
                anomalies.append(Anomaly("fallback-off-highest", summary, [record(event)]))
        measures = {"views": examined, "timeout_certificates": len(checked)}
        return conclude(self.property, examined, anomalies, measures, "no honest node entered a view", doubts)


def _views(index: Index) -> tuple[list[Anomaly], int]:
    """Entered views whose reason the node itself recorded, or not."""
    anomalies: list[Anomaly] = []
    examined = 0
    seen = {(event["node"], event["view"]) for event in index.events("certify") if event["kind"] != COMMIT}
    left = {(event["node"], event["view"]) for event in index.events("timeout_certificate")}
    for event in index.events("enter"):
        if event["via"] == "start":
            continue
        examined += 1
        reasons = left if event["via"] == "timeout" else seen
        if (event["node"], event["view"] - 1) not in reasons:
            what = "a timeout certificate" if event["via"] == "timeout" else "a certificate"
            summary = f"{event['node']} entered view {event['view']} without {what} of view {event['view'] - 1}"
            anomalies.append(Anomaly("unjustified-view", summary, [record(event)]))
    return anomalies, examined


def _fault(index: Index, event: TraceEvent, good: set[tuple[int, str]]) -> str | None:
    """Why a timeout certificate is invalid, or None. Records without signatures are judged by their signers alone."""
    tribe, view, high = index.info.tribe, event["view"], event["high_view"]
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
        statement = index.notary.statement("timeout", view, lock)
        if not index.notary.signed(signer, statement, unhex(signature, 64, f"signature of {signer}")):
            return f"the signature of {signer} does not cover view {view} and lock view {lock}"
    return None
