"""More of group F of teeth.md section 2: what protects an account from its owner and from everybody else.

A rule that the gateway's door, the families and the ledger all hold is broken in all three: in one alone, the others
make up for it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from msgspec.structs import replace

from harness.mutants import Function, Mutant, Patch
from nodes.committee import Committee
from nodes.crypto import Domain, Verifier
from nodes.execution.ledger import Ledger
from nodes.messages import Transaction

LEDGER = "nodes.execution.ledger:Ledger._execute_one"
DOOR = "nodes.gateway.door:Door.fault"
VALIDITY = "nodes.validity:transaction_fault"

# What a place that judges transactions takes instead of its own: (committee, domain, verifier, transaction) -> two.
Instead: TypeAlias = Callable[[Committee, Domain, Verifier, Transaction], tuple[Domain, Verifier]]


class Credulous:
    """A Verifier that takes every signature for good."""

    def verify(self, public_key: bytes, statement: bytes, signature: bytes) -> bool:
        return True


class AnyAccount:
    """A Verifier that asks whether the holder of any account signed, no matter which."""

    def __init__(self, committee: Committee, verifier: Verifier) -> None:
        self._keys = [bytes.fromhex(account.address) for account in committee.config.accounts]
        self._verifier = verifier

    def verify(self, public_key: bytes, statement: bytes, signature: bytes) -> bool:
        return any(self._verifier.verify(key, statement, signature) for key in (public_key, *self._keys))


def in_all_places(instead: Instead) -> tuple[Patch, ...]:
    """Door.fault, transaction_fault (batch proposers and those who vote for batches) and Ledger._execute_one."""

    def by_itself(original: Function) -> Function:
        """A method of an object that holds its own domain and verifier: it has others while it is called."""

        def call(self: Any, *args: Any) -> Any:
            transaction = next(each for each in args if isinstance(each, Transaction))
            own = self._domain, self._verifier
            self._domain, self._verifier = instead(self._committee, *own, transaction)
            try:
                return original(self, *args)
            finally:
                self._domain, self._verifier = own

        return call

    def as_told(original: Function) -> Function:
        def call(
            transaction: Transaction, tx: bytes, clan: int, committee: Committee, domain: Domain, verifier: Verifier
        ) -> str | None:
            fault: str | None = original(
                transaction, tx, clan, committee, *instead(committee, domain, verifier, transaction)
            )
            return fault

        return call

    return (
        Patch(DOOR, by_itself, predicate=True),
        Patch(VALIDITY, as_told, predicate=True, everywhere=True),
        Patch(LEDGER, by_itself),
    )


def unverified(committee: Committee, domain: Domain, verifier: Verifier, transaction: Transaction) -> Any:
    """Every signature is good."""
    return domain, Credulous()


def any_signer(committee: Committee, domain: Domain, verifier: Verifier, transaction: Transaction) -> Any:
    """Every account's signature is good."""
    return domain, AnyAccount(committee, verifier)


def its_own_chain(committee: Committee, domain: Domain, verifier: Verifier, transaction: Transaction) -> Any:
    """A transaction is held against the chain that it names itself."""
    return replace(domain, chain=transaction.chain), verifier


def by_id(original: Function) -> Function:
    """Ledger._execute_one knows what it has applied by the transaction's id, not by the account's number."""

    def execute_one(self: Ledger, tx: bytes, transaction: Transaction, *rest: Any) -> str:
        done: set[bytes] = vars(self).setdefault("_done", set())
        reason: str = original(self, tx, transaction, *rest)
        sender = transaction.sender
        if reason == "duplicate" and tx not in done:
            balance, expected = self.account(sender)
            self._accounts[sender] = (balance, transaction.seq)
            reason = original(self, tx, transaction, *rest)
            self._accounts[sender] = (self.account(sender)[0], expected)
        if reason == "":
            done.add(tx)
        return reason

    return execute_one


def senders_only(original: Function) -> Function:
    """foreign_part does not look at what the operations touch."""

    def foreign_part(committee: Committee, transaction: Transaction, clan: int) -> str | None:
        found: str | None = original(committee, replace(transaction, operations=()), clan)
        return found

    return foreign_part


MUTANTS = (
    Mutant(
        "F25", "F", "2.3", "nobody verifies a wallet's signature",
        in_all_places(unverified), ("acknowledged", "state-root", "conservation"), (), "hostile",
    ),
    Mutant(
        "F26", "F", "2.3", "the account that signs need not be the sender's",
        in_all_places(any_signer), ("acknowledged", "state-root", "conservation"), (), "hostile",
    ),
    Mutant(
        "F27", "F", "2.3", "a transaction of another chain is held against the chain that it names itself",
        in_all_places(its_own_chain), ("acknowledged", "state-root", "conservation"), (), "hostile",
    ),
    Mutant(
        "F28", "F", "2.7", "a second transaction under a used number takes effect, if it is not the same one again",
        (Patch(LEDGER, by_id),), ("conservation", "state-root", "acknowledged"), (), "hostile",
    ),
    Mutant(
        "F29", "F", "2.3", "a transaction may pay an account that another clan owns",
        (Patch("nodes.chainrules:foreign_part", senders_only, predicate=True, everywhere=True),),
        ("acknowledged", "state-root", "conservation"), (), "hostile-clans",
    ),
)  # fmt: skip
