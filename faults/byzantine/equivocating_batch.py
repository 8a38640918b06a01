"""Batch proposer that makes two batches under one sequence number, one for each half of the clan, and votes for both.

Attack D3 of protocol.md 5.6. Smallest count for two certificates: 1 in a clan of 3 (in-model, not a violation; larger
clans need accomplices that run the same, and so vote for both). Aimed at I-BATCH: all honest nodes must settle on the
same batch, and accuse. `halves` names the halves of the clan's honest members; `keep` is how many transactions the
second batch has of the first (none given: all but the last).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

from faults.byzantine.accomplices import JointVotes
from faults.byzantine.halves import even_halves, parse_halves
from faults.byzantine.port import Behaviour, CorruptedNode
from faults.byzantine.sealing import rebatch
from nodes.messages import Batch, BatchMessage, BatchRequest, BatchResponse, Message, NodeId, batch_id

KEPT = 256


class EquivocatingBatch(Behaviour):
    name: ClassVar[str] = "equivocating-batch"
    attacks: ClassVar[tuple[str, ...]] = ("D3",)
    breaks_at: ClassVar[str] = "never by itself: two certificates from 1 on are in the model"
    aims_at: ClassVar[str] = "I-BATCH: xrbc-agreement"

    def __init__(self, halves: Any = None, keep: Any = None) -> None:
        super().__init__()
        self._halves = parse_halves(halves)
        if keep is not None and (isinstance(keep, bool) or not isinstance(keep, int) or keep < 1):
            raise ValueError(f"keep = {keep!r}: a number of transactions, 1 or more")
        self._keep: int | None = keep
        self._variants: dict[bytes, Batch] = {}  # id of the original -> variant
        self._votes = JointVotes("equivocating-batch")
        self._queue: list[tuple[NodeId, Message]] = []

    def send(self, node: CorruptedNode, to: NodeId, message: Message) -> Iterable[tuple[NodeId, Message]]:
        if not isinstance(message, BatchMessage) or message.batch.header.proposer != node.id:
            yield to, message
            return
        self.receipt.matched += 1
        clan = node.committee.clans[message.batch.header.clan]
        _, second = self._halves or even_halves([n for n in clan if n not in node.coalition])
        if to in second:
            self.receipt.changed += 1
            yield to, BatchMessage(self._variant(node, message.batch))
        else:
            self._variant(node, message.batch)
            yield to, message

    def receive(self, node: CorruptedNode, sender: NodeId, message: Message) -> Message | None:
        if isinstance(message, BatchRequest):
            for variant in self._variants.values():
                if batch_id(variant.header) == message.batch:
                    self._queue.append((sender, BatchResponse(variant)))
                    return None
        return message

    def act(self, node: CorruptedNode) -> Iterable[tuple[NodeId, Message]]:
        queue, self._queue = [*self._queue, *self._votes.due(node)], []
        self.receipt.injected += len(queue)
        return queue

    def _variant(self, node: CorruptedNode, batch: Batch) -> Batch:
        original = batch_id(batch.header)
        if original not in self._variants:
            kept = max(1, len(batch.transactions) - 1) if self._keep is None else self._keep
            transactions = batch.transactions[:kept]
            self._variants[original] = variant = rebatch(node, batch, transactions)
            self._votes.ask(node, batch.header, variant.header)
            if len(self._variants) > KEPT:
                del self._variants[next(iter(self._variants))]
        return self._variants[original]
