"""Reordering: a share of the messages is held back for a random time, so that later ones overtake them.

On streams too: what is held back loses its place in the link's order. `probability` is the share, `most_ms` the longest
time; which messages, as for message-loss. Primitive P3 of protocol.md 5.1.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from random import Random
from typing import Any, ClassVar

from faults.messages import aim, ruled
from faults.observe import HEAL_S
from faults.parameters import number
from faults.port import Capability, Cluster, Passage, Receipt, RuleCount


class Reordering:
    name: ClassVar[str] = "reordering"
    needs: ClassVar[frozenset[Capability]] = frozenset({Capability.MESSAGE})

    def __init__(
        self,
        probability: float = 0.2,
        most_ms: float = 200.0,
        kinds: Any = None,
        views: Any = None,
        victims: Any = None,
        links: Any = None,
        senders: Any = None,
        receivers: Any = None,
        verify_s: float = HEAL_S,
    ) -> None:
        self._probability = number("probability", probability, 1e-6, 1.0)
        self._most_ms = number("most_ms", most_ms, 1.0, unit="milliseconds")
        self._aim = aim(victims, links, senders, receivers, kinds, views)
        self._verify_s = number("verify_s", verify_s, unit="seconds")

    @asynccontextmanager
    async def inject(self, cluster: Cluster, rng: Random) -> AsyncIterator[Receipt]:
        links = await self._aim.resolve(cluster, rng)
        rule = self._aim.rule("delay", links, rng, self._probability, 0.0, self._most_ms)
        async with ruled(cluster, rng, self.name, [rule], _judge, self._verify_s) as receipt:
            yield receipt


def _judge(receipt: Receipt, passage: Passage, counts: Sequence[RuleCount]) -> None:
    receipt.changed = counts[0].hit
    receipt.bit = receipt.changed > 0 and passage.overtaken > 0
    receipt.evidence = f"{receipt.changed} of {counts[0].matched} messages held back; {passage.overtaken} of the"
    receipt.evidence += f" {passage.sent} that the watch saw arrived behind a later one"
