"""Round partition: in chosen views, consensus messages of that view between the named groups are lost.

`rounds` lists tables with `view`, `groups` (who is in none hears everybody) or `one_way` (pairs [from, to] that are cut
in that direction only), and optionally `steps` out of proposal, vote, commit, timeout. A message belongs to the view
that it speaks of, whenever it travels: catching up is never starved. Primitive P10 of protocol.md 5.1, keyed as in
ByzzFuzz and Twins.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from random import Random
from typing import Any, ClassVar

import msgspec

from faults import parameters
from faults import topology as shapes
from faults.messages import ruled
from faults.observe import HEAL_S
from faults.parameters import number
from faults.port import Capability, Cluster, Link, MessageRule, NodeId, Passage, Receipt, RuleCount
from faults.rounds import STEPS, tables


class Round(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One round as a scenario holds it."""

    view: int
    groups: tuple[tuple[NodeId, ...], ...] = ()
    one_way: tuple[tuple[NodeId, NodeId], ...] = ()
    steps: tuple[str, ...] = tuple(STEPS)

    def links(self) -> tuple[Link, ...]:
        """What is cut."""
        apart = shapes.split(self.groups) if self.groups else ()
        return tuple(dict.fromkeys((*apart, *self.one_way)))


class RoundPartition:
    name: ClassVar[str] = "round-partition"
    needs: ClassVar[frozenset[Capability]] = frozenset({Capability.MESSAGE})

    def __init__(self, rounds: Any, verify_s: float = HEAL_S) -> None:
        self._rounds = parse_rounds(rounds)
        self._verify_s = number("verify_s", verify_s, unit="seconds")

    @asynccontextmanager
    async def inject(self, cluster: Cluster, rng: Random) -> AsyncIterator[Receipt]:
        rules = [rule_of(round_) for round_ in self._rounds]
        async with ruled(cluster, rng, self.name, rules, self._judge, self._verify_s) as receipt:
            yield receipt

    def _judge(self, receipt: Receipt, passage: Passage, counts: Sequence[RuleCount]) -> None:
        receipt.dropped = sum(count.hit for count in counts)
        receipt.bit = receipt.dropped > 0 and passage.missing > 0
        receipt.evidence = f"{receipt.dropped} messages of {len(self._rounds)} views lost on {receipt.matched} links;"
        receipt.evidence += f" of {passage.sent} that the watch saw {passage.missing} are missing"


def rule_of(round_: Round) -> MessageRule:
    """The network's rule for a round."""
    kinds = tuple(kind for step in round_.steps for kind in STEPS[step])
    return MessageRule("drop", round_.links(), kinds, (round_.view, round_.view))


def parse_rounds(value: Any) -> tuple[Round, ...]:
    """The `rounds` parameter. Raises ValueError naming the round and what is wrong with it."""
    rounds = tables(value, Round)
    for index, found in enumerate(rounds):
        if found.view < 1 or not (found.groups or found.one_way):
            raise ValueError(f"rounds[{index}]: a view from 1 on, and groups or one_way")
        if not found.steps or set(found.steps) - set(STEPS):
            raise ValueError(f"rounds[{index}].steps = {list(found.steps)!r}: out of {', '.join(STEPS)}")
        if found.groups:
            parameters.groups(f"rounds[{index}].groups", found.groups)
    return tuple(rounds)
