"""Decoding of batch bodies, from the wire layout alone: msgpack arrays, no tag except on operations.

Batch = [header, transactions, signature]; header = [chain, epoch, cycle, clan, proposer, seq, tx_root, tx_count,
byte_length, created_ms]; transaction = [chain, sender, seq, expiry_ms, operations, padding, signature]; operation =
["t", to, amount] | ["a", key, value] | ["r", key].
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import msgspec

from checkers.evidence import EvidenceError, sha256

_pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder(list[Any]).decode
_ARITY = {"t": 3, "a": 3, "r": 2}


@dataclass(frozen=True)
class Tx:
    """A decoded transaction; `id` in hex, `raw` the same 32 bytes."""

    id: str
    raw: bytes
    chain: str
    sender: bytes
    seq: int
    expiry_ms: int
    operations: tuple[tuple[Any, ...], ...]
    signature: bytes


@dataclass(frozen=True)
class Body:
    """A decoded batch whose id and transaction root were recomputed."""

    id: str
    clan: int
    proposer: str
    seq: int
    tx_count: int
    byte_length: int
    created_ms: int
    txs: tuple[Tx, ...]


def transaction(parts: list[Any]) -> Tx:
    """One transaction from its decoded array; its id is H("TX" | encoding with a zero signature)."""
    chain, sender, seq, expiry_ms, operations, padding, signature = parts
    raw = sha256(b"TX", _pack([chain, sender, seq, expiry_ms, operations, padding, bytes(64)]))
    for operation in operations:
        if len(operation) != _ARITY.get(operation[0], 0):
            raise EvidenceError(f"transaction {raw.hex()[:12]} holds an operation of unknown form: {operation!r:.60}")
    return Tx(raw.hex(), raw, chain, sender, seq, expiry_ms, tuple(tuple(o) for o in operations), signature)


def body(data: bytes) -> Body:
    """The batch in `data`. Raises EvidenceError unless its transactions hash to the root in its header."""
    try:
        header, txs, _ = _unpack(data)
        _, _, _, clan, proposer, seq, root, count, length, created_ms = header
        digest = hashlib.sha256(b"TXROOT")
        for parts in txs:
            encoded = _pack(parts)
            digest.update(len(encoded).to_bytes(4, "big") + encoded)
        decoded = tuple(transaction(parts) for parts in txs)
    except (msgspec.MsgspecError, ValueError, TypeError, IndexError) as error:
        raise EvidenceError(f"a batch body cannot be decoded: {error}") from error
    if digest.digest() != root or count != len(decoded):
        raise EvidenceError(f"batch {seq} of {proposer}: its transactions do not hash to the root in its header")
    return Body(sha256(b"BATCH", _pack(header)).hex(), clan, proposer, seq, count, length, created_ms, decoded)
