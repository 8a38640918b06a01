"""The message-sequence chart round an anomaly of any run, from what its honest nodes recorded.

A trace holds no deliveries, so only arrows are drawn that the records prove: a proposal reached a node by the time it
voted for the block, a signer's vote had reached a node by the time that held the certificate. Arrows end where the
proof lies, not where the message arrived; the chart says so. (`moonquake shrink` draws real deliveries.)
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from results.report.moments import CONSENSUS_MARKS, OTHER_MARKS, at_most, bands, honest_marks, letter, subjects_of
from results.report.sequence import Arrow, Chart, Lifeline, Mark, letters
from results.store import Run
from results.trace import TraceEvent
from results.verdict import Anomaly, Verdict

DATA = ("availability", "dedup", "censorship", "state-root", "acknowledged", "conservation")  # not about consensus
BEFORE_MD = 6  # message delays before the witness, where no subject says when it began
MAX_ARROWS = 120
MAX_MARKS = 160
MAX_LIFELINES = 14
HOW = "Arrows end where a record proves that the message had arrived; the moment of arrival itself is not recorded."
SIGNED = "Of Byzantine nodes only what their signatures prove is drawn, at the time when an honest node held it."


def chart_around(run: Run, verdict: Verdict, anomaly: Anomaly) -> Chart | None:
    """The chart, or None for an anomaly whose witness names no node of the run at any time."""
    nodes = [*run.info.tribe, *run.info.gateways]
    times = [r["time"] for r in anomaly.witness if isinstance(r.get("time"), int) and r.get("node") in nodes]
    if not times:
        return None
    subjects = letters([s for record in anomaly.witness for s in subjects_of(record)])
    consensus = verdict.property not in DATA
    span = _span(run, times, subjects)
    within = [e for e in run.trace if span[0] <= e["time"] <= span[1]]
    arrows = list(_arrows(within, subjects, set(run.info.byzantine)))
    told = honest_marks(run, anomaly, subjects, span, CONSENSUS_MARKS if consensus else OTHER_MARKS)
    marks = at_most([*told, *_signatures(within, subjects, set(run.info.byzantine))])
    lifelines, more = _lifelines(run, anomaly, marks, arrows)
    drawn = {life.name for life in lifelines}
    arrows = [a for a in arrows if {a.sender, a.receiver} <= drawn]
    notes = [anomaly.summary, HOW, *([SIGNED] if any(life.byzantine for life in lifelines) else [])]
    if more:
        notes.append(f"{more} further nodes are not drawn.")
    for left, what in ((len(arrows) - MAX_ARROWS, "messages"), (len(marks) - MAX_MARKS, "moments")):
        if left > 0:
            notes.append(f"The first {left} {what} of this time are not drawn.")
    return Chart(
        f"{run.info.name}: {anomaly.kind}", lifelines, arrows[-MAX_ARROWS:], _last(marks), bands(run, *span), subjects,
        notes,
    )  # fmt: skip


def _span(run: Run, times: list[int], subjects: dict[str, str]) -> tuple[int, int]:
    """From the first record about the witness's subjects, or some message delays before it, to the witness's end."""
    delay = int(run.info.md_ms * 1e6) or 1_000_000
    stop = max(times)
    about = (e["time"] for e in run.trace if any(s in subjects for s in subjects_of(e)))
    first = min(about, default=stop)
    earliest = min(times) - BEFORE_MD * delay
    start = first if subjects and first >= earliest - BEFORE_MD * delay else earliest
    return max(0, min(start, stop - delay)), stop


def _last(marks: list[Mark]) -> list[Mark]:
    """The marks nearest to the witness's end, and all strong ones."""
    kept = set(map(id, marks[-MAX_MARKS:]))
    return [mark for mark in marks if mark.strong or id(mark) in kept]


def _arrows(events: list[TraceEvent], subjects: dict[str, str], byzantine: set[str]) -> Iterator[Arrow]:
    proposed: dict[str, tuple[int, str]] = {}
    voted: dict[tuple[str, str, str], int] = {}
    certified: set[tuple[str, str]] = set()
    for event in events:
        node, block, time = event["node"], event.get("block"), event["time"]
        if not isinstance(block, str) or block not in subjects or node in byzantine:
            continue
        if event["event"] == "propose":
            proposed.setdefault(block, (time, node))
        elif event["event"] == "vote":
            voted.setdefault((node, block, event["kind"]), time)
            yield from _proposal(proposed.get(block), time, node, block, subjects)
        elif event["event"] == "certify" and (block, event["kind"]) not in certified:
            certified.add((block, event["kind"]))  # the first node that held it
            yield from _votes(event, voted, subjects)


def _proposal(
    known: tuple[int, str] | None, time: int, node: str, block: str, subjects: dict[str, str]
) -> Iterable[Arrow]:
    if known is not None and known[1] != node and time > known[0]:
        title = f"proposal of {letter(block, subjects)}: {known[1]} to {node}, by {time / 1e6:g} ms"
        yield Arrow(known[0], time, known[1], node, "proposal", block, title)


def _votes(event: TraceEvent, voted: dict[tuple[str, str, str], int], subjects: dict[str, str]) -> Iterable[Arrow]:
    node, block, kind, time = event["node"], event["block"], event["kind"], event["time"]
    for signer in event.get("signers", ()):
        sent = voted.get((signer, block, kind))
        if signer != node and sent is not None and sent < time:
            title = f"vote ({kind}) for {letter(block, subjects)}: {signer} to {node}, by {time / 1e6:g} ms"
            yield Arrow(sent, time, signer, node, "commit" if kind == "commit" else "vote", block, title)


def _signatures(events: list[TraceEvent], subjects: dict[str, str], byzantine: set[str]) -> Iterator[Mark]:
    """What corrupted nodes signed, as the certificates that honest nodes held prove it: each once."""
    seen: set[tuple[str, str, str]] = set()
    for event in events:
        block = event.get("block")
        if event["event"] != "certify" or event["node"] in byzantine or block not in subjects:
            continue
        for signer in byzantine.intersection(event.get("signers", ())):
            if (signer, block, event["kind"]) not in seen:
                seen.add((signer, block, event["kind"]))
                what = "commit-voted" if event["kind"] == "commit" else "voted"
                yield Mark(event["time"], signer, f"{what} {letter(block, subjects)} (in {event['node']}'s QC)", block)


def _lifelines(run: Run, anomaly: Anomaly, marks: list[Mark], arrows: list[Arrow]) -> tuple[list[Lifeline], int]:
    """Lifelines of the nodes that matter, and how many others there are: those of the witness come first."""
    info = run.info
    active = {mark.node for mark in marks} | {name for arrow in arrows for name in (arrow.sender, arrow.receiver)}
    first = [str(record.get("node")) for record in anomaly.witness]
    nodes = [node for node in (*info.tribe, *info.gateways) if node in active or node in first]
    ranked = sorted(nodes, key=lambda node: (node not in first, node not in info.byzantine, nodes.index(node)))
    kept = set(ranked[:MAX_LIFELINES])
    lives = [
        Lifeline(node, node in info.byzantine, "gateway" if node in info.gateways else "honest")
        for node in nodes
        if node in kept
    ]
    return lives, len(nodes) - len(kept)
