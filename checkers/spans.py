"""How long the steps of a transaction's way took, in message delays: what the promises of the guide are stated in.

All from honest nodes' records between the load's start and its end; no clock but the run's. Spans are pairs of a value
in message delays and the two records that it lies between.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import TypeAlias

from checkers.index import MS, Index
from results.trace import TraceEvent

Span: TypeAlias = tuple[float, TraceEvent, TraceEvent]
CALM_NS = 1_000_000_000  # the first second of a load is not measured: batches of different nodes still fall in step


def unmeasurable(index: Index) -> str:
    """Why this run's delays say nothing about the promises, or ""."""
    info = index.info
    if info.md_ms <= 0:
        return 'the network has no message delay; give it one, such as latency = "uniform:100"'
    if info.faults or info.byzantine:
        return "the promises are for honest leaders and an undisturbed network; this run has faults or corrupted nodes"
    if not info.load_end:
        return "the load never ended"
    return ""


def _window(index: Index, *names: str) -> Iterator[TraceEvent]:
    first, last = index.info.load_start + CALM_NS, index.info.load_end
    return (event for event in index.events(*names) if first <= int(event["time"]) <= last)


def _between(index: Index, first: TraceEvent, second: TraceEvent) -> Span:
    return (int(second["time"]) - int(first["time"])) / MS / index.info.md_ms, first, second


def _proposals(index: Index) -> dict[str, TraceEvent]:
    """Block -> its first proposal."""
    found: dict[str, TraceEvent] = {}
    for event in index.events("propose"):
        found.setdefault(event["block"], event)
    return found


def periods(index: Index) -> list[Span]:
    """From the first proposal of a finalised block to that of the next one, where their views are consecutive."""
    proposed = _proposals(index)
    first, last = index.info.load_start + CALM_NS, index.info.load_end
    return [
        _between(index, proposed[a.block], proposed[b.block])
        for a, b in pairwise(index.chain[0])
        if b.view == a.view + 1
        and a.block in proposed
        and b.block in proposed
        and first <= int(proposed[a.block]["time"]) <= last
    ]


def commits(index: Index) -> list[Span]:
    """From a block's first proposal to its finalisation at each honest node."""
    proposed = _proposals(index)
    return [
        _between(index, proposed[event["block"]], event)
        for event in _window(index, "finalise")
        if event["block"] in proposed and event["node"] in index.info.tribe
    ]


def _made(index: Index) -> dict[str, TraceEvent]:
    """Batch -> its proposer's own record of it: the moment at which it was made."""
    return {event["batch"]: event for event in _window(index, "batch") if event["node"] == event["proposer"]}


def certificates(index: Index) -> list[Span]:
    """From the making of a batch to its availability certificate at each honest tribe node."""
    made = _made(index)
    return [
        _between(index, made[event["batch"]], event)
        for event in index.events("available")
        if event["batch"] in made and event["node"] in index.info.tribe
    ]


def queues(index: Index) -> list[Span]:
    """From a certificate's arrival at the leader that includes it to that leader's proposal."""
    here = {(event["batch"], event["node"]): event for event in index.events("available")}
    proposed = _proposals(index)
    made = _made(index)
    spans = []
    for final in index.chain[0]:
        proposal = proposed.get(final.block)
        if proposal is None:
            continue
        for batch in final.batches:
            known = here.get((batch, proposal["node"]))
            if known is not None and batch in made:
                spans.append(_between(index, known, proposal))
    return spans


def journeys(index: Index) -> list[Span]:
    """From the making of a batch to the finalisation of its block at each honest tribe node."""
    made = _made(index)
    return [
        _between(index, made[batch], event)
        for event in index.events("finalise")
        for batch in event["batches"]
        if batch in made and event["node"] in index.info.tribe
    ]
