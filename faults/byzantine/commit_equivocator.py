"""Replica that votes to commit whatever anybody votes for, certified or not, and tells that voter so.

Attack C7 of protocol.md 5.3. A commit certificate needs honest commit votes, which go to certified blocks only, and
commit votes for different blocks are never added up (mutant C7 does). f+1 members that also certify two blocks
commit both.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from faults.byzantine.port import CorruptedNode
from faults.byzantine.primitives import commit_vote
from faults.byzantine.rushing import Rushing
from nodes.messages import CommitVote, Message, NodeId, Vote


class CommitEquivocator(Rushing):
    name: ClassVar[str] = "commit-equivocator"
    attacks: ClassVar[tuple[str, ...]] = ("C7",)
    breaks_at: ClassVar[str] = "f+1 in the tribe, with two certified blocks, or 1 with mutant C7"
    aims_at: ClassVar[str] = "I-PFX: fork, prefix"

    def receive(self, node: CorruptedNode, sender: NodeId, message: Message) -> Message | None:
        if isinstance(message, Vote) and message.voter not in node.coalition:
            self.receipt.matched += 1
            self.say(node, commit_vote(node, message.view, message.block), (message.voter, *node.committee.gateways))
        return super().receive(node, sender, message)

    def send(self, node: CorruptedNode, to: NodeId, message: Message) -> Iterable[tuple[NodeId, Message]]:
        if isinstance(message, CommitVote):
            self.receipt.dropped += 1
        else:
            yield to, message
