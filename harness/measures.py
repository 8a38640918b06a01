"""What claims and reports want to know of a run beyond its verdicts: numbers, or lists of them, by name.

Everything is read from honest nodes' records, through the same index as the checkers use.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

from checkers.evidence import EvidenceError
from checkers.families import family
from checkers.index import MS, Index, index_of
from checkers.replay import replay_of
from nodes.committee import LeaderSchedule
from nodes.moonshot.leaders import Leaders
from results import metrics
from results.store import Run
from results.trace import TraceEvent
from results.verdict import Verdict

Measures: TypeAlias = dict[str, Any]
Measure: TypeAlias = Callable[[Index], Measures]
MOST = 400  # values that a sample keeps of one list

# What verdicts measured already: measure -> (property, key, key inside that).
OF_VERDICTS: dict[str, tuple[str, ...]] = {
    "period_md": ("cadence", "period_md", "mean"),
    "commit_md": ("message-delays", "commit_md", "p50"),
    "certificate_md": ("message-delays", "certificate_md", "p50"),
    "queue_md": ("message-delays", "queue_md", "mean"),
    "end_to_end_md": ("message-delays", "end-to-end_md", "mean"),
    "two_certificates": ("xrbc-agreement", "slots_with_two_certificates"),
    "inclusions": ("dedup", "inclusions"),
    "duplicate_inclusions": ("dedup", "duplicate_inclusions"),
    "copies": ("dedup", "copies_submitted"),
    "told_ok": ("acknowledged", "clients_told_ok"),
    "rescued": ("accountability", "rescued"),
    "right_blame": ("accountability", "right_blame"),
    "false_blame": ("accountability", "false_blame"),
    "unattributed": ("accountability", "unattributed"),
}


def of_verdicts(verdicts: Iterable[Verdict]) -> Measures:
    """The measures that the verdicts hold."""
    by_property = {verdict.property: verdict.measures for verdict in verdicts}
    found: Measures = {}
    for name, (judge, *path) in OF_VERDICTS.items():
        value: Any = by_property.get(judge)
        for key in path:
            value = value.get(key) if isinstance(value, dict) else None
        if isinstance(value, int | float):
            found[name] = value
    return found


def usual(run: Run) -> Measures:
    """What every run tells: restarts, recovery after the heal, chain quality where somebody is corrupted."""
    index = index_of(run)
    found: Measures = {"restarts": len(index.events("restart"))}
    found["recovery_deltas"] = recoveries(index)
    quality = chain_quality(index)
    if quality is not None:
        found["chain_quality"] = round(quality.ratio, 4)
    return found


def chain_quality(index: Index) -> metrics.Quality | None:
    """Of the undisputed chain; None where nobody is corrupted, or where no proposer is known."""
    proposers = {event["block"]: event["proposer"] for event in index.events("finalise") if "proposer" in event}
    known = [proposers[final.block] for final in index.chain[0] if final.block in proposers]
    if not index.info.byzantine or not known:
        return None
    return metrics.chain_quality(known, index.info.tribe, index.info.byzantine)


def recoveries(index: Index) -> list[float]:
    """Of each never-faulty tribe node: Deltas from the heal (the load's start, if later) to its first new block."""
    heal = max(index.info.heal, index.info.load_start)
    new = {event["block"] for event in index.events("propose") if int(event["time"]) >= heal}
    for blocks in index.finals.values():
        new |= {final.block for final in blocks if final.parent in new}
    delta = index.bounds.delta_ms * MS
    finalised: dict[str, list[tuple[int, str]]] = {node: [] for node in index.steady if node in index.info.tribe}
    for event in index.events("finalise"):
        if event["node"] in finalised:
            finalised[event["node"]].append((int(event["time"]), event["block"]))
    times = [metrics.recovery(heal, blocks, new) for blocks in finalised.values()]
    return [round(time / delta, 3) for time in times if time is not None]


def latencies(index: Index) -> Measures:
    """Client operations: milliseconds from invocation to answer, and how many never had one."""
    begun: dict[Any, int] = {}
    taken: list[float] = []
    for operation in index.history:
        if operation.process == "nemesis":
            continue
        if operation.type == "invoke":
            begun[operation.process] = operation.time
        elif operation.type in ("ok", "fail") and operation.process in begun:
            taken.append(round((operation.time - begun.pop(operation.process)) / MS, 1))
    return {"latency_ms": taken[:MOST], "unfinished": len(begun)}


def promises(index: Index) -> Measures:
    """Pre-confirmations: who gave them, which of them the promised batch kept, what became of the others."""
    void = {batch for place in index.placed for batch in place.void}
    kept_by = {batch for place in index.placed for batch, _ in place.effective}
    corrupted = set(index.info.byzantine)
    given: dict[tuple[str, str], tuple[int, bool]] = {}  # (batch, tx) -> first sight, by an equivocator
    seen: set[str] = set()
    for event in index.events("available"):
        if event["batch"] in seen:
            continue
        seen.add(event["batch"])
        for tx in index.contents.get(event["batch"], ()):
            given[event["batch"], tx] = int(event["time"]), event["proposer"] in corrupted
    dropped = [(tx, time) for (batch, tx), (time, _) in given.items() if batch in void and _only(index, tx, batch)]
    rescue = [index.inclusions[tx][0][0].time - time for tx, time in dropped if tx in index.inclusions]
    kept = [
        max(0, index.inclusions[tx][0][0].time - time)
        for (batch, tx), (time, _) in given.items()
        if batch in kept_by and tx in index.inclusions
    ]
    by_equivocators = sum(bad for _, bad in given.values())
    return {
        "promised": len(given),
        "promised_by_equivocators": by_equivocators,
        "kept": len(kept),
        "void": len(dropped),
        "void_share": round(len(dropped) / len(given), 4) if given else 0.0,
        "rescue_ms": [round(max(0, time) / MS, 1) for time in rescue][:MOST],
        "kept_ms": [round(time / MS, 1) for time in kept][:MOST],
        "never_rescued": len(dropped) - len(rescue),
    }


def _only(index: Index, tx: str, batch: str) -> bool:
    """Is the transaction not in the batch that took the slot? Then dropping `batch` dropped it."""
    key = index.keys.get(batch)
    winners = [b for place in index.placed for b, other in place.effective if other == key]
    return not any(tx in index.contents.get(winner, ()) for winner in winners)


def primaries(index: Index) -> Measures:
    """Transactions by primary; how often a gateway or a proposer named another primary than the ranking gives."""
    counts: Counter[str] = Counter({node: 0 for clan in index.info.clans for node in clan})
    disagreements = 0
    known: dict[str, str] = {}
    for event in index.events("forward"):
        tx = event["tx"]
        clan = next((i for i, c in enumerate(index.info.clans) if event["family"][0] in c), -1)
        try:
            members = family(index, tx, clan)
        except EvidenceError:
            disagreements += 1
            continue
        if tx not in known:
            known[tx] = members[0]
            counts[members[0]] += 1
        disagreements += tuple(event["family"]) != members
    for event in index.events("include"):
        disagreements += known.get(event["tx"], event["primary"]) != event["primary"]
    again = copies(index)
    calm = {"calm_inclusions": again.included, "calm_duplicates": again.again} if index.undisturbed else {}
    return {"primaries": dict(counts), "disagreements": disagreements, **calm}


def copies(index: Index) -> metrics.Duplicates:
    """Inclusions of the finalised order, and transactions that took effect, by one record of each clan and height."""
    executed = {(event["clan"], event["height"]): event["applied"] for event in index.events("execute")}
    return metrics.duplicates(list(_included(index)), [tx for applied in executed.values() for tx in applied])


def _included(index: Index) -> Iterable[str]:
    """Transactions of the finalised order; a copy that aborted as too-new was rightly included again."""
    too_new: Counter[str] = Counter()
    for aborted in {(e["clan"], e["height"]): e["aborted"] for e in index.events("execute")}.values():
        too_new.update(tx for tx, reason in aborted if reason == "too-new")
    for tx, placed in index.inclusions.items():
        yield from [tx] * max(1, len(placed) - too_new[tx])


def inclusion_delays(index: Index) -> list[metrics.Delay]:
    """From each transaction's arrival at the first honest family member (if there is none, its forward) to its
    inclusion."""
    arrived: dict[str, int] = {}
    steady = set(index.steady)
    for event in index.events("received"):
        if event["node"] in steady:
            arrived.setdefault(event["tx"], int(event["time"]))
    for event in index.events("forward"):
        if set(event["family"]) <= set(index.info.byzantine):
            arrived.setdefault(event["tx"], int(event["time"]))
    declared: Any = index.info.scenario.get("cluster", {}).get("leaders", "fair-succession")
    schedule = LeaderSchedule("fixed", tuple(declared)) if isinstance(declared, list) else LeaderSchedule(declared)
    leader = Leaders(index.info.tribe, schedule)
    entered: dict[int, int] = {}
    for event in index.events("enter"):
        entered.setdefault(event["view"], int(event["time"]))
    views = sorted((time, leader(view)) for view, time in entered.items())
    return [
        metrics.inclusion_delay(
            time, index.inclusions[tx][0][0].time if tx in index.inclusions else None, views, index.info.byzantine
        )
        for tx, time in arrived.items()
    ]


def inclusion(index: Index) -> Measures:
    """How long transactions waited, and how many still do."""
    delays = inclusion_delays(index)
    there = [delay for delay in delays if delay.time is not None]
    return {
        "forwarded": len(delays),
        "never_included": len(delays) - len(there),
        "inclusion_ms": [round((delay.time or 0) / MS, 1) for delay in there][:MOST],
        "inclusion_opportunities": [delay.opportunities for delay in there][:MOST],
    }


def state_certificates(index: Index) -> tuple[dict[tuple[int, int, str], TraceEvent], list[TraceEvent]]:
    """Certificates of blocks that can be executed again, the first record of each (clan, height, root); and which of
    them lie."""
    outcomes = replay_of(index).outcomes
    found: dict[tuple[int, int, str], TraceEvent] = {}
    for event in index.events("state_certificate"):
        if (event["clan"], event["height"]) in outcomes:
            found.setdefault((event["clan"], event["height"], event["root"]), event)
    return found, [event for (clan, height, root), event in found.items() if root != outcomes[clan, height].root]


def bad_clans(index: Index) -> metrics.Blast:
    """What clans that certify false roots did: transactions for which whoever trusts their certificates is fooled (as
    honest gateways refused them), and the time until the first refusal."""
    lies = [(int(event["time"]), event["clan"], ()) for event in state_certificates(index)[1]]
    refused = [event for event in index.events("gateway") if event["phase"] == "refused"]
    fooled = [(int(event["time"]), event["clan"], (event["tx"],)) for event in refused]
    blast = metrics.blast_radius([*lies, *fooled], [])
    noticed = metrics.blast_radius(lies, [time for time, _, _ in fooled]).until_detection
    return metrics.Blast(blast.transactions, blast.clans, noticed)


def false_roots(index: Index) -> Measures:
    """The blast radius as numbers."""
    blast = bad_clans(index)
    noticed = blast.until_detection
    return {
        "fooled_transactions": blast.transactions,
        "false_clans": blast.clans,
        **({} if noticed is None else {"detection_ms": round(noticed / MS, 1)}),
    }


def lost_batches(index: Index) -> Measures:
    """Transactions in finalised batches that no honest node ever held."""
    final = {batch for place in index.placed for batch, _ in place.effective}
    lies = {
        event["batch"]: (int(event["time"]), event["clan"], [f"{event['batch']}/{i}" for i in range(event["tx_count"])])
        for event in index.events("available")
        if event["batch"] in final and event["batch"] not in index.contents
    }
    return {"lost_transactions": metrics.blast_radius(list(lies.values()), []).transactions}
