"""Executor that signs a wrong state root for every block.

Attacks E1 and, without `collude`, E3 of protocol.md 5.8. Smallest breaking count: f_c+1 in the clan. Aimed at I-ROOT:
at f_c the one certified root is the true one; beyond, a false root is certified and only the gateway's own re-execution
refuses it. `collude` = true (the default): the lie is a function of the true root, so all liars agree; false: each has
a root of its own, and past the bound none is certified.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from msgspec.structs import replace

from faults.byzantine.port import Behaviour, CorruptedNode
from nodes.messages import Message, NodeId, StateCertificate, StateVote, sha256


class LyingExecutor(Behaviour):
    name: ClassVar[str] = "lying-executor"
    attacks: ClassVar[tuple[str, ...]] = ("E1", "E3")
    breaks_at: ClassVar[str] = "f_c+1 in the clan"
    aims_at: ClassVar[str] = "I-ROOT: state-root"

    def __init__(self, collude: bool = True) -> None:
        super().__init__()
        if not isinstance(collude, bool):
            raise ValueError(f"collude = {collude!r}: true or false")
        self._collude = collude

    def send(self, node: CorruptedNode, to: NodeId, message: Message) -> Iterable[tuple[NodeId, Message]]:
        if isinstance(message, StateCertificate) and to not in node.coalition:
            self.receipt.matched += 1
            self.receipt.dropped += 1  # it does not spread the truth either
            return
        if isinstance(message, StateVote) and message.voter == node.id:
            self.receipt.matched += 1
            self.receipt.changed += 1
            message = self._lie(node, message)
        yield to, message

    def receive(self, node: CorruptedNode, sender: NodeId, message: Message) -> Message | None:
        """Keep the lie from the own core, which would stop at a certificate that contradicts it."""
        if isinstance(message, StateCertificate) or (
            isinstance(message, StateVote) and message.voter in node.coalition
        ):
            self.receipt.matched += 1
            return None
        return message

    def _lie(self, node: CorruptedNode, vote: StateVote) -> StateVote:
        root = sha256(b"LIE", b"" if self._collude else node.id.encode(), vote.root)
        statement = node.domain.root(vote.clan, vote.height, vote.block, vote.previous_root, root)
        return replace(vote, root=root, signature=node.sign(statement))
