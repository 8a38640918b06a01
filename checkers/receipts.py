"""receipts: every declared fault and behaviour bit, during the load, and was healed (architecture section 4)."""

from __future__ import annotations

from typing import Any, ClassVar

from checkers.corroboration import contradictions, network
from checkers.index import MS, Index
from checkers.judge import Judge, conclude
from results.history import Operation
from results.store import FaultInfo
from results.verdict import Verdict


class Receipts(Judge):
    """Every declared fault and behaviour was injected, had an effect while the load ran, and its heal was verified.

    Never FAIL: a fault that did not bite, a corrupted node that never had an occasion, an attack whose own code raised,
    and a receipt that honest nodes' records refute make the run UNKNOWN, with the reasons. Without declared faults,
    nodes that finalised are examined and no nemesis operation may appear. Examined: those with a receipt.
    """

    property: ClassVar[str] = "receipts"

    def judge(self, index: Index) -> Verdict:
        starts: dict[int, list[Operation]] = {}
        stops: dict[int, list[Operation]] = {}
        for operation in index.history:
            if operation.process == "nemesis" and isinstance(operation.value, dict) and "id" in operation.value:
                kind = starts if operation.f == "start" else stops
                kind.setdefault(operation.value["id"], []).append(operation)
        last = max((int(event["time"]) for event in index.events("finalise", "progress")), default=0)
        measured, slow = network(index)
        if not index.info.faults:
            undeclared = [f"nemesis operation {number} is not declared in run.json" for number in sorted(starts)]
            nodes = len({event["node"] for event in index.events("finalise", "progress")})
            nothing = "no fault was declared and no honest node finalised a block"
            doubts = [*undeclared, *([slow] if slow else [])]
            return conclude(self.property, nodes, [], {"faults": 0, **measured}, nothing, doubts)
        measures: dict[str, Any] = {**measured}
        reasons = [slow] if slow else []
        for fault in index.info.faults:
            found = _reasons(index, fault, starts.get(fault.id, []), stops.get(fault.id, []), last)
            name = f"{fault.kind} {fault.id} ({fault.use})"
            measures[name] = _totals(stops.get(fault.id, []))
            reasons += [f"{name}: {reason}" for reason in found]
        unknown = sorted((starts.keys() | stops.keys()) - {fault.id for fault in index.info.faults})
        reasons += [f"nemesis operation {number} is not declared in run.json" for number in unknown]
        if index.info.interrupted:
            reasons.append("the run was interrupted: receipts may be missing")
        return conclude(self.property, len(index.info.faults), [], measures, "no fault was declared", reasons)


def _receipts(stops: list[Operation]) -> list[dict[str, Any]]:
    return [stop.value["receipt"] for stop in stops if isinstance(stop.value.get("receipt"), dict)]


def _totals(stops: list[Operation]) -> dict[str, Any]:
    """Counts over all receipts of one fault or behaviour."""
    receipts = _receipts(stops)
    totals = {
        name: sum(int(r.get(name, 0)) for r in receipts) for name in ("matched", "changed", "dropped", "injected")
    }
    if any("healed" in receipt for receipt in receipts):
        del totals["injected"]  # of a fault: a time, not a count
    return {"receipts": len(receipts), "bit": sum(r.get("bit") is True for r in receipts), **totals}


def _reasons(index: Index, fault: FaultInfo, starts: list[Operation], stops: list[Operation], last: int) -> list[str]:
    """Why this fault proves nothing; empty if it bit."""
    if not starts:
        return ["it was never started"]
    receipts = _receipts(stops)
    if not receipts:
        return ["it left no receipt: it was never stopped, or the nemesis died"]
    reasons = _mishaps(stops)
    if not any(receipt.get("bit") is True for receipt in receipts):
        evidence = "; ".join(str(r["evidence"]) for r in receipts if r.get("evidence"))
        reasons.append("it did not bite" + (f" ({evidence})" if evidence else ""))
    if fault.kind == "fault" and not all(receipt.get("heal_verified") is True for receipt in receipts):
        reasons.append("its heal was not verified")
    begin = min(start.time for start in starts)
    opened = begin
    if fault.kind == "behaviour":  # all are recorded when the load starts; their windows may open before or later
        begin, opened = max(begin, fault.start), fault.start
        reasons += _idle(fault, stops)
    end = max(stop.time for stop in stops)
    load_end = index.info.load_end or index.end
    if begin >= load_end or end <= index.info.load_start:
        reasons.append("it was active only outside the load")
    if begin >= last:
        reasons.append("it began after the last finalisation of an honest node")
    closed = min(end, fault.stop or end, load_end)
    if fault.kind == "fault":
        held = [int(stop.value["held"]) for stop in stops if "held" in stop.value]  # of one whose window slipped
        reasons += _window(index, fault, receipts, min(sum(held), load_end - begin) if held else closed - begin)
    return reasons + contradictions(index, fault, (opened, closed))


def _mishaps(stops: list[Operation]) -> list[str]:
    """Attacks whose own code raised: what came after was the work of no adversary."""
    said: dict[str, list[str]] = {}  # first line of the error -> nodes
    for stop in stops:
        error = str(stop.value.get("receipt", {}).get("error", ""))
        if error:
            said.setdefault(error.splitlines()[0], []).append(str(stop.value.get("node")))
    return [f"its own code failed on {', '.join(nodes)}: {error}" for error, nodes in said.items()]


def _idle(fault: FaultInfo, stops: list[Operation]) -> list[str]:
    """Corrupted nodes that never had an occasion: then fewer misbehaved than were declared."""
    acted = {
        stop.value.get("node")
        for stop in stops
        if any(int(stop.value["receipt"].get(name, 0)) for name in ("matched", "changed", "dropped", "injected"))
    }
    idle = [node for node in fault.targets if node not in acted]
    return [f"{', '.join(idle)} never had an occasion to misbehave"] if idle else []


def _window(index: Index, fault: FaultInfo, receipts: list[dict[str, Any]], active: int) -> list[str]:
    """Was it active (ns) for most of its window, did it count an effect, and was the heal before the run's own?"""
    reasons = []
    declared = min(fault.stop, index.info.load_end or fault.stop) - fault.start
    if active < declared / 2:
        reasons.append(f"it was active for {active / MS:.0f} of {declared / MS:.0f} ms")
    if not any(int(receipt.get("changed", 0)) + int(receipt.get("dropped", 0)) for receipt in receipts):
        reasons.append("it counts nothing that it changed or dropped")
    if max(int(receipt.get("healed", 0)) for receipt in receipts) > index.info.heal:
        reasons.append("it was healed after the time that run.json gives as the heal")
    return reasons
