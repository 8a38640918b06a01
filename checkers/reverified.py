"""Availability, state and timeout certificates of a run, each distinct one re-verified once (protocol.md section 0).

Block and commit certificates are in checkers/certified.py. A certificate counts as distinct if any recorded field of
it is: an honest node may have accepted the same signatures under other facts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from checkers import timeouts as rule
from checkers.arithmetic import clan_majority
from checkers.certified import certified
from checkers.evidence import EvidenceError, unhex
from checkers.index import Index, once
from results.trace import TraceEvent

ROOTS = ("block", "prev_root", "root")
_WHO_AND_WHEN = frozenset(("time", "node", "incarnation"))


@dataclass
class Reverified:
    """Certificates of one kind: the first record of each; `unsigned` are records that hold no signatures at all."""

    valid: list[TraceEvent] = field(default_factory=list)
    invalid: list[tuple[TraceEvent, str]] = field(default_factory=list)  # record and what is wrong with it
    doubts: list[str] = field(default_factory=list)  # records that cannot be judged
    unsigned: int = 0

    @property
    def count(self) -> int:
        """Distinct certificates."""
        return len(self.valid) + len(self.invalid) + len(self.doubts)


def availability(index: Index) -> Reverified:
    """DAQCs: M distinct valid votes of the clan that the proposer belongs to. Made once per index."""
    return once(index, _availability)


def states(index: Index) -> Reverified:
    """STATECERTs: M distinct valid votes of the clan. Made once per index."""
    return once(index, _states)


def timeouts(index: Index) -> Reverified:
    """TCs: Q distinct valid time-outs; the highest lock view is that of a certificate that somebody honest holds."""
    return once(index, _timeouts)


def _availability(index: Index) -> Reverified:
    return _examined(
        index.events("available"),
        lambda event: f"available record of batch {event['batch'][:10]}..",
        index,
        _batch_fault,
    )


def _states(index: Index) -> Reverified:
    return _examined(
        index.events("state_certificate"),
        lambda event: f"state certificate of clan {event['clan']} height {event['height']}",
        index,
        _root_fault,
    )


def _timeouts(index: Index) -> Reverified:
    events = index.events("timeout_certificate")
    found = _examined(
        events, lambda e: f"timeout certificate of view {e['view']} at {e['node']}", index, _timeout_fault
    )
    found.unsigned = sum("signatures" not in event for event in events)
    return found


def _examined(
    events: Sequence[TraceEvent],
    named: Callable[[TraceEvent], str],
    index: Index,
    fault_of: Callable[[Index, TraceEvent], str | None],
) -> Reverified:
    distinct: dict[tuple[object, ...], TraceEvent] = {}
    for event in events:
        facts = tuple((k, str(v) if isinstance(v, list) else v) for k, v in event.items() if k not in _WHO_AND_WHEN)
        distinct.setdefault(facts, event)
    found = Reverified()
    for event in distinct.values():
        try:
            fault = fault_of(index, event)
        except EvidenceError as error:
            found.doubts.append(f"{named(event)}: {error}")
            continue
        if fault is None:
            found.valid.append(event)
        else:
            found.invalid.append((event, fault))
    return found


def _members(index: Index, clan: int) -> list[str]:
    return index.info.clans[clan] if 0 <= clan < len(index.info.clans) else []


def _batch_fault(index: Index, event: TraceEvent) -> str | None:
    clan, proposer = event["clan"], event["proposer"]
    members = _members(index, clan)
    if proposer not in members:
        return f"its proposer {proposer} is not of clan {clan}"
    count, size = _header(index, event)
    batch = unhex(event["batch"], 32, "batch id")
    fields = (clan, proposer, event["seq"], batch, count, size, event["created_ms"])
    statement = index.notary.statement("available", *fields)
    return index.notary.fault(members, clan_majority(len(members)), event["signers"], event["signatures"], statement)


def _header(index: Index, event: TraceEvent) -> tuple[int, int]:
    """(tx_count, byte_length) under the signatures: from the record, else from the body."""
    if "tx_count" in event and "byte_length" in event:
        return event["tx_count"], event["byte_length"]
    held = index.bodies[0].get(event["batch"])
    if held is None:
        raise EvidenceError("it lacks tx_count and byte_length; both are signed")
    return held.tx_count, held.byte_length


def _root_fault(index: Index, event: TraceEvent) -> str | None:
    members = _members(index, event["clan"])
    block, previous, root = (unhex(event[name], 32, name) for name in ROOTS)
    statement = index.notary.statement("root", event["clan"], event["height"], block, previous, root)
    return index.notary.fault(members, clan_majority(len(members)), event["signers"], event["signatures"], statement)


def _good(index: Index) -> set[tuple[int, str]]:
    """(view, block) with a valid certificate that somebody honest holds."""
    return certified(index).blocks


def _timeout_fault(index: Index, event: TraceEvent) -> str | None:
    return rule.fault_of(index.info.tribe, index.notary, event, once(index, _good))
