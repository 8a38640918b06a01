"""fallbacks: a fallback vote or proposal rests on a timeout certificate, and extends its highest block (I-TC)."""

from __future__ import annotations

from collections import Counter
from typing import ClassVar

from checkers.certified import certified
from checkers.index import Index
from checkers.judge import Judge, conclude, record, short
from checkers.reverified import timeouts
from results.trace import TraceEvent
from results.verdict import Anomaly, Verdict


class Fallbacks(Judge):
    """Whoever votes or proposes by fallback in a view holds a timeout certificate of the view before, for that parent.

    The fallback vote names the highest block of its own certificate; an honest leader's proposal is held to those that
    it recorded; a certified fallback block to all that honest nodes did. Anomalies: off-highest (another parent than
    the highest block), unjustified-fallback (no such timeout certificate at that node), unjustified-certificate (a
    block was certified by fallback votes, and no honest node ever had a timeout certificate for it). Examined: fallback
    votes, proposals and certificates; a run without any is UNKNOWN.
    """

    property: ClassVar[str] = "fallbacks"

    def judge(self, index: Index) -> Verdict:
        highs: dict[tuple[str, int], set[str]] = {}
        anywhere: set[tuple[int, str]] = set()
        for event in index.events("timeout_certificate"):
            highs.setdefault((event["node"], event["view"]), set()).add(event["high"])
            anywhere.add((event["view"], event["high"]))
        parents: dict[str, str] = {}
        counts: Counter[str] = Counter()
        anomalies: list[Anomaly] = []
        for event in index.events("vote", "propose", "finalise"):
            if event.get("parent") is not None:
                parents.setdefault(event["block"], event["parent"])
            if event.get("kind") == "fallback":
                counts[event["event"]] += 1
                anomalies += _unjustified(event, highs.get((event["node"], event["view"] - 1), set()))
        for event in certified(index).valid:
            if event["kind"] == "fallback":
                counts["certify"] += 1
                parent = parents.get(event["block"])
                if parent is not None and (event["view"] - 1, parent) not in anywhere:
                    anomalies.append(_without(event, parent))
        measures = {"votes": counts["vote"], "proposals": counts["propose"], "certificates": counts["certify"]}
        nothing = "no honest node voted or proposed by fallback"
        return conclude(self.property, counts.total(), anomalies, measures, nothing, timeouts(index).doubts)


def _unjustified(event: TraceEvent, had: set[str]) -> list[Anomaly]:
    """What is wrong with a vote or proposal of a node that recorded timeout certificates with these highest blocks."""
    deed = "vote" if event["event"] == "vote" else "proposal"
    told = f"{event['node']} gave a fallback {deed} in view {event['view']}"
    due = {event["high"]} if event.get("high") is not None else had
    if due and event["parent"] not in due:
        highest = " or ".join(short(high) for high in sorted(due))
        summary = (
            f"{told} for a child of {short(event['parent'])}; its timeout certificate's highest block is {highest}"
        )
        return [Anomaly("off-highest", summary, [record(event)])]
    if not due & had:
        summary = f"{told}, but recorded no timeout certificate of view {event['view'] - 1} that justifies it"
        return [Anomaly("unjustified-fallback", summary, [record(event)])]
    return []


def _without(event: TraceEvent, parent: str) -> Anomaly:
    summary = (
        f"{short(event['block'])} was certified by fallback votes in view {event['view']}, but no honest node had a"
        f" timeout certificate of view {event['view'] - 1} with its parent {short(parent)} as the highest block"
    )
    return Anomaly("unjustified-certificate", summary, [record(event)])
