"""Executor that tells its clan the true state root and the gateways a false one.

Attack E4 of protocol.md 5.8. Smallest breaking count: f_c+1 in the clan, all telling the same lie. Aimed at I-ROOT: a
gateway believes M equal votes and its own re-execution only, so at f_c it certifies the truth with the honest votes;
beyond, it holds a certificate for the lie that no clan member ever sees, and refuses it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from msgspec.structs import replace

from faults.byzantine.port import Behaviour, CorruptedNode
from nodes.messages import Message, NodeId, StateCertificate, StateVote, sha256


class SplitRoot(Behaviour):
    name: ClassVar[str] = "split-root"
    attacks: ClassVar[tuple[str, ...]] = ("E4",)
    breaks_at: ClassVar[str] = "f_c+1 in the clan"
    aims_at: ClassVar[str] = "I-ROOT: state-root"

    def send(self, node: CorruptedNode, to: NodeId, message: Message) -> Iterable[tuple[NodeId, Message]]:
        if to in node.committee.gateways:
            if isinstance(message, StateCertificate):
                self.receipt.matched += 1
                self.receipt.dropped += 1
                return
            if isinstance(message, StateVote) and message.voter == node.id:
                self.receipt.matched += 1
                self.receipt.changed += 1
                root = sha256(b"SPLIT", message.root)
                vote = message
                statement = node.domain.root(vote.clan, vote.height, vote.block, vote.previous_root, root)
                message = replace(vote, root=root, signature=node.sign(statement))
        yield to, message
