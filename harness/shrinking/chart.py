"""From a failing trial and the tape of what travelled in it to the message-sequence chart round the anomaly."""

from __future__ import annotations

from collections.abc import Iterable

from harness.backends.sim.tape import CONSENSUS, DATA, EXECUTION, NEVER, Delivery, Tape
from harness.trial import Trial
from results.report.moments import (
    CONSENSUS_MARKS,
    OTHER_MARKS,
    SHOWN_NAMES,
    at_most,
    bands,
    honest_marks,
    letter,
    subjects_of,
)
from results.report.sequence import Arrow, Chart, Lifeline, Mark, letters
from results.verdict import Anomaly

# Kinds of messages that matter to a property; those of consensus where it is not named.
KINDS = {
    "availability": DATA, "dedup": DATA, "censorship": DATA,
    "state-root": EXECUTION, "acknowledged": EXECUTION, "conservation": EXECUTION,
}  # fmt: skip
STYLE = {
    "OPT": "proposal", "NRM": "proposal", "FBK": "proposal", "VOTE": "vote", "CMT": "commit", "TMO": "timeout",
    "QC": "certificate", "CQC": "certificate", "TC": "timeout", "DAQC": "certificate", "SC": "certificate",
    "AV": "vote", "SV": "vote",
}  # fmt: skip
VERBS = {
    "OPT": "proposes", "NRM": "proposes", "FBK": "proposes", "VOTE": "votes", "CMT": "commit-votes", "TMO": "timeout",
    "QC": "shows QC", "CQC": "shows CQC", "TC": "shows TC", "DAQC": "shows DAQC", "SC": "shows SC", "AV": "vouches",
    "SV": "state vote", "B": "sends batch", "BREQ": "asks for", "BRSP": "returns",
}  # fmt: skip
MAX_ARROWS = 150
BEFORE_MD = 6  # message delays before the witness, where no subject says when it began


def kinds_of(property: str) -> tuple[str, ...]:
    """Wire tags to record for a chart about the property."""
    return KINDS.get(property, CONSENSUS)


def chart_of(trial: Trial, property: str, anomaly: Anomaly, tape: Tape) -> Chart:
    """The chart of what led to the anomaly; `tape` recorded the trial."""
    info = trial.info
    subjects = letters([s for record in anomaly.witness for s in subjects_of(record)])
    start, stop = _span(trial, anomaly, tape, subjects)
    coalition = set(info.byzantine)  # what its members tell each other is no news to anybody
    inside = [
        d
        for d in tape.deliveries
        if start <= d.sent <= stop and d.arrived <= stop and not {d.sender, d.receiver} <= coalition
    ]
    room = MAX_ARROWS if kinds_of(property) is CONSENSUS or not subjects else 0
    drawn, left_out = _most_telling(inside, subjects, room)
    always = CONSENSUS_MARKS if kinds_of(property) is CONSENSUS else OTHER_MARKS
    marks = [
        *honest_marks(trial.run, anomaly, subjects, (start, stop), always),
        *_byzantine_marks(drawn, info.byzantine, subjects),
    ]
    named = {mark.node for mark in marks} | {d.sender for d in drawn} | {d.receiver for d in drawn}
    lifelines = [Lifeline(node, node in coalition, "honest") for node in info.tribe if node in named]
    lifelines += [Lifeline(node, False, "gateway") for node in info.gateways if node in {m.node for m in marks}]
    notes = [anomaly.summary]
    if left_out:
        notes.append(f"{left_out} messages of the same time, about other things, are not drawn.")
    return Chart(
        f"{info.name}: {anomaly.kind}",
        lifelines,
        [_arrow(d, subjects) for d in drawn],
        at_most(marks),
        bands(trial.run, start, stop),
        subjects,
        notes,
    )


def _span(trial: Trial, anomaly: Anomaly, tape: Tape, subjects: dict[str, str]) -> tuple[int, int]:
    """From the first message about the witness's subjects to the end of the witness, ns."""
    times = [record["time"] for record in anomaly.witness if isinstance(record.get("time"), int)]
    delay = int(trial.info.md_ms * 1e6) or 1_000_000
    stop = max(times, default=trial.info.end)
    first = min((d.sent for d in tape.deliveries if d.subject in subjects), default=None)
    start = min(times, default=stop) - BEFORE_MD * delay if first is None else first
    return max(0, min(start, stop - delay)), stop


def _most_telling(inside: list[Delivery], subjects: dict[str, str], room: int) -> tuple[list[Delivery], int]:
    """All if there is `room`, else those about the subjects, the first MAX_ARROWS; and how many are left out."""
    if len(inside) <= room:
        return inside, 0
    about = [d for d in inside if d.subject in subjects][:MAX_ARROWS]
    return about, len(inside) - len(about)


def _arrow(d: Delivery, subjects: dict[str, str]) -> Arrow:
    arrived = None if d.arrived == NEVER else d.arrived
    view = "" if d.view is None else f" of view {d.view}"
    about = f" for {letter(d.subject, subjects)}" if d.subject else ""
    end = "stopped" if arrived is None else f"at {arrived / 1e6:g} ms"
    title = f"{d.kind}{view}{about}: {d.sender} at {d.sent / 1e6:g} ms to {d.receiver} {end}"
    return Arrow(d.sent, arrived, d.sender, d.receiver, STYLE.get(d.kind, "data"), d.subject, title)


# ---------------------------------------------------------------- marks
def _byzantine_marks(drawn: list[Delivery], byzantine: list[str], subjects: dict[str, str]) -> Iterable[Mark]:
    """What corrupted nodes do: whom they tell what."""
    told: dict[tuple[int, str, str, str], list[str]] = {}
    for d in drawn:
        if d.sender in byzantine and d.subject in subjects:
            receivers = told.setdefault((d.sent, d.sender, VERBS.get(d.kind, d.kind), d.subject), [])
            if d.receiver not in (*receivers, *byzantine):
                receivers.append(d.receiver)
    for (time, node, verb, subject), receivers in told.items():
        if receivers:
            whom = " ".join(sorted(receivers)) if len(receivers) <= SHOWN_NAMES else f"{len(receivers)} nodes"
            yield Mark(time, node, f"{verb} {subjects[subject]} to {whom}", subject)
