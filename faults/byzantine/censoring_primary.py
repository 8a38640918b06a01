"""Batch proposer that ignores the transactions of its victims; as a block leader it can leave out batches too.

Attack B2 of protocol.md 5.7 and F5 of the teeth list. Smallest breaking count: all members of the family. Aimed at
I-CENS. `victims`: hex account addresses (none: everybody); `role`: "any", or "primary" to censor only where this node
is the transaction's primary; `receipt`: "none", or "fake" to sign a receipt for what it drops; `blocks`: true to leave
out of its own blocks every certified batch of others that may hold a victim's transaction.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

from msgspec.structs import replace

from faults.byzantine.port import Behaviour, CorruptedNode
from faults.byzantine.sealing import own_proposal, reseal
from nodes.messages import BatchMessage, BatchResponse, Forward, ForwardReceipt, Message, NodeId, batch_id, tx_id

KEPT = 4096


class CensoringPrimary(Behaviour):
    name: ClassVar[str] = "censoring-primary"
    attacks: ClassVar[tuple[str, ...]] = ("B2",)
    breaks_at: ClassVar[str] = "all n_m members of the family"
    aims_at: ClassVar[str] = "I-CENS: censorship"

    def __init__(self, victims: Any = (), role: str = "any", receipt: str = "none", blocks: bool = False) -> None:
        super().__init__()
        self._victims = _addresses(victims)
        if role not in ("any", "primary"):
            raise ValueError(f"role = {role!r}: any or primary")
        if receipt not in ("none", "fake"):
            raise ValueError(f"receipt = {receipt!r}: none or fake")
        if not isinstance(blocks, bool):
            raise ValueError(f"blocks = {blocks!r}: true or false")
        self._primary_only, self._fake, self._blocks = role == "primary", receipt == "fake", blocks
        self._clear: dict[bytes, None] = {}  # batches that are known to hold no victim's transaction
        self._receipts: list[tuple[NodeId, Message]] = []

    def receive(self, node: CorruptedNode, sender: NodeId, message: Message) -> Message | None:
        if isinstance(message, BatchMessage | BatchResponse):
            if self._victims and not any(t.sender in self._victims for t in message.batch.transactions):
                self._clear[batch_id(message.batch.header)] = None
                if len(self._clear) > KEPT:
                    del self._clear[next(iter(self._clear))]
        elif isinstance(message, Forward) and self._hit(node, message):
            self.receipt.matched += 1
            self.receipt.dropped += 1
            if self._fake:
                tx, now_ms = tx_id(message.transaction), node.now // 1_000_000
                signature = node.sign(node.domain.receipt(tx, node.id, now_ms))
                self._receipts.append((sender, ForwardReceipt(tx, node.id, now_ms, signature)))
            return None
        return message

    def send(self, node: CorruptedNode, to: NodeId, message: Message) -> Iterable[tuple[NodeId, Message]]:
        proposal = own_proposal(node, message) if self._blocks else None
        if proposal is not None:
            self.receipt.matched += 1
            kept = tuple(c for c in proposal.block.payload if c.proposer == node.id or c.batch in self._clear)
            if kept != proposal.block.payload:
                self.receipt.changed += 1
                message = reseal(node, proposal, replace(proposal.block, payload=kept))
        yield to, message

    def act(self, node: CorruptedNode) -> Iterable[tuple[NodeId, Message]]:
        receipts, self._receipts = self._receipts, []
        self.receipt.injected += len(receipts)
        return receipts

    def _hit(self, node: CorruptedNode, forward: Forward) -> bool:
        sender = forward.transaction.sender
        if self._victims and sender not in self._victims:
            return False
        clan = node.committee.clan_of_key(sender)
        return not self._primary_only or node.committee.family(tx_id(forward.transaction), clan)[0] == node.id


def _addresses(value: Any) -> frozenset[bytes]:
    try:
        if isinstance(value, Sequence) and not isinstance(value, str):
            addresses = frozenset(bytes.fromhex(v) for v in value)
            if all(len(a) == 32 for a in addresses):
                return addresses
    except (TypeError, ValueError):
        pass
    raise ValueError(f"victims = {value!r}: a list of account addresses, 64 hex digits each")
