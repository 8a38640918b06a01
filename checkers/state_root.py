"""state-root: certified roots are the result of executing the finalised order (claim execution-finality; I-ROOT)."""

from __future__ import annotations

from typing import Any, ClassVar

from checkers.index import Index
from checkers.judge import Judge, conclude, record, short
from checkers.replay import Outcome, replay_of
from checkers.reverified import ROOTS, states
from results.trace import TraceEvent
from results.verdict import Anomaly, Verdict


class StateRoot(Judge):
    """Every certified and every honest root equals what an independent re-execution from genesis gets.

    Anomalies: false-root-certified, honest-divergence (an honest node's root or applied transactions),
    invalid-state-certificate (not M distinct valid votes of the clan), two-roots-certified (valid certificates of one
    clan and height for two roots, even above the height where bodies end). One anomaly per clan, kind and node: roots
    are chained, so the first wrong one spoils the rest. Examined: (clan, height) with a certificate, below the height
    where bodies end; a pass needs an applied transaction among them.
    """

    property: ClassVar[str] = "state-root"

    def judge(self, index: Index) -> Verdict:
        replay = replay_of(index)
        found = states(index)
        anomalies, doubts = [_invalid(event, fault) for event, fault in found.invalid], list(found.doubts)
        certified = sorted(found.valid, key=lambda e: (e["height"], e["clan"], e["root"]))
        false_clans: set[int] = set()
        examined: set[tuple[int, int]] = set()
        above = 0
        for event in certified:
            at = (event["clan"], event["height"])
            mine = replay.outcomes.get(at)
            if mine is None:
                above += 1
                continue
            examined.add(at)
            if _differs(event, mine) and at[0] not in false_clans:
                false_clans.add(at[0])
                anomalies.append(_false_root(event, mine))
        anomalies += _two_roots(certified)
        divergences, executed = _divergences(index)
        anomalies += divergences
        applied = sum(len(replay.outcomes[at].applied) for at in examined)
        measures: dict[str, Any] = {
            "certified_heights": len(examined),
            "executes_compared": executed,
            "applied_under_certificates": applied,
            "certificates_above_replay": above,
            **replay.where_it_stopped(),
        }
        bare = sorted({clan for clan, _ in replay.outcomes} - {clan for clan, _ in examined})
        if examined and bare:
            doubts.append(f"no state certificate of clan {', '.join(map(str, bare))} could be examined")
        if examined and not applied:
            doubts.append("no transaction was applied at any certified height: equal roots of nothing prove nothing")
        return conclude(self.property, len(examined), anomalies, measures, "no state certificate to examine", doubts)


def _invalid(event: TraceEvent, fault: str) -> Anomaly:
    summary = f"{event['node']} accepted a state certificate of clan {event['clan']} height {event['height']}: {fault}"
    return Anomaly("invalid-state-certificate", summary, [record(event)])


def _two_roots(certified: list[TraceEvent]) -> list[Anomaly]:
    """The first height of each clan with valid certificates for two outcomes: then M voters share no honest one."""
    first: dict[tuple[int, int], TraceEvent] = {}
    found: dict[int, Anomaly] = {}
    for event in certified:
        before = first.setdefault((event["clan"], event["height"]), event)
        if [before[name] for name in ROOTS] != [event[name] for name in ROOTS] and event["clan"] not in found:
            summary = (
                f"clan {event['clan']} certified {short(before['root'])} (signed by {', '.join(before['signers'])}) and"
                f" {short(event['root'])} (signed by {', '.join(event['signers'])}) at height {event['height']}"
            )
            found[event["clan"]] = Anomaly("two-roots-certified", summary, [record(before), record(event)])
    return list(found.values())


def _differs(event: TraceEvent, mine: Outcome) -> list[str]:
    own = dict(zip(ROOTS, (mine.block, mine.previous_root, mine.root), strict=True))
    return [name for name in ROOTS if event[name] != own[name]]


def _false_root(event: TraceEvent, mine: Outcome) -> Anomaly:
    summary = (
        f"clan {mine.clan} certified root {short(event['root'])} at height {mine.height} (signed by"
        f" {', '.join(event['signers'])}); executing the finalised order gives {short(mine.root)}"
    )
    return Anomaly("false-root-certified", summary, [record(event), _own(mine)])


def _divergences(index: Index) -> tuple[list[Anomaly], int]:
    """Honest executions that differ from the re-execution (the first of each node and clan); how many were compared."""
    replay = replay_of(index)
    diverged: set[tuple[str, int]] = set()
    anomalies = []
    compared = 0
    for event in sorted(index.events("execute"), key=lambda e: e["height"]):
        mine = replay.outcomes.get((event["clan"], event["height"]))
        if mine is None:
            continue
        compared += 1
        differs = _differs(event, mine)
        if sorted(event["applied"]) != sorted(mine.applied):
            differs.append("applied")
        who = (event["node"], event["clan"])
        if differs and who not in diverged:
            diverged.add(who)
            summary = (
                f"{who[0]} executed clan {mine.clan} height {mine.height} to root {short(event['root'])};"
                f" re-execution gives {short(mine.root)} (differs in {', '.join(differs)})"
            )
            anomalies.append(Anomaly("honest-divergence", summary, [record(event), _own(mine)]))
    return anomalies, compared


def _own(mine: Outcome) -> dict[str, Any]:
    """The re-execution's result as a witness."""
    return {
        "event": "re-execution",
        "clan": mine.clan,
        "height": mine.height,
        "block": mine.block,
        "prev_root": mine.previous_root,
        "root": mine.root,
        "applied": list(mine.applied),
        "aborted": [list(pair) for pair in mine.aborted],
    }
