"""What a batch or a certificate must satisfy before anybody believes it (protocol.md 2.3, 2.6, section 0)."""

from __future__ import annotations

from typing import TypeAlias

from nodes.byobject import ByObject
from nodes.committee import Committee
from nodes.crypto import Domain, Verifier, certificate_fault
from nodes.messages import AvailabilityCertificate, AvailabilityVote, Batch, BatchHeader, Transaction, encode, tx_root
from nodes.validity import transaction_fault

WHOLE_BYTES = 512 * 1024
_whole: ByObject[bool] = ByObject(64)  # batches without a fault of the body

Key: TypeAlias = tuple[int, str, int]  # K within one chain, epoch and cycle: clan, proposer, seq
Facts: TypeAlias = tuple[bytes, int, int, int]  # what one vote is for: batch id, tx_count, byte_length, created_ms


def key_of(value: BatchHeader | AvailabilityVote | AvailabilityCertificate) -> Key:
    """The batch key K of a header, vote or certificate."""
    return value.clan, value.proposer, value.seq


def facts_of(value: AvailabilityVote | AvailabilityCertificate) -> Facts:
    """What the vote or certificate says of its batch."""
    return value.batch, value.tx_count, value.byte_length, value.created_ms


def statement_of(domain: Domain, value: AvailabilityVote | AvailabilityCertificate) -> bytes:
    """The availability statement that the voters signed."""
    return domain.available(value.clan, value.proposer, value.seq, *facts_of(value))


def byte_length(transactions: tuple[Transaction, ...]) -> int:
    """`byte_length` of a batch: the encoded bytes of its transactions, header not counted."""
    return sum(len(encode(transaction)) for transaction in transactions)


def place_fault(clan: int, proposer: str, committee: Committee) -> str | None:
    """Why (clan, proposer) cannot name a batch of this cycle, or None."""
    if clan >= len(committee.clans):
        return f"no clan {clan}"
    if committee.clan_of.get(proposer) != clan:
        return f"{proposer} proposes no batches in clan {clan}"
    return None


def header_fault(header: BatchHeader, sender: str, clan: int, now_ms: int, committee: Committee) -> str | None:
    """Why the header alone rules the batch out for a member of `clan`, or None (2.3, in this order)."""
    config, limits = committee.config, committee.parameters
    if (header.chain, header.epoch, header.cycle) != (config.chain, config.epoch, config.cycle):
        return f"batch of {header.chain}/{header.epoch}/{header.cycle}, not of the current cycle"
    if header.clan != clan:
        return f"batch of clan {header.clan}, this is clan {clan}"
    if header.proposer != sender or committee.clan_of.get(sender) != clan:
        return f"batch by {header.proposer} from {sender}, who may not propose it"
    if not 1 <= header.tx_count <= limits.max_batch_txs:
        return f"batch of {header.tx_count} transactions, limit {limits.max_batch_txs}"
    if header.byte_length > limits.max_batch_bytes:
        return f"batch of {header.byte_length} bytes, limit {limits.max_batch_bytes}"
    if header.created_ms > now_ms + limits.max_clock_skew_ms:
        return f"batch created {header.created_ms - now_ms} ms in the future"
    if header.created_ms + limits.batch_ttl_ms < now_ms:
        return "batch expired"
    return None


def proposal_fault(
    batch: Batch,
    ident: bytes,
    sender: str,
    clan: int,
    now_ms: int,
    committee: Committee,
    domain: Domain,
    verifier: Verifier,
) -> str | None:
    """Why `sender` may not propose this batch in `clan`, or did not sign it; None if header and signature are good."""
    fault = header_fault(batch.header, sender, clan, now_ms, committee)
    if fault is None and not verifier.verify(committee.keys[sender], domain.batch(ident), batch.signature):
        return "bad signature of the batch proposer"
    return fault


def body_fault(batch: Batch) -> str | None:
    """Why the transactions are not the ones that the header binds, or None."""
    if _whole.get(batch):
        return None
    header = batch.header
    if len(batch.transactions) != header.tx_count:
        return f"{len(batch.transactions)} transactions, header says {header.tx_count}"
    if byte_length(batch.transactions) != header.byte_length:
        return "byte length does not match the header"
    if tx_root(batch.transactions) != header.tx_root:
        return "transaction root does not match the header"
    if header.byte_length <= WHOLE_BYTES:
        _whole.put(batch, True)
    return None


def transactions_fault(
    batch: Batch, ids: tuple[bytes, ...], committee: Committee, domain: Domain, verifier: Verifier
) -> str | None:
    """The first stateless fault of a transaction in the batch, or None; `ids` are the transaction ids."""
    for transaction, tx in zip(batch.transactions, ids, strict=True):
        fault = transaction_fault(transaction, tx, batch.header.clan, committee, domain, verifier)
        if fault is not None:
            return fault
    return None


def vote_fault(vote: AvailabilityVote, sender: str, highest_seq: int, committee: Committee) -> str | None:
    """Why an availability vote cannot count, whatever its signature, or None."""
    if sender != vote.voter:
        return f"an availability vote of {vote.voter}, sent by another"
    fault = place_fault(vote.clan, vote.proposer, committee)
    if fault is None and committee.clan_of.get(vote.voter) != vote.clan:
        fault = f"{vote.voter} is no member of clan {vote.clan}"
    if fault is None and vote.seq > highest_seq:
        fault = f"sequence number {vote.seq} is beyond the window of {vote.proposer}"
    return fault


def availability_fault(
    certificate: AvailabilityCertificate, committee: Committee, domain: Domain, verifier: Verifier
) -> str | None:
    """Why the certificate is invalid, or None: section 0 checks (1) to (4), each against ITS clan."""
    if (certificate.epoch, certificate.cycle) != (domain.epoch, domain.cycle):
        return f"certificate of epoch {certificate.epoch}, cycle {certificate.cycle}"
    fault = place_fault(certificate.clan, certificate.proposer, committee)
    if fault is not None:
        return fault
    return certificate_fault(
        committee.clans[certificate.clan],
        committee.keys,
        committee.majority(certificate.clan),
        certificate.signers,
        certificate.signatures,
        statement_of(domain, certificate),
        verifier,
    )
