"""Stateless validity of a transaction (protocol.md 2.3, 2.5): what can be judged without the ledger."""

from __future__ import annotations

from nodes.committee import Committee
from nodes.crypto import Domain, Verifier
from nodes.messages import Transaction


def transaction_fault(
    transaction: Transaction, tx: bytes, clan: int, committee: Committee, domain: Domain, verifier: Verifier
) -> str | None:
    """Why `transaction` (whose id is `tx`) may not enter a batch of `clan`, or None.

    Checks chain id, that the clan owns the sender, and the wallet's signature, cheapest first. Sequence number,
    balance and expiry depend on the block and are judged by execution.
    """
    if transaction.chain != domain.chain:
        return f"transaction of chain {transaction.chain!r}, not {domain.chain!r}"
    if committee.clan_of_key(transaction.sender) != clan:
        return f"the sender's account does not belong to clan {clan}"
    if not verifier.verify(transaction.sender, domain.transaction(tx), transaction.signature):
        return "bad wallet signature on a transaction"
    return None
