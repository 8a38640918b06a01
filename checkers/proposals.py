"""proposals: only the leader of a view proposes in it, and an honest one contradicts nothing (protocol.md 1.4, 1.7)."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, ClassVar

from checkers.index import Index
from checkers.judge import Judge, conclude, record, short
from checkers.leaders import schedule
from checkers.lives import lives
from results.trace import TraceEvent
from results.verdict import Anomaly, Verdict

MOST_OPTIMISTIC = 2  # a view, on different parents


@dataclass
class _View:
    """What one leader proposed in one view, over its lives."""

    by_parent: dict[str, TraceEvent] = field(default_factory=dict)  # parent -> the first proposal on it
    optimistic: dict[str, TraceEvent] = field(default_factory=dict)
    main: TraceEvent | None = None  # normal or fallback


class Proposals(Judge):
    """Only the leader of a view proposes in it, and honest leaders propose what one honest leader may.

    At most two optimistic blocks, on different parents, and one normal or fallback one; on one parent always the same
    block, after a restart too. Anomalies: two-blocks-on-one-parent, third-optimistic, second-main (two normal or
    fallback proposals, or one of each), wrong-leader (an honest node proposed, voted for or finalised a block of
    somebody else than the view's leader). Replicas that lost their disk may contradict themselves. Examined: proposals,
    and the votes and finalised blocks that name a proposer.
    """

    property: ClassVar[str] = "proposals"

    def judge(self, index: Index) -> Verdict:
        leader = schedule(index)
        anomalies: list[Anomaly] = []
        counts: Counter[str] = Counter()
        for node, life in lives(index, "propose").items():
            views: dict[int, _View] = {}
            for event in life:
                counts[event["kind"]] += 1
                anomalies += _legal(node, views.setdefault(event["view"], _View()), event)
        told: set[tuple[int, str]] = set()
        named = 0
        for event in index.events("propose", "vote", "finalise"):
            who = event["node"] if event["event"] == "propose" else event.get("proposer")
            if who is None:
                continue
            named += event["event"] != "propose"
            if who != leader(event["view"]) and (event["view"], event["block"]) not in told:
                told.add((event["view"], event["block"]))
                summary = (
                    f"{event['node']} {_DEEDS[event['event']]} {short(event['block'])} of {who} in view"
                    f" {event['view']}, which {leader(event['view'])} leads"
                )
                anomalies.append(Anomaly("wrong-leader", summary, [record(event)]))
        measures: dict[str, Any] = {**dict(sorted(counts.items())), "proposers_named": named}
        nothing = "no honest node proposed anything"
        return conclude(self.property, counts.total() + named, anomalies, measures, nothing)


_DEEDS = {"propose": "proposed", "vote": "voted for", "finalise": "finalised"}


def _legal(node: str, view: _View, event: TraceEvent) -> list[Anomaly]:
    """Compare a proposal with those of the same view before it, then enter it."""
    block, parent, kind = event["block"], event["parent"], event["kind"]
    found: list[Anomaly] = []

    def against(other: TraceEvent, anomaly: str, why: str) -> None:
        summary = (
            f"{node} proposed {short(other['block'])} ({other['kind']}) in view {event['view']}, and then"
            f" {short(block)} ({kind}): {why}"
        )
        found.append(Anomaly(anomaly, summary, [record(other), record(event)]))

    first = view.by_parent.setdefault(parent, event)
    if first["block"] != block:
        against(first, "two-blocks-on-one-parent", f"both on {short(parent)}, on which there is one block a view")
    if kind == "optimistic":
        if parent not in view.optimistic and len(view.optimistic) >= MOST_OPTIMISTIC:
            against(next(iter(view.optimistic.values())), "third-optimistic", f"more than {MOST_OPTIMISTIC} a view")
        view.optimistic.setdefault(parent, event)
    elif view.main is None:
        view.main = event
    elif (view.main["kind"], view.main["block"]) != (kind, block):
        against(view.main, "second-main", "a view is entered through one trigger, and gets one such proposal")
    return found
