"""What honest nodes say of themselves, as marks of a sequence chart: for charts of tapes and of recorded traces."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

from results.report.sequence import Band, Mark
from results.store import FaultInfo, Run, RunInfo
from results.verdict import Anomaly

MAX_MARKS = 5  # of one node at one moment
SHOWN_NAMES = 3  # of receivers or targets; more are counted
CONSENSUS_MARKS = ("restart", "halt", "enter", "timeout")  # drawn whatever they are about
OTHER_MARKS = CONSENSUS_MARKS[:2]


def subjects_of(record: dict[str, Any]) -> list[str]:
    """The hash that a record speaks of: state root, batch or block, in this order; [] for none."""
    return [record[key] for key in ("root", "batch", "block") if isinstance(record.get(key), str)][:1]


def letter(subject: str, subjects: dict[str, str]) -> str:
    """Its letter, or its first digits."""
    return subjects.get(subject, subject[:6])


def honest_marks(
    run: Run, anomaly: Anomaly, subjects: dict[str, str], span: tuple[int, int], always: Collection[str]
) -> Iterable[Mark]:
    """What honest nodes say of themselves: about the subjects, and the events that are drawn `always`."""
    witness = {(r.get("time"), r.get("node"), r.get("event"), *subjects_of(r)) for r in anomaly.witness}
    byzantine = set(run.info.byzantine)
    for event in run.trace:
        if not span[0] <= event["time"] <= span[1] or event["node"] in byzantine:
            continue
        found = subjects_of(event)
        strong = (event["time"], event["node"], event["event"], *found) in witness
        text = said(event, subjects)
        if text and (strong or event["event"] in always or (found and found[0] in subjects)):
            yield Mark(event["time"], event["node"], text, found[0] if found else "", strong)


def said(event: dict[str, Any], subjects: dict[str, str]) -> str:
    """A trace event in a word or two; "" for one that is not drawn."""
    about = letter(next(iter(subjects_of(event)), ""), subjects)
    match event["event"]:
        case "enter":
            return f"view {event['view']}"
        case "propose":
            return f"proposes {about}"
        case "vote":
            return f"{'commit-votes' if event['kind'] == 'commit' else 'votes'} {about}"
        case "certify":
            return f"{'CQC' if event['kind'] == 'commit' else 'QC'} for {about}"
        case "timeout":
            return f"times out in view {event['view']}"
        case "finalise":
            return f"FINALISES {about}, height {event['height']}"
        case "execute":
            return f"root {about}, height {event['height']}"
        case "state_certificate":
            return f"certificate for root {about}"
        case "batch":
            return f"holds batch {about}"
        case "availability_vote":
            return f"vouches for {about}"
        case "available":
            return f"certificate for batch {about}"
        case "retrieve":
            return f"fetch of {about} {'succeeds' if event['ok'] else 'fails'}"
        case "restart" | "halt":
            return f"{event['event']}s"
        case _:
            return ""


def at_most(marks: Iterable[Mark]) -> list[Mark]:
    """Sorted by time; of one node and moment the strong ones and as many others as there is room for."""
    rooms: dict[tuple[int, str], list[Mark]] = {}
    for mark in marks:
        rooms.setdefault((mark.time, mark.node), []).append(mark)
    kept = []
    for key in sorted(rooms):
        ordered = sorted(dict.fromkeys(rooms[key]), key=lambda mark: not mark.strong)
        kept += ordered[:MAX_MARKS]
    return kept


def bands(run: Run, start: int, stop: int) -> list[Band]:
    """The faults that were on in the chart's time: from when they were to begin until they were healed."""
    info: RunInfo = run.info
    healed = {
        op.value["id"]: op.value["receipt"].get("healed") or op.time
        for op in run.history
        if op.process == "nemesis" and op.f == "stop"
    }
    return [
        Band(max(start, fault.start), min(stop, healed[fault.id]), f"{fault.use}: {_whom(fault)}")
        for fault in info.faults
        if fault.kind == "fault" and fault.id in healed and fault.start <= stop and healed[fault.id] >= start
    ]


def _whom(fault: FaultInfo) -> str:
    """Whom it hits: its groups, or its first targets."""
    groups = fault.parameters.get("groups")
    if groups:
        return " | ".join(" ".join(group) for group in groups)
    return " ".join(fault.targets[:SHOWN_NAMES]) + (" ..." if len(fault.targets) > SHOWN_NAMES else "")
