"""timeouts: views are entered for a reason, and timeout certificates carry the highest lock (I-TC)."""

from __future__ import annotations

from typing import ClassVar

from checkers.certified import COMMIT
from checkers.index import Index
from checkers.judge import Judge, conclude, record, short
from checkers.reverified import timeouts
from results.verdict import Anomaly, Verdict


class Timeouts(Judge):
    """Every view is entered through a certificate or a timeout certificate of the view before, and these are valid.

    A timeout certificate needs Q distinct, verified time-outs of its view; the highest of their lock views is that of
    the certificate inside, which somebody honest holds; a fallback vote or proposal is for a child of that block, and
    whoever makes one has such a certificate of the view before. Anomalies: unjustified-view,
    invalid-timeout-certificate, fallback-off-highest, unjustified-fallback. Examined: views entered.
    """

    property: ClassVar[str] = "timeouts"

    def judge(self, index: Index) -> Verdict:
        anomalies, examined = _views(index)
        found = timeouts(index)
        for event, fault in found.invalid:
            summary = f"{event['node']} accepted a timeout certificate of view {event['view']} that is invalid: {fault}"
            anomalies.append(Anomaly("invalid-timeout-certificate", summary, [record(event)]))
        anomalies += _fallbacks(index)
        measures = {"views": examined, "timeout_certificates": found.count}
        return conclude(self.property, examined, anomalies, measures, "no honest node entered a view", found.doubts)


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


def _fallbacks(index: Index) -> list[Anomaly]:
    """Fallback votes and proposals of honest nodes against the timeout certificates that each of them recorded.

    A node may learn of several timeout certificates of one view; a vote names the highest block (`high`) of its own.
    """
    highs: dict[tuple[str, int], set[str]] = {}
    for event in index.events("timeout_certificate"):
        highs.setdefault((event["node"], event["view"]), set()).add(event["high"])
    anomalies: list[Anomaly] = []
    for event in index.events("vote", "propose"):
        if event["kind"] != "fallback":
            continue
        deed = (
            f"{event['node']} gave a fallback {event['event'].replace('propose', 'proposal')} in view {event['view']}"
        )
        had = highs.get((event["node"], event["view"] - 1), set())
        due = {event["high"]} if event.get("high") is not None else had
        if due and event.get("parent") not in due:
            summary = (
                f"{deed} for a child of {short(str(event.get('parent')))}; the highest block of its timeout"
                f" certificate is {' or '.join(short(high) for high in sorted(due))}"
            )
            anomalies.append(Anomaly("fallback-off-highest", summary, [record(event)]))
        elif not due & had:
            summary = f"{deed}, but recorded no timeout certificate of view {event['view'] - 1} that justifies it"
            anomalies.append(Anomaly("unjustified-fallback", summary, [record(event)]))
    return anomalies
