"""reorg: the block of an honest leader after the heal stays in the chain for good (L-REORG, protocol.md 1.11)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from checkers.certified import COMMIT, certified
from checkers.index import MS, Index
from checkers.judge import Judge, conclude, record, short
from checkers.led import Led, led_views
from results.trace import TraceEvent
from results.verdict import Anomaly, Verdict


class Reorg(Judge):
    """A block of each honest leader after the heal is certified, and every later certified block descends from it.

    Views as for commit-bound. Anomalies: uncertified-block (nothing of the view was certified, though a later view
    was), reorged-block (a later certified block does not descend from it). Later blocks whose ancestors no honest node
    recorded leave it UNKNOWN. Examined: views of honest leaders with a certified block after them.
    """

    property: ClassVar[str] = "reorg"

    def judge(self, index: Index) -> Verdict:
        parents = _parents(index)
        by_view: dict[int, dict[str, TraceEvent]] = {}
        for event in certified(index).valid:
            if event["kind"] != COMMIT:
                by_view.setdefault(event["view"], {}).setdefault(event["block"], event)
        views = {block: view for view, blocks in by_view.items() for block in blocks}
        pending = sorted(by_view)
        settled = index.end - int(index.bounds.commit_ms * MS)
        anomalies: list[Anomaly] = []
        examined = 0
        doubts = list(certified(index).doubts)
        common: str | None = None  # the newest common ancestor of all certified blocks of later views, if it is known
        newest: TraceEvent | None = None
        for led in reversed([one for one in led_views(index) if one.last <= settled]):
            while pending and pending[-1] > led.view:
                for block, event in by_view[pending.pop()].items():
                    common = block if newest is None else _meet(common, block, parents, views)
                    newest = newest or event
            if newest is None:
                continue
            if common is None:
                doubts.append("no honest node recorded the parents of all later certified blocks")
                break
            examined += 1
            common_view = views.get(common, 0)
            own = by_view.get(led.view, {})
            below = _down_to(common, led.view, parents, views) if common_view > led.view else common
            if below is None:
                doubts.append(f"no honest node recorded the ancestors of {short(common)} down to view {led.view}")
                continue
            if not own:
                anomalies.append(_uncertified(led, newest))
            elif below not in own:
                anomalies.append(_reorged(led, next(iter(own.values())), newest))
        anomalies.reverse()
        measures: dict[str, Any] = {"views": examined, "certified_blocks": len(views)}
        nothing = "no view of a never-faulty leader after the heal has a later certified block"
        return conclude(self.property, examined, anomalies, measures, nothing, doubts)


def _parents(index: Index) -> dict[str, str]:
    parents: dict[str, str] = {}
    for event in index.events("propose", "vote", "finalise"):
        if event.get("parent") is not None:
            parents.setdefault(event["block"], event["parent"])
    return parents


def _meet(one: str | None, other: str, parents: Mapping[str, str], views: Mapping[str, int]) -> str | None:
    """The newest common ancestor; None if the way is not known. Certified blocks have certified parents, older ones."""
    mine: str | None = one
    theirs: str | None = other
    while mine != theirs:
        if mine is None or theirs is None:
            return None
        if views.get(mine, 0) >= views.get(theirs, 0):
            mine = parents.get(mine)
        else:
            theirs = parents.get(theirs)
    return mine


def _down_to(block: str, view: int, parents: Mapping[str, str], views: Mapping[str, int]) -> str | None:
    """The block's newest ancestor of `view` or an older one; None if it is not known."""
    at: str | None = block
    while at is not None and views.get(at, 0) > view:
        at = parents.get(at)
    return at


def _start(led: Led) -> dict[str, Any]:
    return {"event": "view", "view": led.view, "leader": led.leader, "first": led.first, "last": led.last}


def _uncertified(led: Led, later: TraceEvent) -> Anomaly:
    summary = (
        f"all never-faulty nodes were in view {led.view} of honest {led.leader} at {led.last / MS:.0f} ms, yet no block"
        f" of it was certified; {short(later['block'])} of view {later['view']} was"
    )
    return Anomaly("uncertified-block", summary, [_start(led), record(later)])


def _reorged(led: Led, own: TraceEvent, later: TraceEvent) -> Anomaly:
    summary = (
        f"{short(own['block'])} of honest {led.leader} was certified in view {led.view}, yet the certified blocks of"
        f" later views up to {short(later['block'])} (view {later['view']}) do not all descend from it"
    )
    return Anomaly("reorged-block", summary, [_start(led), record(own), record(later)])
