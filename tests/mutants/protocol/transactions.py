"""Groups F and G of teeth.md section 2: transactions, execution, gateways, clans."""

from __future__ import annotations

from itertools import count
from typing import Any

from harness.mutants import Function, Mutant, Patch
from nodes.buckets.core import BucketsCore
from nodes.committee import Committee
from nodes.execution.ledger import Account, Ledger
from nodes.gateway.core import GatewayCore
from nodes.gateway.tracker import Entry, Result
from nodes.messages import Transaction, Transfer

LEDGER = "nodes.execution.ledger:Ledger."
BUCKETS = "nodes.buckets.core:BucketsCore."


# ---------------------------------------------------------------- F: execution and buckets
def once_a_block(original: Function) -> Function:
    """Ledger._execute_one knows duplicates of the same block only."""

    def execute_one(self: Ledger, tx: bytes, transaction: Transaction, *rest: Any) -> str:
        reason: str = original(self, tx, transaction, *rest)
        before: dict[bytes, Account] = rest[2]
        if reason == "duplicate" and transaction.sender not in before:
            balance, expected = self.account(transaction.sender)
            self._accounts[transaction.sender] = (balance, transaction.seq)
            reason = original(self, tx, transaction, *rest)
            self._accounts[transaction.sender] = (self.account(transaction.sender)[0], expected)
        return reason

    return execute_one


def credit_only(original: Function) -> Function:
    """Ledger._transfer credits and does not debit."""

    def transfer(self: Ledger, staged: dict[bytes, Account], sender: bytes, operation: Transfer) -> bool:
        funds, seq = staged[sender]
        good: bool = original(self, staged, sender, operation)
        if good and operation.to != sender:
            staged[sender] = (funds, seq)
        return good

    return transfer


def by_turns(original: Function) -> Function:
    """The order of execution depends on how often this process has executed."""
    calls = count()

    def permute(block: bytes, transactions: Any) -> Any:
        found = original(block, transactions)
        return found if next(calls) % 2 else found[::-1]

    return permute


def never(original: Function) -> Function:
    """BucketsCore._overdue: a secondary whose turn it is drops the transaction."""

    def overdue(self: BucketsCore, now: int) -> list[Any]:
        for entry in original(self, now):
            self._secondary.remove(entry.tx)
        return []

    return overdue


def at_once(original: Function) -> Function:
    """BucketsCore._overdue: a secondary does not wait for the primary."""

    def overdue(self: BucketsCore, now: int) -> list[Any]:
        return list(self._secondary.entries.values())

    return overdue


def when_available(original: Function) -> Function:
    """GatewayCore._progress reports execution once the batch has an availability certificate."""

    def progress(self: GatewayCore, now: int, entry: Entry, out: Any) -> None:
        if entry.available and entry.result is None:
            entry.result = Result(0, "")
        original(self, now, entry, out)

    return progress


# ---------------------------------------------------------------- G: clans
def one_less(original: Function) -> Function:
    """Committee.majority is one vote too low."""

    def majority(self: Committee, clan: int) -> int:
        return max(1, int(original(self, clan)) - 1)

    return majority


MUTANTS = (
    Mutant(
        "F1", "F", "I-ONCE", "a transaction takes effect once in each block that holds it",
        (Patch(LEDGER + "_execute_one", once_a_block),), ("dedup", "state-root"), (), "f1",
    ),
    Mutant(
        "F2", "F", "2.7", "a transfer credits the receiver and does not debit the sender",
        (Patch(LEDGER + "_transfer", credit_only),), ("state-root", "conservation"), (), "fault-free-4",
    ),
    Mutant(
        "F5", "F", "2.5 (b)", "a secondary never includes what the primary dropped",
        (Patch(BUCKETS + "_overdue", never),), ("censorship", "finality-bounds"), (), "f5",
    ),
    Mutant(
        "F6", "F", "2.5 (b)", "a secondary includes a transaction without waiting for the primary",
        (Patch(BUCKETS + "_overdue", at_once),), ("dedup",), ("duplicate-inclusion",), "fault-free-4",
    ),
    Mutant(
        "F7", "F", "2.7", "the order of execution is not a function of the block",
        (Patch("nodes.execution.core:permute", by_turns),), ("state-root",), (), "f7",
    ),
    Mutant(
        "F9", "F", "2.1 finality", "a gateway reports execution when the batch is merely available",
        (Patch("nodes.gateway.core:GatewayCore._progress", when_available),),
        ("acknowledged", "finality-bounds"), (), "fault-free-4",
    ),
    Mutant(
        "G1", "G", "0 M", "a clan certificate takes one vote less than a majority",
        (Patch("nodes.committee:Committee.majority", one_less),),
        ("availability", "state-root"), ("undersigned-certificate", "invalid-state-certificate"), "fault-free-4",
    ),
)  # fmt: skip
