"""The stateless checks on a submitted transaction (protocol.md 2.5): what a gateway can tell without any state."""

from __future__ import annotations

from nodes.chainrules import foreign_part
from nodes.committee import Committee
from nodes.crypto import Domain, Verifier
from nodes.messages import Transaction, encode

_MS = 1_000_000


class Door:
    """Decides which transactions are worth forwarding."""

    def __init__(self, committee: Committee, domain: Domain, verifier: Verifier) -> None:
        self._committee = committee
        self._domain = domain
        self._verifier = verifier

    def fault(self, now: int, tx: bytes, transaction: Transaction, clan: int) -> str | None:
        """Why the transaction is refused, or None; cheapest check first. The text starts with the kind of fault."""
        limit = self._committee.parameters.max_batch_bytes
        if transaction.chain != self._domain.chain:
            return f"wrong-chain: the transaction is for chain {transaction.chain!r}, this is {self._domain.chain!r}"
        if transaction.expiry_ms * _MS <= now:
            return f"expired: expiry_ms {transaction.expiry_ms} is not after {now // _MS}; sign it with a later one"
        foreign = foreign_part(self._committee, transaction, clan)
        if foreign is not None:
            return f"foreign: touches {foreign}, the sender is of clan {clan}; use accounts and lists of that clan"
        size = len(encode(transaction))
        if size > limit:
            return f"too-large: {size} bytes, max_batch_bytes is {limit}; send less padding or fewer operations"
        if not self._verifier.verify(transaction.sender, self._domain.transaction(tx), transaction.signature):
            return "bad-signature: not the sender's signature over this transaction; sign it again"
        return None
