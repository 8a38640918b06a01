"""Bodies that a gateway was sent before their certificate: kept in memory, bounded, and believed only with it.

A proposer sends its batch to the gateways at the same time as to its clan, so that a certificate names transactions the
gateway knows already. Nothing rests on such a body: it is not logged, not passed on, and dropped when its proposer
sends too much; what was dropped (or never sent) is fetched like any other once it is certified.
"""

from __future__ import annotations

from nodes.committee import Committee
from nodes.crypto import Domain, Verifier
from nodes.messages import Batch, NodeId
from nodes.xrbc.check import body_fault, proposal_fault

EARLY_BATCHES = 64  # per proposer
EARLY_BYTES = 4 * 1024 * 1024


class EarlyBodies:
    """Bodies by batch id, at most EARLY_BATCHES and EARLY_BYTES of each proposer, its oldest dropped first."""

    def __init__(self, committee: Committee, domain: Domain, verifier: Verifier) -> None:
        self._committee = committee
        self._domain = domain
        self._verifier = verifier
        self._of: dict[NodeId, dict[bytes, Batch]] = {}
        self._bytes: dict[NodeId, int] = {}

    def add(self, now_ms: int, sender: NodeId, ident: bytes, batch: Batch) -> str | None:
        """Check a batch as a clan member would, its transactions excepted, and keep it; or say why not."""
        clan = self._committee.clan_of.get(sender)
        if clan is None:
            return f"a batch from {sender}, who proposes none"
        fault = proposal_fault(batch, ident, sender, clan, now_ms, self._committee, self._domain, self._verifier)
        if fault is not None:
            return fault
        proposer = batch.header.proposer
        kept = self._of.setdefault(proposer, {})
        if ident in kept:
            return None
        fault = body_fault(batch)
        if fault is not None:
            return fault
        kept[ident] = batch
        self._bytes[proposer] = self._bytes.get(proposer, 0) + batch.header.byte_length
        while len(kept) > EARLY_BATCHES or self._bytes[proposer] > EARLY_BYTES:
            self.take(proposer, next(iter(kept)))
        return None

    def most(self) -> int:
        """Bodies of the proposer that has most."""
        return max(map(len, self._of.values()), default=0)

    def take(self, proposer: NodeId, ident: bytes) -> Batch | None:
        """The body, if it is here; it is no longer kept."""
        batch = self._of.get(proposer, {}).pop(ident, None)
        if batch is not None:
            self._bytes[proposer] -= batch.header.byte_length
        return batch
