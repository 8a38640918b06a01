"""Replica that follows the protocol but for a few mutated messages, in chosen rounds, to chosen receivers (ByzzFuzz).

Small- and any-scope structured mutations (OOPSLA 2023), re-signed with the sender's key, so that they reach the rules.
`rounds` lists tables with `view`, `step` (proposal, vote, commit, timeout), `receivers`, `seed`, and optionally `scope`
("small" or "any") and `operator` (none: drawn by the seed). All chosen receivers of a message get the same mutation,
the others the original: that is how equivocation arises. Smallest breaking count: f+1. Aimed at I-U, I-PFX, L-COMMIT.
"""

from __future__ import annotations

from collections.abc import Iterable
from random import Random
from typing import Any, ClassVar

import msgspec

from faults.byzantine.port import Behaviour, CorruptedNode
from faults.byzantine.rewrites import OPERATORS, Rewriting, Seen, rewrite
from faults.rounds import STEPS, round_of, tables
from nodes.messages import Message, NodeId

NAMES = frozenset(name for table in OPERATORS.values() for name in table)
KEPT = 256


class Corruption(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One process fault as a scenario holds it."""

    view: int
    step: str
    receivers: tuple[NodeId, ...]
    seed: int
    scope: str = "small"
    operator: str = ""


class ByzzFuzz(Behaviour):
    name: ClassVar[str] = "byzzfuzz"
    attacks: ClassVar[tuple[str, ...]] = ("C1", "C3", "C6", "C14")
    breaks_at: ClassVar[str] = "f+1 in the tribe"
    aims_at: ClassVar[str] = "I-U, I-PFX, L-COMMIT: fork, prefix, liveness"

    def __init__(self, rounds: Any) -> None:
        super().__init__()
        self._rounds = {(r.view, r.step): r for r in _parse(rounds)}
        self._seen = Seen()
        self._done: dict[Message, Message | None] = {}

    def receive(self, node: CorruptedNode, sender: NodeId, message: Message) -> Message | None:
        self._seen.take(message)
        return message

    def send(self, node: CorruptedNode, to: NodeId, message: Message) -> Iterable[tuple[NodeId, Message]]:
        self._seen.take(message)
        corruption = self._rounds.get(round_of(message))
        if corruption is None:
            yield to, message
            return
        self.receipt.matched += 1
        changed = self._changed(node, message, corruption) if to in corruption.receivers else message
        if changed is None:
            self.receipt.dropped += 1
            return
        self.receipt.changed += changed != message
        yield to, changed

    def _changed(self, node: CorruptedNode, message: Message, corruption: Corruption) -> Message | None:
        """The same mutation for every receiver, whatever was seen in between."""
        if message not in self._done:
            rng = Random(f"byzzfuzz/{corruption.seed}/{type(message).__name__}")
            rewriting = Rewriting(node, self._seen, rng, corruption.scope == "small")
            self._done[message] = rewrite(rewriting, message, corruption.operator)
            if len(self._done) > KEPT:
                del self._done[next(iter(self._done))]
        return self._done[message]


def _parse(value: Any) -> list[Corruption]:
    found = tables(value, Corruption)
    for index, corruption in enumerate(found):
        if corruption.step not in STEPS or corruption.scope not in ("small", "any") or corruption.view < 1:
            steps = ", ".join(STEPS)
            raise ValueError(f"rounds[{index}]: a view from 1 on; step out of {steps}; scope small or any")
        if corruption.operator and corruption.operator not in NAMES:
            raise ValueError(f"rounds[{index}].operator = {corruption.operator!r}: out of {', '.join(sorted(NAMES))}")
        if not corruption.receivers:
            raise ValueError(f"rounds[{index}].receivers: at least one node")
    return found
