"""The account ledger of one clan: accounts with balance and sequence number, and append-only lists of integers.

Executing one transaction, checks in this order (each abort is a no-op unless said otherwise):
  invalid       wrong chain or bad signature
  foreign       it touches an account or a list of another clan
  duplicate     seq < next sequence number of the sender
  too-new       seq > next (the buckets include it again, 2.5 c)
  expired       expiry_ms < timestamp of the block
  insufficient  some transfer exceeds the balance left by the operations before it: only the sequence number advances
and otherwise applied: every operation in order, and the sequence number advances.
An account or list has a tree entry from its first write on (genesis accounts from the start), whatever its value.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

import msgspec

from nodes.chainrules import foreign_part
from nodes.committee import Committee, ConfigError
from nodes.crypto import Domain, Verifier
from nodes.execution.tree import StateTree
from nodes.messages import NO_HASH, Append, Transaction, Transfer, sha256

Account = tuple[int, int]  # balance, next sequence number
Reads = tuple[tuple[int, ...], ...]

APPLIED = ""
_LIMIT = 2**64


class Outcome(msgspec.Struct, frozen=True):
    """What one block did: ids in execution order, the roots, and `before`: each written account as it was before."""

    applied: tuple[bytes, ...]
    aborted: tuple[tuple[bytes, str], ...]
    reads: dict[bytes, Reads]
    previous_root: bytes
    root: bytes
    before: dict[bytes, Account]


class Ledger:
    """State of one clan. `root` is the chained root of the last executed block (genesis: of the genesis accounts)."""

    def __init__(self, committee: Committee, domain: Domain, clan: int, verifier: Verifier) -> None:
        self._committee = committee
        self._domain = domain
        self._clan = clan
        self._verifier = verifier
        self._accounts: dict[bytes, Account] = {}
        self._lists: dict[int, list[int]] = {}
        self._tree = StateTree()
        self._dirty_lists: dict[int, None] = {}
        for account in committee.config.accounts:
            address = bytes.fromhex(account.address)
            if committee.clan_of_key(address) == clan:
                self._accounts[address] = (account.balance, 0)
        total = sum(balance for balance, _ in self._accounts.values())
        if total >= _LIMIT or any(balance < 0 for balance, _ in self._accounts.values()):
            raise ConfigError(
                f"genesis accounts of clan {clan} hold {total} in all; every balance must be at least 0 and their "
                "sum below 2^64: change `accounts` in the genesis file"
            )
        for address, state in self._accounts.items():
            self._tree.set(*account_entry(address, state))
        self.root = chain_root(self._tree.root(), NO_HASH)

    def account(self, address: bytes) -> Account:
        """(balance, next sequence number) after the last executed block; (0, 0) for an unknown account."""
        return self._accounts.get(address, (0, 0))

    def values(self, key: int) -> tuple[int, ...]:
        """The list `key`; empty for an unknown one."""
        return tuple(self._lists.get(key, ()))

    def total(self) -> int:
        """Sum of all balances of the clan; constant (conservation)."""
        return sum(balance for balance, _ in self._accounts.values())

    def execute(self, timestamp_ms: int, transactions: Sequence[tuple[bytes, Transaction]]) -> Outcome:
        """Execute one block's (id, transaction) pairs in the given order and advance the root."""
        applied: list[bytes] = []
        aborted: list[tuple[bytes, str]] = []
        reads: dict[bytes, Reads] = {}
        before: dict[bytes, Account] = {}
        for tx, transaction in transactions:
            reason = self._execute_one(tx, transaction, timestamp_ms, reads, before)
            if reason == APPLIED:
                applied.append(tx)
            else:
                aborted.append((tx, reason))
        previous, self.root = self.root, chain_root(self._tree_root(before), self.root)
        return Outcome(tuple(applied), tuple(aborted), reads, previous, self.root, before)

    def _tree_root(self, written: dict[bytes, Account]) -> bytes:
        for address in written:
            self._tree.set(*account_entry(address, self._accounts[address]))
        for key in self._dirty_lists:
            self._tree.set(*list_entry(key, self._lists[key]))
        self._dirty_lists.clear()
        return self._tree.root()

    def _execute_one(
        self,
        tx: bytes,
        transaction: Transaction,
        timestamp_ms: int,
        reads: dict[bytes, Reads],
        before: dict[bytes, Account],
    ) -> str:
        sender = transaction.sender
        if transaction.chain != self._domain.chain or not self._verifier.verify(
            sender, self._domain.transaction(tx), transaction.signature
        ):
            return "invalid"
        if foreign_part(self._committee, transaction, self._clan) is not None:
            return "foreign"
        balance, expected = self.account(sender)
        if transaction.seq != expected:
            return "duplicate" if transaction.seq < expected else "too-new"
        if transaction.expiry_ms < timestamp_ms:
            return "expired"
        staged: dict[bytes, Account] = {sender: (balance, expected + 1)}
        appended: dict[int, list[int]] = {}
        seen: list[tuple[int, ...]] = []
        for operation in transaction.operations:
            if isinstance(operation, Transfer):
                if not self._transfer(staged, sender, operation):
                    self._write(before, sender, (balance, expected + 1))
                    return "insufficient"
            elif isinstance(operation, Append):
                appended.setdefault(operation.key, []).append(operation.value)
            else:
                seen.append((*self._lists.get(operation.key, ()), *appended.get(operation.key, ())))
        for address, state in staged.items():
            self._write(before, address, state)
        for key, values in appended.items():
            self._lists.setdefault(key, []).extend(values)
            self._dirty_lists[key] = None
        if seen:
            reads[tx] = tuple(seen)
        return APPLIED

    def _transfer(self, staged: dict[bytes, Account], sender: bytes, transfer: Transfer) -> bool:
        funds, seq = staged[sender]
        if funds < transfer.amount:
            return False
        staged[sender] = (funds - transfer.amount, seq)
        held, seq = staged.get(transfer.to) or self.account(transfer.to)
        staged[transfer.to] = (held + transfer.amount, seq)
        return True

    def _write(self, before: dict[bytes, Account], address: bytes, state: Account) -> None:
        before.setdefault(address, self.account(address))
        self._accounts[address] = state


def chain_root(tree_root: bytes, previous: bytes) -> bytes:
    """root_at_height = SHA256("ROOT" | tree_root | previous root_at_height); 32 zero bytes before genesis."""
    return sha256(b"ROOT", tree_root, previous)


def account_entry(address: bytes, state: Account) -> tuple[bytes, bytes]:
    """Tree entry of an account: b"A" + address -> balance (8 BE) + next seq (8 BE)."""
    return b"A" + address, struct.pack(">QQ", *state)


def list_entry(key: int, values: Sequence[int]) -> tuple[bytes, bytes]:
    """Tree entry of a list: b"L" + key (8 BE) -> count (4 BE) + each value (8 BE signed)."""
    return b"L" + key.to_bytes(8, "big"), struct.pack(f">I{len(values)}q", len(values), *values)
