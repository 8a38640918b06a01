"""Leader that keeps a certificate back, lets the view time out, and shows it while a block beside it is voted on.

Attack C10 of protocol.md 5.3 (hiding.py): the first half gets the certificate with the coalition's commit votes, the
second half a fallback block beside it with votes and commit votes, and everybody the certificate `views` later. A
hidden block may be orphaned; a committed one may not, unless f+1 members make it so.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

from faults.byzantine.halves import victims
from faults.byzantine.hiding import Hiding
from faults.byzantine.port import CorruptedNode
from faults.byzantine.primitives import commit_vote
from nodes.messages import BlockCertificate, Message, NodeId, TimeoutCertificate, block_hash


class CertificateHider(Hiding):
    name: ClassVar[str] = "certificate-hider"
    attacks: ClassVar[tuple[str, ...]] = ("C10",)
    breaks_at: ClassVar[str] = "f+1 in the tribe"
    aims_at: ClassVar[str] = "I-D, I-PFX: ancestry, fork, prefix"

    def __init__(self, halves: Any = None, views: int = 3) -> None:
        super().__init__(halves)
        if isinstance(views, bool) or not isinstance(views, int) or not 1 <= views <= 20:
            raise ValueError(f"views = {views!r}: after how many views everybody learns of the certificate, 1 to 20")
        self._views = views
        self._late: dict[int, BlockCertificate] = {}  # view in which to show it -> certificate

    def strike(self, node: CorruptedNode, view: int, x: BlockCertificate, without: TimeoutCertificate) -> None:
        first, second = victims(node, self._halves)
        self.say(node, x, first)
        beside = self.fallback(node, view, without, 1)
        for member in node.coalition:
            self.say(node, commit_vote(node, view, x.block, member), first)
            self.say(node, commit_vote(node, view + 1, block_hash(beside), member), second)
        self._late[view + self._views] = x

    def act(self, node: CorruptedNode) -> Iterable[tuple[NodeId, Message]]:
        for view in [view for view in self._late if view <= self.front]:
            self.say(node, self._late.pop(view))
        yield from super().act(node)
