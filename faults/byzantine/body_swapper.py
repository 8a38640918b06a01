"""Batch proposer that shows half of its clan other transactions under the very same header, and serves those to others.

Attack D3 of protocol.md 5.6 taken further: not two batches under one number, but two bodies under one batch id, with as
many transactions and bytes where it has such. The header binds its body, so whoever hashes it refuses the other one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Any, ClassVar

from msgspec.structs import replace

from faults.byzantine.halves import even_halves, parse_halves
from faults.byzantine.port import Behaviour, CorruptedNode
from nodes.messages import Batch, BatchMessage, BatchResponse, Message, NodeId, Transaction, encode

KEPT = 256  # transactions of earlier batches


class BodySwapper(Behaviour):
    name: ClassVar[str] = "body-swapper"
    attacks: ClassVar[tuple[str, ...]] = ("D3",)
    breaks_at: ClassVar[str] = "never: the header binds the body"
    aims_at: ClassVar[str] = "I-DA, I-ROOT: availability, state-root"

    def __init__(self, halves: Any = None) -> None:
        super().__init__()
        self._halves = parse_halves(halves)
        self._earlier: deque[Transaction] = deque(maxlen=KEPT)
        self._swapped: dict[bytes, Batch] = {}  # by signature of the true batch

    def send(self, node: CorruptedNode, to: NodeId, message: Message) -> Iterable[tuple[NodeId, Message]]:
        if not isinstance(message, BatchMessage | BatchResponse) or message.batch.header.proposer != node.id:
            yield to, message
            return
        self.receipt.matched += 1
        batch = message.batch
        other = self._other(batch)
        clan = node.committee.clans[batch.header.clan]
        _, second = self._halves or even_halves([n for n in clan if n not in node.coalition])
        if to in second or isinstance(message, BatchResponse):
            self.receipt.changed += 1
            message = replace(message, batch=other)
        yield to, message

    def _other(self, batch: Batch) -> Batch:
        """The batch with another body, always the same one."""
        if batch.signature not in self._swapped:
            body = self._body(batch.transactions)
            self._earlier.extend(batch.transactions)
            self._swapped[batch.signature] = replace(batch, transactions=body)
            if len(self._swapped) > KEPT:
                del self._swapped[next(iter(self._swapped))]
        return self._swapped[batch.signature]

    def _body(self, transactions: tuple[Transaction, ...]) -> tuple[Transaction, ...]:
        """One transaction replaced by an earlier one of equal size; without such, the last one twice, or none of it."""
        for place, transaction in enumerate(transactions):
            size = len(encode(transaction))
            for earlier in self._earlier:
                if len(encode(earlier)) == size and earlier not in transactions:
                    return (*transactions[:place], earlier, *transactions[place + 1 :])
        return (*transactions[:-2], *transactions[-1:] * 2) if len(transactions) > 1 else ()
