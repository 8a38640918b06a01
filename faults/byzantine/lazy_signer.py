"""Clan member that votes for every batch and keeps none, and shows its own batches to accomplices only.

Attack D2 of protocol.md 5.6. Smallest breaking count: f_c+1 in the clan. Aimed at I-DA: at f_c each certificate still
has an honest signer who holds the batch; with f_c+1 lazy signers a certificate says nothing. Its own vote is a lie each
time: the batch never reaches its core, which fetches from others what it executes.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from faults.byzantine.port import Behaviour, CorruptedNode
from faults.byzantine.sealing import availability_vote
from nodes.messages import BatchMessage, BatchRequest, BatchResponse, Message, NodeId


class LazySigner(Behaviour):
    name: ClassVar[str] = "lazy-signer"
    attacks: ClassVar[tuple[str, ...]] = ("D2",)
    breaks_at: ClassVar[str] = "f_c+1 in the clan"
    aims_at: ClassVar[str] = "I-DA: availability"

    def __init__(self) -> None:
        super().__init__()
        self._votes: list[tuple[NodeId, Message]] = []

    def receive(self, node: CorruptedNode, sender: NodeId, message: Message) -> Message | None:
        if isinstance(message, BatchRequest) and sender not in node.coalition:
            self.receipt.matched += 1
            self.receipt.dropped += 1
            return None
        if isinstance(message, BatchMessage) and message.batch.header.clan == node.committee.clan_of.get(node.id):
            self.receipt.matched += 1
            self.receipt.dropped += 1
            vote = availability_vote(node, message.batch.header, node.id)
            self._votes += [(to, vote) for to in node.committee.members("everyone") if to != node.id]
            return None
        return message

    def send(self, node: CorruptedNode, to: NodeId, message: Message) -> Iterable[tuple[NodeId, Message]]:
        if isinstance(message, BatchMessage | BatchResponse) and to not in node.coalition:
            self.receipt.matched += 1
            self.receipt.dropped += 1
            return
        yield to, message

    def act(self, node: CorruptedNode) -> Iterable[tuple[NodeId, Message]]:
        votes, self._votes = self._votes, []
        self.receipt.injected += len(votes)
        return votes
