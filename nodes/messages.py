"""Every wire message, one msgspec Struct each, and their bounded encoding.

Hashes are 32 raw bytes, signatures 64 (Ed25519), node ids short strings ("n3", "g0"). Everything is frozen, arrays on
the wire, tagged, and refuses unknown fields. Sizes are bounded by `Meta`, depth by the types themselves.
Statements that are signed are built in `nodes/crypto.py`; identities (block hash, batch id, tx id) here.
"""

from __future__ import annotations

import hashlib
from typing import Annotated, Literal, TypeAlias

import msgspec
from msgspec import Meta

from nodes.byobject import ByObject

NodeId: TypeAlias = Annotated[str, Meta(min_length=1, max_length=16)]
Hash: TypeAlias = Annotated[bytes, Meta(min_length=32, max_length=32)]
PublicKey: TypeAlias = Annotated[bytes, Meta(min_length=32, max_length=32)]
Signature: TypeAlias = Annotated[bytes, Meta(min_length=64, max_length=64)]
Number: TypeAlias = Annotated[int, Meta(ge=0, le=2**62)]  # view, height, seq, ms, clan, amount
Bitmap: TypeAlias = Annotated[bytes, Meta(max_length=128)]  # little-endian bit order, at most 1024 members
Signatures: TypeAlias = Annotated[tuple[Signature, ...], Meta(max_length=1024)]  # one per set bit, ascending

MAX_FRAME_BYTES = 8 * 1024 * 1024  # one encoded message; a longer one is refused unread
MAX_BATCHES_PER_BLOCK = 50  # protocol.md 2.6
MAX_TXS_PER_BATCH = 4096
MAX_MOPS = 64
NO_HASH = bytes(32)

VoteKind: TypeAlias = Literal["optimistic", "normal", "fallback"]


