"""commit-rule: what a node finalises is justified by what was seen, by the rule it names (protocol.md 1.4 tryCommit).

A two-chain commit rests on certificates of two consecutive views, a commit by votes on a commit certificate, everything
else on a descendant that was committed so.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, ClassVar

from checkers.certified import COMMIT, certified
from checkers.index import MS, Index
from checkers.judge import Judge, conclude, record, short
from results.trace import TraceEvent
from results.verdict import Anomaly, Verdict

_Sights = dict[tuple[bool, int, str], int]  # (commit certificate, view, block) -> when an honest node first recorded it
CUT_OFF_NS = 1000 * MS  # a node that records nothing for so long after an ancestor was killed in the middle of a commit


class CommitRule(Judge):
    """Each finalised block was committed directly, or is an ancestor of one that its node committed at once.

    Anomalies: unjustified-two-chain (no valid certificates of the block and of a child in the next view),
    unjustified-commit-votes (no valid commit certificate of the block and view), unjustified-ancestor (the node's next
    finalised blocks do not lead to a direct commit), unknown-rule. Certificates count if any honest node recorded them
    by then. Examined: finalise records.
    """

    property: ClassVar[str] = "commit-rule"

    def judge(self, index: Index) -> Verdict:
        seen = _first_sights(index)
        children = _children(index, seen)
        anomalies, counts, silent = _judged(index, seen, children)
        doubts = list(certified(index).doubts)
        if silent:
            doubts.append(f"{silent} finalise records do not name their rule")
        measures: dict[str, Any] = {**dict(sorted(counts.items())), "certificates": certified(index).count}
        return conclude(self.property, counts.total(), anomalies, measures, "no honest node finalised a block", doubts)


def _judged(
    index: Index, seen: _Sights, children: dict[tuple[int, str], int]
) -> tuple[list[Anomaly], Counter[str], int]:
    """Anomalies, records by rule, and how many records name none. A life that was cut short owes no descendant."""
    anomalies: list[Anomaly] = []
    counts: Counter[str] = Counter()
    silent = 0
    waiting: dict[str, list[TraceEvent]] = {}  # node -> its ancestors whose descendant has not come yet
    last: dict[str, int] = {}
    for event in index.all_events:
        node = event["node"]
        chain = waiting.setdefault(node, [])
        if event["event"] in ("start", "restart"):
            anomalies += _unfinished(chain, last.get(node, 0))
            chain.clear()
        last[node] = int(event["time"])
        if event["event"] != "finalise":
            continue
        if not event.get("rule"):
            silent += 1
            continue
        counts[event["rule"]] += 1
        if chain and chain[-1]["block"] != event["parent"]:
            anomalies.append(_orphan(chain[-1]))
            chain.clear()
        if event["rule"] == "ancestor":
            chain.append(event)
        else:
            chain.clear()
            anomalies += _direct(event, seen, children)
    for node, chain in waiting.items():
        anomalies += _unfinished(chain, last[node])
    return anomalies, counts, silent


def _unfinished(chain: list[TraceEvent], last: int) -> list[Anomaly]:
    """Ancestors at the end of a life that went on for long enough to commit their descendant too."""
    return [_orphan(chain[-1])] if chain and last > int(chain[-1]["time"]) + CUT_OFF_NS else []


def _first_sights(index: Index) -> _Sights:
    """Valid certificates by what they certify. Certificates of one block differ by their signers: the first counts."""
    good = {(event["kind"] == COMMIT, event["view"], event["block"]) for event in certified(index).valid}
    seen: _Sights = {}
    for event in index.events("certify"):
        what = (event["kind"] == COMMIT, event["view"], event["block"])
        if what in good:
            seen[what] = min(int(event["time"]), seen.get(what, int(event["time"])))
    return seen


def _children(index: Index, seen: _Sights) -> dict[tuple[int, str], int]:
    """(view, parent) -> when a block of that view with that parent was first seen certified by block votes."""
    parents: dict[str, str] = {}
    for event in index.events("propose", "vote", "finalise"):
        if event.get("parent") is not None:
            parents.setdefault(event["block"], event["parent"])
    found: dict[tuple[int, str], int] = {}
    for (commit, view, block), time in seen.items():
        if not commit and block in parents:
            at = (view, parents[block])
            found[at] = min(time, found.get(at, time))
    return found


def _direct(event: TraceEvent, seen: _Sights, children: dict[tuple[int, str], int]) -> list[Anomaly]:
    """What a direct commit lacks."""
    node, block, view, now = event["node"], event["block"], event["view"], int(event["time"])
    told = f"{node} finalised {short(block)} of view {view} at height {event['height']}"
    if event["rule"] == "two-chain":
        own, child = seen.get((False, view, block)), children.get((view + 1, block))
        if own is not None and child is not None and max(own, child) <= now:
            return []
        lacks = "a certificate of its own" if own is None or own > now else f"a certified child in view {view + 1}"
        summary = f"{told} as the first of two consecutive certified blocks, but nobody honest had seen {lacks}"
        return [Anomaly("unjustified-two-chain", summary, [record(event)])]
    if event["rule"] == "commit-votes":
        if seen.get((True, view, block), now + 1) <= now:
            return []
        summary = f"{told} by commit votes, but nobody honest had seen a valid commit certificate for it in that view"
        return [Anomaly("unjustified-commit-votes", summary, [record(event)])]
    return [Anomaly("unknown-rule", f"{told} by a rule {event['rule']!r} that is none", [record(event)])]


def _orphan(event: TraceEvent) -> Anomaly:
    summary = (
        f"{event['node']} finalised {short(event['block'])} at height {event['height']} as an ancestor, but committed"
        " no descendant of it directly"
    )
    return Anomaly("unjustified-ancestor", summary, [record(event)])
