"""Group F of teeth.md section 2: the ledger's rules where they turn, and what a gateway tells of balances."""

from __future__ import annotations

from typing import Any

from harness.mutants import Function, Mutant, Patch
from nodes.execution.core import ExecutionCore
from nodes.execution.ledger import Account, Ledger
from nodes.messages import Transaction, Transfer

LEDGER = "nodes.execution.ledger:Ledger."
BALANCE = "nodes.execution.core:ExecutionCore._balance"


def keeps_part(original: Function) -> Function:
    """Ledger._execute_one: the transfers before the one that cannot be paid take effect."""

    def execute_one(self: Ledger, tx: bytes, transaction: Transaction, ms: int, reads: Any, before: Any) -> str:
        held = dict.fromkeys((transaction.sender, *_receivers(transaction)))
        accounts: dict[bytes, Account] = {address: self.account(address) for address in held}
        reason: str = original(self, tx, transaction, ms, reads, before)
        if reason == "insufficient":
            sender = transaction.sender
            balance, seq = accounts[sender]
            accounts[sender] = (balance, seq + 1)
            for operation in transaction.operations:
                if isinstance(operation, Transfer) and not self._transfer(accounts, sender, operation):
                    break
            for address, state in accounts.items():
                if state != self.account(address):
                    self._write(before, address, state)
        return reason

    return execute_one


def _receivers(transaction: Transaction) -> list[bytes]:
    return [operation.to for operation in transaction.operations if isinstance(operation, Transfer)]


def read_before(original: Function) -> Function:
    """Ledger._transfer reads what the receiver has before the sender has paid: who pays himself keeps both."""

    def transfer(self: Ledger, staged: dict[bytes, Account], sender: bytes, operation: Transfer) -> bool:
        held, seq = staged.get(operation.to) or self.account(operation.to)
        good: bool = original(self, staged, sender, operation)
        if good:
            staged[operation.to] = (held + operation.amount, seq)
        return good

    return transfer


def not_the_last(original: Function) -> Function:
    """Ledger._transfer: `funds <= amount` cannot be paid."""

    def transfer(self: Ledger, staged: dict[bytes, Account], sender: bytes, operation: Transfer) -> bool:
        return staged[sender][0] != operation.amount and original(self, staged, sender, operation)

    return transfer


def lives_for_ever(original: Function) -> Function:
    """Ledger._execute_one does not look at the expiry. (The signature covers it, so the block's time is set back.)"""

    def execute_one(self: Ledger, tx: bytes, transaction: Transaction, ms: int, *rest: Any) -> str:
        return str(original(self, tx, transaction, 0, *rest))

    return execute_one


def newest(original: Function) -> Function:
    """ExecutionCore._balance answers from the state that was executed last, certified or not."""

    def balance(self: ExecutionCore, address: bytes) -> dict[str, object]:
        held, seq = self._ledger.account(address)
        return {"address": address.hex(), "balance": held, "seq": seq, "height": self.executed}

    return balance


def not_undone(original: Function) -> Function:
    """ExecutionCore._balance does not take back what the heights above the certified one wrote."""

    def balance(self: ExecutionCore, address: bytes) -> dict[str, object]:
        held, seq = self._ledger.account(address)
        return {"address": address.hex(), "balance": held, "seq": seq, "height": self.certified}

    return balance


MUTANTS = (
    Mutant(
        "F17", "F", "2.7", "of a transaction that cannot be paid in full, the transfers that can be take effect",
        (Patch(LEDGER + "_execute_one", keeps_part),), ("state-root",), (), "edges",
    ),
    Mutant(
        "F18", "F", "2.7", "a transfer to oneself credits the sender and does not debit him",
        (Patch(LEDGER + "_transfer", read_before),), ("state-root", "conservation"), (), "edges",
    ),
    Mutant(
        "F19", "F", "2.7", "an account cannot spend all that it has",
        (Patch(LEDGER + "_transfer", not_the_last),), ("state-root", "conservation"), (), "edges",
    ),
    Mutant(
        "F20", "F", "2.7", "a transaction is executed after it has expired",
        (Patch(LEDGER + "_execute_one", lives_for_ever),), ("state-root", "conservation"), (), "edges",
    ),
    Mutant(
        "F21", "F", "2.7", "a gateway tells balances of executed state that nobody has certified",
        (Patch(BALANCE, newest),), ("acknowledged",), ("uncertified-balance",), "balances",
    ),
    Mutant(
        "F22", "F", "2.7", "a gateway tells the newest balance as that of the certified height",
        (Patch(BALANCE, not_undone),), ("acknowledged",), ("wrong-balance",), "balances",
    ),
)  # fmt: skip
