"""What a run exercised, as its honest nodes recorded it: so that a campaign that passes over nothing is seen to.

`goals` are the falsy examples of a vacuous campaign (a commit, a timeout certificate, a fallback block, a retrieval
...); `states` are distinct abstract states of a node: where its lock and its last vote stand relative to its view.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from harness.trial import Trial
from results.trace import TraceEvent

Test = Callable[[TraceEvent], bool]
CAP = 3  # distances from this one on count as equal

GOALS: Mapping[str, tuple[str, Test]] = {
    "committed by two chained blocks": ("finalise", lambda e: e["rule"] == "two-chain"),
    "committed by commit votes": ("finalise", lambda e: e["rule"] == "commit-votes"),
    "caught up by an ancestor": ("finalise", lambda e: e["rule"] == "ancestor"),
    "timeout certificate formed": ("timeout_certificate", lambda e: True),
    "timed out with an old lock": ("timeout", lambda e: e["view"] - e["lock_view"] > 1),
    "optimistic block certified": ("certify", lambda e: e["kind"] == "optimistic"),
    "normal block certified": ("certify", lambda e: e["kind"] == "normal"),
    "fallback block certified": ("certify", lambda e: e["kind"] == "fallback"),
    "fallback on an old block": ("timeout_certificate", lambda e: e["view"] - e["high_view"] > 1),
    "batch retrieved": ("retrieve", lambda e: bool(e["ok"])),
    "batch retrieval failed once": ("retrieve", lambda e: not e["ok"]),
    "secondary included": ("include", lambda e: e["role"] == "secondary"),
    "restart recovered": ("restart", lambda e: e["recovered"] > 0),
    "restart without a disk": ("restart", lambda e: not e["recovered"]),
    "state certified": ("state_certificate", lambda e: True),
    "transaction aborted": ("execute", lambda e: bool(e["aborted"])),
    "batch void": ("execute", lambda e: bool(e["void"])),
    "culprit accused": ("accuse", lambda e: True),
    "input refused": ("reject", lambda e: True),
}
EQUIVOCATION = "honest votes for two blocks of a view"
TWIN_LED = "twinned replica led a scheduled view"
ALL_GOALS = (*GOALS, EQUIVOCATION, TWIN_LED)
# A campaign of so many runs that never came to one of these has tried nothing of what its generator is for.
ENOUGH = 100
REQUIRED: Mapping[str, tuple[str, ...]] = {
    "swarm": ("timeout certificate formed", "fallback block certified", "restart recovered"),
    "twins": ("timeout certificate formed", EQUIVOCATION, TWIN_LED),
    "byzzfuzz": ("timeout certificate formed", "input refused"),
}


def goals(events: Iterable[TraceEvent]) -> list[str]:
    """The goals that these honest events reach, in the order of `ALL_GOALS`."""
    left: dict[str, list[tuple[str, Test]]] = {}
    for goal, (name, test) in GOALS.items():
        left.setdefault(name, []).append((goal, test))
    reached: set[str] = set()
    voted: dict[int, str] = {}
    for event in events:
        kind = event["event"]
        block_vote = kind == "vote" and event["kind"] != "commit"
        if block_vote and voted.setdefault(event["view"], event["block"]) != event["block"]:
            reached.add(EQUIVOCATION)
        for goal, test in tuple(left.get(kind, ())):
            if test(event):
                reached.add(goal)
                left[kind].remove((goal, test))
    return [goal for goal in ALL_GOALS if goal in reached]


def twin_led(trial: Trial) -> bool:
    """Did honest nodes enter a scheduled view that a twinned replica led?"""
    leaders = (trial.info.scenario.get("cluster") or {}).get("leaders")
    if not isinstance(leaders, list):
        return False
    entered = {event["view"] for event in trial.run.trace if event["event"] == "enter"}
    views = [
        int(entry["view"])
        for info in trial.info.faults
        if info.use == "twins"
        for entry in info.parameters.get("rounds") or ()
    ]
    return any(view in entered and leaders[view % len(leaders)] in trial.info.byzantine for view in views)


def vacuous(generator: str, runs: int, reached: Mapping[str, int], enough: int = ENOUGH) -> list[str]:
    """Goals that a campaign of this generator must have come to by now, and has not."""
    return [goal for goal in REQUIRED.get(generator, ()) if runs >= enough and not reached.get(goal)]


def states(events: Iterable[TraceEvent]) -> list[str]:
    """Distinct abstract states that honest nodes were in after an event of consensus, sorted.

    "lock/vote/kind/timed/via": view minus lock's view, view minus last vote's, that vote's kind, whether the view has
    timed out here, and how it was entered. Distances are capped.
    """
    now: dict[str, list[Any]] = {}
    found: dict[tuple[Any, ...], None] = {}
    for event in events:
        kind = event["event"]
        if kind not in ("enter", "lock", "vote", "timeout", "restart"):
            continue
        state = now.setdefault(event["node"], [0, 0, 0, "none", False, "start"])  # view, lock, voted, kind, timed, via
        if kind == "enter":
            state[0], state[4], state[5] = event["view"], False, event["via"]
        elif kind == "lock":
            state[1] = event["view"]
        elif kind == "vote":
            state[2], state[3] = event["view"], event["kind"]
        elif kind == "timeout":
            state[4] = True
        else:
            now[event["node"]] = state = [0, 0, 0, "none", False, "restart"]
        view, lock, voted, vote, timed, via = state
        found[_cap(view - lock), _cap(view - voted), vote, timed, via] = None
    return sorted("/".join(str(part) for part in state) for state in found)


def _cap(distance: int) -> int:
    return max(-CAP, min(CAP, distance))


def cells(trial: Trial) -> list[str]:
    """What met what: "fault x behaviour x n mod 3" of every pair of the run ("none" where one side is empty)."""
    uses: dict[str, list[str]] = {"fault": [], "behaviour": []}
    for info in trial.info.faults:
        if info.use not in uses[info.kind]:
            uses[info.kind].append(info.use)
    residue = len(trial.info.tribe) % 3
    return [
        f"{fault} x {behaviour} x {residue}"
        for fault in uses["fault"] or ["none"]
        for behaviour in uses["behaviour"] or ["none"]
    ]
