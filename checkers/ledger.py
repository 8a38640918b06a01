"""The ledger, executed again from the text of the rules (protocol.md 2.5, 2.7), independently of the nodes.

One Ledger is the state of one clan: accounts (balance, next sequence number) and lists.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from checkers.encoding import Tx
from checkers.evidence import Holds, sha256, signature_holds, wallet_statement

ZERO = bytes(32)
_EMPTY = sha256(b"BUCKET")

Reads = tuple[tuple[int, ...], ...]


def clan_of(key: bytes, clans: int) -> int:
    """The clan that owns an account address or a list's shard bytes."""
    return int.from_bytes(sha256(b"SHARD", key)[:8], "big") % clans


def clan_of_list(key: int, clans: int) -> int:
    """The clan that owns a list."""
    return clan_of(b"LIST" + key.to_bytes(8, "big"), clans)


def permuted(txs: Iterable[Tx], block: bytes) -> list[Tx]:
    """Execution order within a block: by H("ORDER" | seed | id), then each sender's own in ascending seq.

    The second step keeps the positions that a sender occupies and sorts only within them.
    """
    seed = sha256(b"SEED", block)
    order = sorted(txs, key=lambda tx: sha256(b"ORDER", seed, tx.raw))  # stable: ties keep payload order
    ranks: dict[bytes, list[Tx]] = {}
    for tx in order:
        ranks.setdefault(tx.sender, []).append(tx)
    queues = {sender: iter(sorted(own, key=lambda tx: tx.seq)) for sender, own in ranks.items()}
    return [next(queues[tx.sender]) for tx in order]


class Ledger:
    """State of one clan. `root(previous)` is the certified root: it chains the tree root to the previous one."""

    def __init__(
        self, clan: int, clans: int, chain: str, genesis: Mapping[str, int], holds: Holds = signature_holds
    ) -> None:
        self._holds = holds
        self.clan, self.clans, self.chain = clan, clans, chain
        self.accounts: dict[bytes, tuple[int, int]] = {}
        self.lists: dict[int, list[int]] = {}
        self._buckets: dict[int, set[bytes]] = {}  # bucket -> entry keys
        self._leaves = [_EMPTY] * 256
        self._dirty: set[bytes] = set()
        self._tree = b""
        for address, balance in genesis.items():
            key = bytes.fromhex(address)
            if clan_of(key, clans) == clan:
                self._set_account(key, balance, 0)
        self.genesis_root = self.root(ZERO)

    def execute(self, tx: Tx, timestamp_ms: int) -> tuple[str, Reads]:
        """("" if applied else the reason of the abort, what its Reads saw). Changes the state accordingly."""
        if tx.chain != self.chain or not self._holds(tx.sender, wallet_statement(tx.chain, tx.raw), tx.signature):
            return "invalid", ()
        if clan_of(tx.sender, self.clans) != self.clan or any(self._foreign(o) for o in tx.operations):
            return "foreign", ()
        balance, due = self.accounts.get(tx.sender, (0, 0))
        if tx.seq != due:
            return ("duplicate" if tx.seq < due else "too-new"), ()
        if tx.expiry_ms < timestamp_ms:
            return "expired", ()
        spent = sum(o[2] for o in tx.operations if o[0] == "t" and o[1] != tx.sender)
        self._set_account(tx.sender, balance, due + 1)
        if not self._affordable(tx, balance):
            return "insufficient", ()
        self._set_account(tx.sender, balance - spent, due + 1)
        return "", self._effects(tx)

    def root(self, previous: bytes) -> bytes:
        """H("ROOT" | tree root | previous certified root) of the present state."""
        if self._dirty or not self._tree:
            self._rehash()
        return sha256(b"ROOT", self._tree, previous)

    def total(self) -> int:
        """Sum of all balances."""
        return sum(balance for balance, _ in self.accounts.values())

    def _affordable(self, tx: Tx, balance: int) -> bool:
        """Can every transfer be paid, in order? A transfer to oneself needs the money but keeps it."""
        for operation in tx.operations:
            if operation[0] == "t":
                if operation[2] > balance:
                    return False
                balance -= operation[2] if operation[1] != tx.sender else 0
        return True

    def _effects(self, tx: Tx) -> Reads:
        """Credits, appends and reads of an affordable transaction, in operation order."""
        reads: list[tuple[int, ...]] = []
        for operation in tx.operations:
            kind, target = operation[0], operation[1]
            if kind == "t" and target != tx.sender:
                balance, seq = self.accounts.get(target, (0, 0))
                self._set_account(target, balance + operation[2], seq)
            elif kind == "a":
                self.lists.setdefault(target, []).append(operation[2])
                self._touch(b"L" + target.to_bytes(8, "big"))
            elif kind == "r":
                reads.append(tuple(self.lists.get(target, ())))
        return tuple(reads)

    def _foreign(self, operation: tuple[object, ...]) -> bool:
        target = operation[1]
        if isinstance(target, bytes):
            return clan_of(target, self.clans) != self.clan
        return not isinstance(target, int) or clan_of_list(target, self.clans) != self.clan

    def _set_account(self, address: bytes, balance: int, seq: int) -> None:
        self.accounts[address] = (balance, seq)
        self._touch(b"A" + address)

    def _touch(self, key: bytes) -> None:
        if key not in self._dirty:
            self._dirty.add(key)
            self._buckets.setdefault(sha256(key)[0], set()).add(key)

    def _value(self, key: bytes) -> bytes:
        if key[:1] == b"A":
            balance, seq = self.accounts[key[1:]]
            return balance.to_bytes(8, "big") + seq.to_bytes(8, "big")
        values = self.lists[int.from_bytes(key[1:], "big")]
        return len(values).to_bytes(4, "big") + b"".join(v.to_bytes(8, "big", signed=True) for v in values)

    def _rehash(self) -> None:
        for bucket in sorted({sha256(key)[0] for key in self._dirty}):
            parts = [b"BUCKET"]
            for key in sorted(self._buckets[bucket]):
                value = self._value(key)
                parts += [len(key).to_bytes(4, "big"), key, len(value).to_bytes(4, "big"), value]
            self._leaves[bucket] = sha256(*parts)
        self._dirty.clear()
        level = self._leaves
        while len(level) > 1:
            level = [sha256(b"NODE", level[i], level[i + 1]) for i in range(0, len(level), 2)]
        self._tree = level[0]
