"""payload: what honest nodes finalise and propose holds only what a block may hold (I-PAY, protocol.md 2.6)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from checkers.index import MS, Final, Index
from checkers.judge import Judge, conclude, record, short
from checkers.reverified import availability
from results.trace import TraceEvent
from results.verdict import Anomaly, Verdict

MOST_BATCHES = 50  # of a block
CLOCK_FAULTS = ("clock-skew", "pause")
STARVED_MS = 2000  # a proposal is recorded so long after it was stamped, at most, on a machine without time for it
AHEAD_MS = 50  # timers fire early by the granularity of an event loop, and are taken at their word


class Payload(Judge):
    """Batches of a block: each with a valid certificate of the right clan, none twice in the chain, none expired.

    Anomalies: batch-twice (in one block, or in it and an ancestor), expired-batch (older than the time to live at the
    block's timestamp), too-many-batches (more than 50), invalid-batch (final, but its only certificates are invalid),
    false-header (a valid certificate tells another size, count or slot than the body has), timestamp-fell (a block is
    older than its parent), wrong-timestamp (not the clock of its honest leader, who never failed). Honest proposals are
    held to the first three as well. Batches of unknown age leave it UNKNOWN. Examined: batches of finalised blocks.
    """

    property: ClassVar[str] = "payload"

    def judge(self, index: Index) -> Verdict:
        valid: dict[str, TraceEvent] = {}
        for event in availability(index).valid:
            valid.setdefault(event["batch"], event)
        invalid = {event["batch"]: (event, fault) for event, fault in availability(index).invalid}
        ttl_ms = int(index.info.parameters.get("batch_ttl_ms", 600_000))
        blocks = [final for finals in index.finals.values() for final in finals]
        anomalies = _repeated(index)
        unknown: set[str] = set()
        for final in blocks:
            anomalies += _content(_told(final), final.batches, final.timestamp_ms, valid, ttl_ms)
            for batch in final.batches:
                if batch not in valid and batch in invalid:
                    anomalies.append(_unproven(final, *invalid[batch]))
                elif batch not in valid:
                    unknown.add(batch)
        for event in index.events("propose"):
            what = f"{event['node']} proposed {short(event['block'])} in view {event['view']}"
            anomalies += _content((what, record(event)), event["batches"], None, valid, ttl_ms)
        anomalies += _headers(index, valid.values()) + _clocks(blocks) + _stamps(index, blocks)
        doubts = list(availability(index).doubts)
        if unknown:
            doubts.append(f"no honest node recorded a certificate of {len(unknown)} finalised batches")
        examined = sum(len(final.batches) for final in blocks)
        measures: dict[str, Any] = {
            "blocks": len(blocks),
            "most_in_a_block": max((len(final.batches) for final in blocks), default=0),
            "certificates": availability(index).count,
            "batch_ttl_ms": ttl_ms,
        }
        return conclude(self.property, examined, anomalies, measures, "no finalised block holds a batch", doubts)


_Told = tuple[str, dict[str, Any]]  # a clause about a block, and the record of it


def _told(final: Final) -> _Told:
    witness = {
        "event": "finalise",
        "node": final.node,
        "time": final.time,
        "height": final.height,
        "block": final.block,
    }
    return f"block {short(final.block)} at height {final.height}", witness


def _content(
    told: _Told, batches: Iterable[str], timestamp_ms: int | None, valid: Mapping[str, TraceEvent], ttl_ms: int
) -> list[Anomaly]:
    """What is wrong with the batches of one block on their own."""
    what, witness = told
    held = list(batches)
    anomalies = []
    if len(set(held)) < len(held):
        twice = next(batch for batch in held if held.count(batch) > 1)
        anomalies.append(Anomaly("batch-twice", f"{what} holds batch {short(twice)} twice", [witness]))
    if len(held) > MOST_BATCHES:
        summary = f"{what} holds {len(held)} batches, {MOST_BATCHES} is the most"
        anomalies.append(Anomaly("too-many-batches", summary, [witness]))
    for batch in held:
        certificate = valid.get(batch)
        if timestamp_ms is not None and certificate and certificate["created_ms"] + ttl_ms < timestamp_ms:
            age = timestamp_ms - certificate["created_ms"]
            summary = f"{what} holds batch {short(batch)}, {age} ms old; it may live {ttl_ms} ms"
            anomalies.append(Anomaly("expired-batch", summary, [witness, record(certificate)]))
    return anomalies


def _repeated(index: Index) -> list[Anomaly]:
    """Batches in two blocks of one chain: of the undisputed one, and of each node's own."""
    anomalies = []
    first: dict[str, Final] = {}
    for final in index.chain[0]:
        for batch in dict.fromkeys(final.batches):
            before = first.setdefault(batch, final)
            if before is not final:
                summary = f"batch {short(batch)} is in the chain twice, at heights {before.height} and {final.height}"
                anomalies.append(Anomaly("batch-twice", summary, [_told(before)[1], _told(final)[1]]))
    return anomalies


def _unproven(final: Final, event: TraceEvent, fault: str) -> Anomaly:
    what, witness = _told(final)
    summary = f"{what} holds batch {short(event['batch'])}, of which the only certificate is invalid: {fault}"
    return Anomaly("invalid-batch", summary, [witness, record(event)])


def _headers(index: Index, certificates: Iterable[TraceEvent]) -> list[Anomaly]:
    """Certificates whose facts are not those of the body: M voters, one of them honest, said so."""
    anomalies = []
    for event in certificates:
        body = index.bodies[0].get(event["batch"])
        if body is None:
            continue
        facts = (body.clan, body.proposer, body.seq, body.tx_count, body.byte_length, body.created_ms)
        names = ("clan", "proposer", "seq", "tx_count", "byte_length", "created_ms")
        wrong = [name for name, fact in zip(names, facts, strict=True) if event.get(name, fact) != fact]
        if wrong:
            summary = (
                f"the certificate of batch {short(event['batch'])} has another {' and '.join(wrong)} than its body"
            )
            anomalies.append(Anomaly("false-header", summary, [record(event)]))
    return anomalies


def _clocks(blocks: Iterable[Final]) -> list[Anomaly]:
    """The time of a block is not before that of its parent: a leader waits until it has passed."""
    by_hash = {final.block: final for final in blocks}
    anomalies = []
    for final in by_hash.values():
        parent = by_hash.get(final.parent)
        if parent is None or final.timestamp_ms is None or parent.timestamp_ms is None:
            continue
        if final.timestamp_ms < parent.timestamp_ms:
            summary = f"{_told(final)[0]} is stamped {final.timestamp_ms} ms, its parent {parent.timestamp_ms} ms"
            anomalies.append(Anomaly("timestamp-fell", summary, [_told(parent)[1], _told(final)[1]]))
    return anomalies


def _stamps(index: Index, blocks: Iterable[Final]) -> list[Anomaly]:
    """An honest leader stamps its block with the time of its clock, which is true unless a fault bends it."""
    bent = {node for fault in index.info.faults if fault.use in CLOCK_FAULTS for node in fault.targets}
    judged = set(index.steady) - bent
    behind = int(index.info.parameters.get("max_clock_skew_ms", 500)) + STARVED_MS
    first: dict[str, TraceEvent] = {}
    for event in index.events("propose"):
        if event["node"] in judged:
            first.setdefault(event["block"], event)
    anomalies = []
    for final in blocks:
        if final.block not in first or final.timestamp_ms is None:
            continue
        proposal = first[final.block]
        late = int(proposal["time"]) // MS - final.timestamp_ms
        if not -AHEAD_MS <= late <= behind:
            how = f"{late} ms before" if late > 0 else f"{-late} ms after"
            summary = f"{_told(final)[0]} is stamped {how} {proposal['node']} proposed it, whose clock was right"
            anomalies.append(Anomaly("wrong-timestamp", summary, [record(proposal), _told(final)[1]]))
    return anomalies