class Wire(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Base of everything that is encoded: positional, immutable, strict."""


# ---------------------------------------------------------------- transactions and batches
class Transfer(Wire, frozen=True, tag="t"):
    """Move `amount` from the sender to `to` (an account address: the Ed25519 public key)."""

    to: PublicKey
    amount: Number


class Append(Wire, frozen=True, tag="a"):
    """Append `value` to the list `key`."""

    key: Number
    value: Annotated[int, Meta(ge=-(2**62), le=2**62)]


class Read(Wire, frozen=True, tag="r"):
    """Read the whole list `key` (its result is part of the transaction's outcome)."""

    key: Number


Operation: TypeAlias = Transfer | Append | Read


class Transaction(Wire, frozen=True):
    """A signed account transaction; takes effect only if `seq` is the sender's next sequence number."""

    chain: Annotated[str, Meta(max_length=64)]
    sender: PublicKey
    seq: Number
    expiry_ms: Number  # run milliseconds after which nobody includes it
    operations: Annotated[tuple[Operation, ...], Meta(min_length=1, max_length=MAX_MOPS)]
    padding: Annotated[bytes, Meta(max_length=65536)]  # makes a transaction as large as a workload wants
    signature: Signature


class BatchHeader(Wire, frozen=True):
    """Header of a batch (protocol.md 2.2, FULL mode). The key K is (chain, epoch, cycle, clan, proposer, seq)."""

    chain: Annotated[str, Meta(max_length=64)]
    epoch: Number
    cycle: Number
    clan: Number
    proposer: NodeId
    seq: Number
    tx_root: Hash
    tx_count: Number
    byte_length: Number
    created_ms: Number


class Batch(Wire, frozen=True):
    header: BatchHeader
    transactions: Annotated[tuple[Transaction, ...], Meta(max_length=MAX_TXS_PER_BATCH)]
    signature: Signature  # the proposer's, over statement "batch"


# ---------------------------------------------------------------- certificates
class BlockCertificate(Wire, frozen=True, tag="QC"):
    """Q votes of ONE kind for one block; the genesis certificate has view 0, kind normal and no signers."""

    epoch: Number
    kind: VoteKind
    view: Number
    block: Hash
    signers: Bitmap  # over the tribe
    signatures: Signatures


class CommitCertificate(Wire, frozen=True, tag="CQC"):
    epoch: Number
    view: Number
    block: Hash
    signers: Bitmap
    signatures: Signatures


class TimeoutCertificate(Wire, frozen=True, tag="TC"):
    """Q timeouts of one view; `lock_views[i]` belongs to the i-th signer; max(lock_views) == high.view."""

    epoch: Number
    view: Number
    high: BlockCertificate
    signers: Bitmap
    lock_views: Annotated[tuple[Number, ...], Meta(max_length=1024)]
    signatures: Signatures


class AvailabilityCertificate(Wire, frozen=True, tag="DAQC"):
    """M availability votes of one clan for one batch."""

    epoch: Number
    cycle: Number
    clan: Number
    proposer: NodeId
    seq: Number
    batch: Hash
    tx_count: Number
    byte_length: Number
    created_ms: Number
    signers: Bitmap  # over the clan
    signatures: Signatures


class StateCertificate(Wire, frozen=True, tag="SC"):
    """M equal state votes of one clan for one block."""

    epoch: Number
    cycle: Number
    clan: Number
    height: Number
    block: Hash
    previous_root: Hash
    root: Hash
    signers: Bitmap
    signatures: Signatures


# ---------------------------------------------------------------- blocks
class Block(Wire, frozen=True):
    """Holds certificates and metadata only (protocol.md 1.2, 2.6). Genesis: view 0, height 0, parent NO_HASH."""

    chain: Annotated[str, Meta(max_length=64)]
    epoch: Number
    view: Number
    height: Number
    parent: Hash
    proposer: NodeId
    timestamp_ms: Number
    payload: Annotated[tuple[AvailabilityCertificate, ...], Meta(max_length=MAX_BATCHES_PER_BLOCK)]


# ---------------------------------------------------------------- consensus messages
class OptimisticProposal(Wire, frozen=True, tag="OPT"):
    block: Block
    signature: Signature


class NormalProposal(Wire, frozen=True, tag="NRM"):
    block: Block
    certificate: BlockCertificate
    signature: Signature


class FallbackProposal(Wire, frozen=True, tag="FBK"):
    block: Block
    certificate: TimeoutCertificate
    signature: Signature


class Vote(Wire, frozen=True, tag="VOTE"):
    kind: VoteKind
    view: Number
    block: Hash
    voter: NodeId
    signature: Signature


class CommitVote(Wire, frozen=True, tag="CMT"):
    view: Number
    block: Hash
    voter: NodeId
    signature: Signature


class Timeout(Wire, frozen=True, tag="TMO"):
    """The signature covers (view, lock.view); the lock is verified on its own."""

    view: Number
    lock: BlockCertificate
    voter: NodeId
    signature: Signature


class BlockRequest(Wire, frozen=True, tag="SREQ"):
    """Ask for `block` and up to `ancestors` blocks below it."""

    block: Hash
    ancestors: Annotated[int, Meta(ge=0, le=64)]


class BlockResponse(Wire, frozen=True, tag="SRSP"):
    """The requested block first, then its ancestors, each the parent of the one before."""

    blocks: Annotated[tuple[Block, ...], Meta(min_length=1, max_length=65)]


# ---------------------------------------------------------------- data availability messages
class AvailabilityVote(Wire, frozen=True, tag="AV"):
    clan: Number
    proposer: NodeId
    seq: Number
    batch: Hash
    tx_count: Number
    byte_length: Number
    created_ms: Number
    voter: NodeId
    signature: Signature


class BatchMessage(Wire, frozen=True, tag="B"):
    batch: Batch


class BatchRequest(Wire, frozen=True, tag="BREQ"):
    batch: Hash


class BatchResponse(Wire, frozen=True, tag="BRSP"):
    batch: Batch


# ---------------------------------------------------------------- bucketing and execution messages
class Forward(Wire, frozen=True, tag="FWD"):
    """Gateway -> family: please include; signed by the gateway (statement "forward")."""

    transaction: Transaction
    gateway: NodeId
    sent_ms: Number
    signature: Signature


class ForwardReceipt(Wire, frozen=True, tag="RCT"):
    """Family member -> gateway: received at `received_ms` on my clock; signed (statement "receipt")."""

    transaction: Hash
    member: NodeId
    received_ms: Number
    signature: Signature


class StateVote(Wire, frozen=True, tag="SV"):
    """SROOT of protocol.md 2.2."""

    clan: Number
    height: Number
    block: Hash
    previous_root: Hash
    root: Hash
    voter: NodeId
    signature: Signature


class StateRequest(Wire, frozen=True, tag="SVREQ"):
    """Ask a clan member to repeat its state vote (or send the certificate) for a height."""

    clan: Number
    height: Number


Message: TypeAlias = (
    OptimisticProposal
    | NormalProposal
    | FallbackProposal
    | Vote
    | CommitVote
    | Timeout
    | BlockCertificate
    | CommitCertificate
    | TimeoutCertificate
    | BlockRequest
    | BlockResponse
    | AvailabilityVote
    | AvailabilityCertificate
    | BatchMessage
    | BatchRequest
    | BatchResponse
    | Forward
    | ForwardReceipt
    | StateVote
    | StateCertificate
    | StateRequest
)


# ---------------------------------------------------------------- encoding and identities
class DecodeError(ValueError):
    """The bytes are not one well-formed message; the peer is at fault."""


_encoder = msgspec.msgpack.Encoder()
_messages: msgspec.msgpack.Decoder[Message] = msgspec.msgpack.Decoder(Message)


def encode(value: Wire) -> bytes:
    """Canonical msgpack bytes of a message, record, block or transaction."""
    return _encoder.encode(value)


def decode(data: bytes | bytearray | memoryview) -> Message:
    """The message in `data`; raises DecodeError on anything malformed, oversized or trailing."""
    if len(data) > MAX_FRAME_BYTES:
        raise DecodeError(f"frame of {len(data)} bytes exceeds the limit of {MAX_FRAME_BYTES}")
    try:
        return _messages.decode(data)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise DecodeError(str(error)) from error


def sha256(*parts: bytes) -> bytes:
    """SHA-256 of the concatenation of `parts` (32 bytes)."""
    return hashlib.sha256(b"".join(parts)).digest()


# What one of these holds at most: 128 blocks of 256 KiB, 8,192 transactions of 2 KiB, 4,096 headers.
_block_hashes: ByObject[bytes] = ByObject(128)
_tx_ids: ByObject[bytes] = ByObject(8_192)
_batch_ids: ByObject[bytes] = ByObject(4_096)


def block_hash(block: Block) -> bytes:
    """H("BLOCK" | every field): binds chain, epoch, view, height, parent, proposer, time and payload."""
    identity = _block_hashes.get(block)
    if identity is None:
        data = encode(block)
        identity = sha256(b"BLOCK", data)
        if len(data) <= 256 * 1024:
            _block_hashes.put(block, identity)
    return identity


def batch_id(header: BatchHeader) -> bytes:
    """H("BATCH" | every header field); the transactions are bound through `tx_root`."""
    identity = _batch_ids.get(header)
    if identity is None:
        identity = sha256(b"BATCH", encode(header))
        _batch_ids.put(header, identity)
    return identity


def tx_id(transaction: Transaction) -> bytes:
    """H("TX" | every field but the signature): stable whoever signs or re-encodes."""
    identity = _tx_ids.get(transaction)
    if identity is None:
        data = encode(unsigned(transaction))
        identity = sha256(b"TX", data)
        if len(data) <= 2048:
            _tx_ids.put(transaction, identity)
    return identity


def unsigned(transaction: Transaction) -> Transaction:
    """The transaction with a zero signature: the form that is hashed and signed."""
    return msgspec.structs.replace(transaction, signature=bytes(64))


def tx_root(transactions: tuple[Transaction, ...]) -> bytes:
    """H("TXROOT" | encoded transactions, signatures included, each prefixed with its 4-byte big-endian length)."""
    digest = hashlib.sha256(b"TXROOT")
    for transaction in transactions:
        data = encode(transaction)
        digest.update(len(data).to_bytes(4, "big"))
        digest.update(data)
    return digest.digest()
