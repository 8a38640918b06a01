"""What a wallet does, without I/O: build and sign transactions, turn list-append operations to and fro."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from nodes.committee import Committee, list_shard
from nodes.crypto import Domain, Signer
from nodes.messages import Append, Operation, Read, Transaction, Transfer, tx_id

NEVER_MS = 2**62  # an expiry that never comes


class Wallet:
    """One account: its key, on one chain. Stateless: the caller counts sequence numbers (they start at 0)."""

    def __init__(self, signer: Signer, domain: Domain) -> None:
        self._signer = signer
        self._domain = domain

    @property
    def address(self) -> bytes:
        """The account address: the 32-byte Ed25519 public key."""
        return self._signer.public_key

    def transaction(
        self, seq: int, operations: Iterable[Operation], expiry_ms: int = NEVER_MS, padding: int = 0
    ) -> Transaction:
        """A signed transaction of `operations`, with `padding` zero bytes to make it larger."""
        draft = Transaction(
            chain=self._domain.chain,
            sender=self.address,
            seq=seq,
            expiry_ms=expiry_ms,
            operations=tuple(operations),
            padding=bytes(padding),
            signature=bytes(64),
        )
        return sign(draft, self._signer, self._domain)

    def transfer(self, seq: int, to: bytes, amount: int, expiry_ms: int = NEVER_MS, padding: int = 0) -> Transaction:
        """A signed transfer of `amount` to the address `to`."""
        return self.transaction(seq, (Transfer(to, amount),), expiry_ms, padding)

    def list_append(
        self, seq: int, micro_operations: Iterable[Sequence[Any]], expiry_ms: int = NEVER_MS, padding: int = 0
    ) -> Transaction:
        """A signed transaction of list operations: ["append", key, value] and ["r", key, None]."""
        return self.transaction(seq, list_operations(micro_operations), expiry_ms, padding)


def sign(draft: Transaction, signer: Signer, domain: Domain) -> Transaction:
    """`draft` with the signer's signature over its id (whatever signature it had)."""
    return msgspec.structs.replace(draft, signature=signer.sign(domain.transaction(tx_id(draft))))


def list_operations(micro_operations: Iterable[Sequence[Any]]) -> tuple[Operation, ...]:
    """Operations of ["append", k, v] and ["r", k, None]. Raises ValueError on any other shape."""
    operations: list[Operation] = []
    for micro in micro_operations:
        match list(micro):
            case ["append", int(key), int(value)]:
                operations.append(Append(key, value))
            case ["r", int(key), _]:
                operations.append(Read(key))
            case other:
                raise ValueError(f'micro-operation {other!r} is neither ["append", key, value] nor ["r", key, None]')
    return tuple(operations)


def list_results(micro_operations: Iterable[Sequence[Any]], reads: Sequence[Sequence[int]]) -> list[list[Any]]:
    """The micro-operations with the read ones filled in from `reads` (AwaitStatus), in operation order.

    Raises ValueError if the number of reads differs.
    """
    rest = list(reads)
    micros = [list(micro) for micro in micro_operations]
    wanted = sum(micro[0] == "r" for micro in micros)
    if wanted != len(rest):
        raise ValueError(f"{len(rest)} read results for {wanted} read operations")
    return [["r", micro[1], list(rest.pop(0))] if micro[0] == "r" else micro for micro in micros]


def home_clan(committee: Committee, address: bytes) -> int:
    """The clan that executes the transactions of the account `address`."""
    return committee.clan_of_key(address)


def list_keys(committee: Committee, clan: int, count: int) -> tuple[int, ...]:
    """The `count` smallest list keys that `clan` owns: what its accounts may append to."""
    keys: list[int] = []
    key = 0
    while len(keys) < count:
        if committee.clan_of_key(list_shard(key)) == clan:
            keys.append(key)
        key += 1
    return tuple(keys)
