"""Hand-made finalised chains for tests of the cores that follow consensus. Tests only."""

from __future__ import annotations

from collections.abc import Sequence

from nodes.committee import Committee
from nodes.crypto import Domain, bitmap_of
from nodes.messages import (
    NO_HASH,
    AvailabilityCertificate,
    Batch,
    BatchHeader,
    Block,
    StateCertificate,
    StateVote,
    Transaction,
    batch_id,
    block_hash,
    tx_root,
)
from tests.driver import signer_of


class Chain:
    """Blocks in height order; `batch` makes a batch with its certificate (whose votes nobody here verifies)."""

    def __init__(self, committee: Committee, domain: Domain) -> None:
        self.committee = committee
        self.domain = domain
        self.blocks: list[Block] = []
        self._seq: dict[str, int] = {}

    def batch(
        self, *transactions: Transaction, proposer: str = "n0", seq: int | None = None
    ) -> tuple[Batch, AvailabilityCertificate]:
        if seq is None:
            seq = self._seq.get(proposer, 0)
            self._seq[proposer] = seq + 1
        clan = self.committee.clan_of[proposer]
        d = self.domain
        header = BatchHeader(
            d.chain, d.epoch, d.cycle, clan, proposer, seq, tx_root(transactions), len(transactions), 100, 0
        )
        batch = Batch(header, transactions, bytes(64))
        ident = batch_id(header)
        return batch, AvailabilityCertificate(
            d.epoch, d.cycle, clan, proposer, seq, ident, len(transactions), 100, 0, b"\x00", ()
        )

    def block(self, *payload: AvailabilityCertificate, timestamp_ms: int | None = None) -> Block:
        height = len(self.blocks) + 1
        parent = block_hash(self.blocks[-1]) if self.blocks else NO_HASH
        time = height * 100 if timestamp_ms is None else timestamp_ms
        block = Block(self.domain.chain, self.domain.epoch, height, height, parent, "n0", time, payload)
        self.blocks.append(block)
        return block


def state_vote(domain: Domain, clan: int, height: int, claim: Sequence[bytes], voter: str) -> StateVote:
    """A state vote of `voter` for claim = (block, previous root, root)."""
    block, previous, root = claim
    signature = signer_of(voter).sign(domain.root(clan, height, block, previous, root))
    return StateVote(clan, height, block, previous, root, voter, signature)


def state_certificate(
    committee: Committee, domain: Domain, clan: int, height: int, claim: Sequence[bytes], voters: Sequence[str]
) -> StateCertificate:
    """A state certificate by `voters` (in committee order)."""
    votes = [state_vote(domain, clan, height, claim, voter) for voter in voters]
    bitmap = bitmap_of(committee.clans[clan], voters)
    signatures = tuple(vote.signature for vote in votes)
    return StateCertificate(domain.epoch, domain.cycle, clan, height, *claim, signers=bitmap, signatures=signatures)
