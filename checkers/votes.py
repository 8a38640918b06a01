"""votes: an honest replica never signs what contradicts an earlier signature of its own (I-VOTE, I-ACC)."""

from __future__ import annotations

from collections.abc import Container, Iterable
from dataclasses import dataclass, field
from typing import ClassVar

from checkers.certified import COMMIT, certified
from checkers.index import Index
from checkers.judge import Judge, conclude, record, short
from checkers.lives import lives
from results.trace import TraceEvent
from results.verdict import Anomaly, Verdict

NOTHING = "no honest replica voted"
_EXCLUSIVE = {"normal": "fallback", "fallback": "normal"}


@dataclass
class Book:
    """What one replica has signed so far."""

    votes: dict[int, dict[str, TraceEvent]] = field(default_factory=dict)  # view -> kind -> first vote
    timeout: TraceEvent | None = None  # the one of the highest view


class Votes(Judge):
    """No honest replica contradicts an own vote or time-out, across restarts; nobody honest is accused.

    Anomalies: double-vote (one kind, one view, two blocks), contradicting-votes (a normal vote against the own
    optimistic one), normal-and-fallback, vote-after-timeout (optimistic in v after a time-out of v-1 or later; normal,
    fallback or commit in v after one of v or later), uncertified-commit-vote (for a block that no honest node saw
    certified in that view), honest-accused. Replicas that lost their disk are left out. Examined: votes.
    """

    property: ClassVar[str] = "votes"
    columnar: ClassVar[str] = "checkers.columnar.votes"

    def judge(self, index: Index) -> Verdict:
        anomalies: list[Anomaly] = []
        examined = 0
        good = certified(index).blocks
        for node, life in lives(index, "vote", "timeout").items():
            if node not in index.info.tribe:
                continue
            book = Book()
            for event in life:
                if event["event"] == "timeout":
                    if book.timeout is None or event["view"] > book.timeout["view"]:
                        book.timeout = event
                    continue
                examined += 1
                anomalies += contradictions(book, event)
                if event["kind"] == COMMIT and (event["view"], event["block"]) not in good:
                    anomalies.append(uncertified(event))
        anomalies += accused(index.events("accuse"), set(index.honest) - set(index.info.amnesiac))
        return conclude(self.property, examined, anomalies, {"votes": examined}, NOTHING, certified(index).doubts)


def uncertified(event: TraceEvent) -> Anomaly:
    """A commit vote for what nobody honest saw certified."""
    summary = (
        f"{event['node']} voted to commit {short(event['block'])} in view {event['view']}, which no honest node saw"
        " certified in that view"
    )
    return Anomaly("uncertified-commit-vote", summary, [record(event)])


def contradictions(book: Book, event: TraceEvent) -> list[Anomaly]:
    """Compare a vote with what its replica has signed before, then enter it."""
    node, view, kind = event["node"], event["view"], event["kind"]
    held = book.votes.setdefault(view, {})
    found: list[Anomaly] = []

    def against(other: TraceEvent, anomaly: str, why: str) -> None:
        told = f"{other['kind']} for {short(other['block'])}" if other["event"] == "vote" else "a time-out"
        summary = (
            f"{node} signed {told} in view {other['view']}, and then {kind} for {short(event['block'])} in view {view}:"
            f" {why}"
        )
        found.append(Anomaly(anomaly, summary, [record(other), record(event)]))

    before = held.setdefault(kind, event)
    if before["block"] != event["block"]:
        against(before, "double-vote", "one vote of a kind a view")
    for one, other in (("optimistic", "normal"), ("normal", "optimistic")):
        if kind == one and other in held and held[other]["block"] != event["block"]:
            against(held[other], "contradicting-votes", "a normal vote repeats the own optimistic one or is not cast")
    if kind in _EXCLUSIVE and _EXCLUSIVE[kind] in held:
        against(held[_EXCLUSIVE[kind]], "normal-and-fallback", "never both in one view")
    barred = view - 1 if kind == "optimistic" else view
    if book.timeout is not None and book.timeout["view"] >= barred:
        against(book.timeout, "vote-after-timeout", f"a time-out of view {barred} or later bars it")
    return found


def accused(events: Iterable[TraceEvent], trusted: Container[str]) -> list[Anomaly]:
    """An honest node accuses only with two signed statements that no honest replica makes."""
    anomalies = []
    for event in events:
        if event["culprit"] in trusted:
            summary = f"{event['node']} accuses {event['culprit']}, which is honest, of {event['kind']}"
            anomalies.append(Anomaly("honest-accused", summary, [record(event)]))
    return anomalies
