"""The block and commit certificates of a run, each distinct one re-verified once (protocol.md section 0, I-CERT)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from checkers.arithmetic import tribe_quorum
from checkers.evidence import EvidenceError, Notary, unhex
from checkers.index import Index, once
from results.trace import TraceEvent

COMMIT = "commit"


@dataclass
class Certified:
    """What honest nodes' `certify` records hold. `doubts` are records that cannot be judged."""

    valid: list[TraceEvent] = field(default_factory=list)  # distinct certificates, the first record of each, by time
    invalid: list[tuple[TraceEvent, str]] = field(default_factory=list)  # record and what is wrong with it
    doubts: list[str] = field(default_factory=list)

    @property
    def count(self) -> int:
        """Distinct certificates."""
        return len(self.valid) + len(self.invalid) + len(self.doubts)

    @property
    def blocks(self) -> set[tuple[int, str]]:
        """(view, block) of the valid certificates of block votes; commit certificates do not count."""
        return {(event["view"], event["block"]) for event in self.valid if event["kind"] != COMMIT}

    def by_view(self) -> dict[int, dict[str, TraceEvent]]:
        """View -> block -> a valid certificate for it, of whatever kind; views in order."""
        found: dict[int, dict[str, TraceEvent]] = {}
        for event in self.valid:
            found.setdefault(event["view"], {}).setdefault(event["block"], event)
        return dict(sorted(found.items()))


def certified(index: Index) -> Certified:
    """The certificates of the run; made once per index."""
    return once(index, _examine)


def _examine(index: Index) -> Certified:
    distinct: dict[tuple[object, ...], TraceEvent] = {}
    for event in index.events("certify"):
        if event["view"] > 0 or event["signers"]:  # the genesis certificate has no signers
            identity = (event["kind"], event["view"], event["block"], *event["signers"], *event["signatures"])
            distinct.setdefault(identity, event)
    return assessed(index.info.tribe, index.notary, distinct.values())


def assessed(tribe: Sequence[str], notary: Notary, events: Iterable[TraceEvent]) -> Certified:
    """The same `certify` records by what their certificates are worth."""
    quorum = tribe_quorum(len(tribe))
    found = Certified()
    for event in events:
        try:
            told = statement(notary, event["kind"], event["view"], event["block"])
            fault = notary.fault(tribe, quorum, event["signers"], event["signatures"], told)
        except EvidenceError as error:
            found.doubts.append(f"certificate of view {event['view']} at {event['node']}: {error}")
            continue
        if fault is None:
            found.valid.append(event)
        else:
            found.invalid.append((event, fault))
    return found


def statement(notary: Notary, kind: str, view: int, block: object) -> bytes:
    """What the votes of a certificate sign. Raises EvidenceError if `block` is no hash."""
    raw = unhex(block, 32, "block")
    return notary.statement("commit", view, raw) if kind == COMMIT else notary.statement("vote", kind, view, raw)
