"""Replica that passes its signature on one kind of statement off as one on another kind.

Attack R8 of protocol.md 5.5 (P4, P11): each vote again as a vote of the other kinds and as a commit vote, each commit
vote as a vote, availability and state votes as block votes, and every vote as signed in the epoch after. The kind, the
epoch and the chain are under every signature, so none of them verifies.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from msgspec.structs import replace

from faults.byzantine.port import Behaviour, CorruptedNode
from faults.byzantine.primitives import under
from nodes.messages import AvailabilityVote, CommitVote, Message, NodeId, StateVote, Vote, VoteKind

KINDS: tuple[VoteKind, ...] = ("optimistic", "normal", "fallback")


class DomainConfuser(Behaviour):
    name: ClassVar[str] = "domain-confuser"
    attacks: ClassVar[tuple[str, ...]] = ("R8",)
    breaks_at: ClassVar[str] = "1 with mutant A7 or A8, or where a kind is under no signature"
    aims_at: ClassVar[str] = "I-CERT, I-EPOCH: fork, state-root"

    def send(self, node: CorruptedNode, to: NodeId, message: Message) -> Iterable[tuple[NodeId, Message]]:
        yield to, message
        false = list(self._confused(node, message)) if to in node.committee.index else []
        self.receipt.matched += bool(false)
        self.receipt.injected += len(false)
        yield from ((to, each) for each in false)

    def _confused(self, node: CorruptedNode, message: Message) -> Iterable[Message]:
        match message:
            case Vote(kind, view, block, voter, signature):
                yield CommitVote(view, block, voter, signature)
                yield from (replace(message, kind=other) for other in KINDS if other != kind)
                later = under(node, epoch=node.domain.epoch + 1)
                yield replace(message, signature=node.sign(later.vote(kind, view, block)))
            case CommitVote(view, block, voter, signature):
                yield from (Vote(kind, view, block, voter, signature) for kind in KINDS)
            case AvailabilityVote():
                yield Vote("normal", max(1, node.view), message.batch, message.voter, message.signature)
            case StateVote():
                yield Vote("normal", max(1, node.view), message.block, message.voter, message.signature)
                yield CommitVote(max(1, node.view), message.block, message.voter, message.signature)
