"""locks: an honest node's lock only rises, is certified, and is what its votes and time-outs rest on (I-LOCK)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from checkers.certified import certified
from checkers.index import Index
from checkers.judge import Judge, conclude, record, short
from checkers.lives import lives
from results.trace import TraceEvent
from results.verdict import Anomaly, Verdict

NOTHING = "no honest node locked anything"


class Locks(Judge):
    """The lock of an honest node never falls, is older than its time-outs, and not older than what it voted on.

    Anomalies: lock-fell, uncertified-lock (no honest node holds a certificate for it), stale-timeout (a time-out
    tells another lock than the node's), lock-too-new (its lock is not older than the view it ends),
    vote-above-lock (a vote for a child of a block newer than the own lock). Examined: locks.
    """

    property: ClassVar[str] = "locks"
    columnar: ClassVar[str] = "checkers.columnar.locks"

    def judge(self, index: Index) -> Verdict:
        good = certified(index).blocks
        views = {event["block"]: int(event["view"]) for event in index.events("vote", "propose", "certify")}
        anomalies: list[Anomaly] = []
        examined = 0
        for life in lives(index, "lock", "vote", "timeout").values():
            last: TraceEvent | None = None
            for event in life:
                if event["event"] != "lock":
                    anomalies += resting(last, event, views)
                    continue
                examined += 1
                anomalies += raised(last, event, (event["view"], event["block"]) in good)
                last = event
        return conclude(self.property, examined, anomalies, {"locks": examined}, NOTHING, certified(index).doubts)


def raised(last: TraceEvent | None, event: TraceEvent, certified: bool) -> list[Anomaly]:
    """Is a lock newer than the node's `last`, and for a certified block?"""
    anomalies, node = [], event["node"]
    if last is not None and event["view"] <= last["view"] and event["block"] != last["block"]:
        summary = f"{node} locked view {event['view']} after view {last['view']}: a lock never falls"
        anomalies.append(Anomaly("lock-fell", summary, [record(last), record(event)]))
    if not certified:
        summary = (
            f"{node} locked {short(event['block'])} of view {event['view']}, for which no honest node holds a valid"
            " certificate"
        )
        anomalies.append(Anomaly("uncertified-lock", summary, [record(event)]))
    return anomalies


def resting(lock: TraceEvent | None, event: TraceEvent, views: Mapping[str, int]) -> list[Anomaly]:
    """Does a vote or time-out rest on the lock that its node held then? Judged from the node's first lock record on.

    A record of the same incarnation is exact; after a restart the node may hold a newer lock than it could record.
    """
    if event["event"] == "timeout" and event["lock_view"] >= event["view"]:
        summary = f"{event['node']} timed out in view {event['view']} with a lock of view {event['lock_view']}"
        return [Anomaly("lock-too-new", summary, [record(event)])]
    if lock is None:
        return []
    exact = lock["incarnation"] == event["incarnation"]
    if event["event"] == "timeout":
        told, held = event["lock_view"], lock["view"]
        if told < held or (exact and told != held):
            summary = (
                f"{event['node']} timed out in view {event['view']} telling a lock of view {told}, while it held one"
                f" of view {held}"
            )
            return [Anomaly("stale-timeout", summary, [record(lock), record(event)])]
        return []
    parent = views.get(event.get("parent", ""))
    if exact and parent is not None and parent > lock["view"]:
        summary = (
            f"{event['node']} voted in view {event['view']} for a child of {short(event['parent'])} of view {parent},"
            f" while it held a lock of view {lock['view']}"
        )
        return [Anomaly("vote-above-lock", summary, [record(lock), record(event)])]
    return []
