"""finality-bounds: the three finality phases, how long they take and in which order (L-TX)."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from typing import Any, ClassVar

from checkers.inclusion import expiries
from checkers.index import MS, Index
from checkers.judge import Judge, conclude, record, short
from results.stats import summary as figures
from results.trace import TraceEvent
from results.verdict import Anomaly, Verdict

_ORDER = ("accepted", "pre", "ord", "exec")
Phases = dict[str, TraceEvent]


class FinalityBounds(Judge):
    """Every transaction an honest gateway accepted before the load ended is executed or aborted within exec_ms.

    Measured from its acceptance, or the heal if later. Excluded and counted: pending, still within the bound at the
    end; expired, before the bound was over and in no block. Anomalies: unfinished, slow, phases-out-of-order (pre <=
    ord <= exec). Examined: (gateway, transaction) pairs. Measures: latency of each phase and of blocks from proposal to
    finalisation, in ms and in message delays.
    """

    property: ClassVar[str] = "finality-bounds"

    def judge(self, index: Index) -> Verdict:
        seen = _phases(index)
        bound = int(index.bounds.exec_ms * MS)
        anomalies: list[Anomaly] = []
        examined = pending = expired = aborted = executed = 0
        for (gateway, tx), phases in seen.items():
            accepted = phases.get("accepted")
            if accepted is None or (index.info.load_end and int(accepted["time"]) > index.info.load_end):
                continue
            anomalies += _misordered(gateway, tx, phases)
            start = max(int(accepted["time"]), index.info.heal)
            ended = phases.get("exec") or phases.get("aborted")
            aborted += "aborted" in phases
            executed += "exec" in phases
            if ended is None and _lapsed(index, tx, phases, start + bound):
                expired += 1
                continue
            if ended is None and start + bound > index.end:
                pending += 1
                continue
            examined += 1
            if ended is None:
                anomalies.append(_unfinished(index, gateway, tx, phases, start))
            elif int(ended["time"]) > start + bound:
                took = (int(ended["time"]) - start) / MS
                summary = (
                    f"{gateway} saw {short(tx)} {ended['phase']} only after {took:.0f} ms"
                    f" (bound {index.bounds.exec_ms:.0f} ms)"
                )
                anomalies.append(Anomaly("slow", summary, [record(accepted), record(ended)]))
        measures = {
            "exec_bound_ms": index.bounds.exec_ms,
            "pending": pending,
            "expired": expired,
            "aborted": aborted,
            **_latencies(index, seen),
        }
        doubts = ["the run was interrupted before its bounds could pass"] if index.info.interrupted else []
        if examined and not executed:
            doubts.append("not one transaction was executed: all were aborted")
        return conclude(self.property, examined, anomalies, measures, "no accepted transaction could be judged", doubts)


def _phases(index: Index) -> dict[tuple[str, str], Phases]:
    """(gateway, transaction) -> first record of each phase; gateways that never failed only."""
    found: dict[tuple[str, str], Phases] = {}
    steady = set(index.steady)
    for event in index.events("gateway"):
        if event["node"] in steady:
            found.setdefault((event["node"], event["tx"]), {}).setdefault(event["phase"], event)
    return found


def _misordered(gateway: str, tx: str, phases: Phases) -> list[Anomaly]:
    reached = [phases[name] for name in _ORDER if name in phases]
    for earlier, later in pairwise(reached):
        if int(earlier["time"]) > int(later["time"]):
            summary = f"{gateway} reported {short(tx)} {later['phase']} before {earlier['phase']}"
            return [Anomaly("phases-out-of-order", summary, [record(later), record(earlier)])]
    if "exec" in phases and "ord" not in phases:
        summary = f"{gateway} reported {short(tx)} executed but never ordered"
        return [Anomaly("phases-out-of-order", summary, [record(phases["exec"])])]
    return []


def _lapsed(index: Index, tx: str, phases: Phases, due: int) -> bool:
    """Did the transaction expire before it was due, without having been ordered? Then families drop it, rightly."""
    return "ord" not in phases and tx not in index.inclusions and expiries(index).get(tx, due + 1) <= due


def _unfinished(index: Index, gateway: str, tx: str, phases: Phases, start: int) -> Anomaly:
    reached = [name for name in _ORDER if name in phases][-1]
    summary = (
        f"{gateway} accepted {short(tx)}, which got no further than {reached!r} in {(index.end - start) / MS:.0f} ms"
        f" (bound {index.bounds.exec_ms:.0f} ms)"
    )
    return Anomaly("unfinished", summary, [record(event) for event in phases.values()])


def _latencies(index: Index, seen: dict[tuple[str, str], Phases]) -> dict[str, Any]:
    """Phase latencies from acceptance; block latency from the honest proposal to each honest finalisation."""
    measures: dict[str, Any] = {}
    for name in _ORDER[1:]:
        spans = [
            (int(phases[name]["time"]) - int(phases["accepted"]["time"])) / MS
            for phases in seen.values()
            if name in phases and "accepted" in phases
        ]
        measures |= _both_units(name, spans, index.info.md_ms)
    proposed: dict[str, int] = {}
    for event in index.events("propose"):
        proposed.setdefault(event["block"], int(event["time"]))
    commits = [
        (int(event["time"]) - proposed[event["block"]]) / MS
        for event in index.events("finalise")
        if event["block"] in proposed
    ]
    return measures | _both_units("commit", commits, index.info.md_ms)


def _both_units(name: str, spans_ms: Iterable[float], md_ms: float) -> dict[str, Any]:
    spans = list(spans_ms)
    both: dict[str, Any] = {f"{name}_ms": figures(spans)}
    if md_ms > 0:
        both[f"{name}_md"] = figures(span / md_ms for span in spans)
    return both
