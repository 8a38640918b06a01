"""How batch attackers vote together: honest nodes take an availability vote from its own voter only.

One member notes a batch header on the blackboard; every member that runs the same behaviour then votes for it.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from faults.byzantine.port import CorruptedNode
from faults.byzantine.sealing import availability_vote
from nodes.messages import BatchHeader, Message, NodeId

KEPT = 8  # headers of one member that stand on the blackboard
REMEMBERED = 1024

_headers = msgspec.msgpack.Decoder(BatchHeader)


class JointVotes:
    """Votes of this node for the headers that any coalition member of its clan asked to vote for."""

    def __init__(self, topic: str) -> None:
        self._topic = topic
        self._asked: list[bytes] = []
        self._done: dict[bytes, None] = {}

    def ask(self, node: CorruptedNode, *headers: BatchHeader) -> None:
        """Have everybody in the coalition, this node included, vote for the headers."""
        self._asked = [*self._asked, *(msgspec.msgpack.encode(h) for h in headers)][-KEPT:]
        node.share(f"{self._topic}/{node.id}", self._asked)

    def due(self, node: CorruptedNode) -> Iterable[tuple[NodeId, Message]]:
        """This node's votes for headers it has not voted for yet, to everybody."""
        clan = node.committee.clan_of.get(node.id)
        for member in node.coalition:
            for data in node.blackboard.get(f"{self._topic}/{member}", ()):
                if data in self._done:
                    continue
                self._done[data] = None
                if len(self._done) > REMEMBERED:
                    del self._done[next(iter(self._done))]
                header = _headers.decode(data)
                if header.clan == clan:
                    vote = availability_vote(node, header, node.id)
                    yield from ((to, vote) for to in node.committee.members("everyone") if to != node.id)
