"""Message delay: messages of some kinds, views or links are late by a random time; later ones may overtake them.

`low_ms` to `high_ms` (uniform) beyond the link's own delay, for a share (`probability`) of the messages; which ones, as
for message-loss. Just below a deadline this is the slow sender P16, else P3 of protocol.md 5.1.
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


class MessageDelay:
    name: ClassVar[str] = "message-delay"
    needs: ClassVar[frozenset[Capability]] = frozenset({Capability.MESSAGE})

    def __init__(
        self,
        high_ms: float,
        low_ms: float = 0.0,
        probability: float = 1.0,
        kinds: Any = None,
        views: Any = None,
        victims: Any = None,
        links: Any = None,
        senders: Any = None,
        receivers: Any = None,
        verify_s: float = HEAL_S,
    ) -> None:
        self._low_ms = number("low_ms", low_ms, unit="milliseconds")
        self._high_ms = number("high_ms", high_ms, max(1.0, self._low_ms), unit="milliseconds (and not below low_ms)")
        self._probability = number("probability", probability, 1e-6, 1.0)
        self._aim = aim(victims, links, senders, receivers, kinds, views)
        self._verify_s = number("verify_s", verify_s, unit="seconds")

    @asynccontextmanager
    async def inject(self, cluster: Cluster, rng: Random) -> AsyncIterator[Receipt]:
        links = await self._aim.resolve(cluster, rng)
        rule = self._aim.rule("delay", links, rng, self._probability, self._low_ms, self._high_ms)
        async with ruled(cluster, rng, self.name, [rule], self._judge, self._verify_s) as receipt:
            yield receipt

    def _judge(self, receipt: Receipt, passage: Passage, counts: Sequence[RuleCount]) -> None:
        receipt.changed = counts[0].hit
        receipt.bit = receipt.changed > 0 and passage.delayed > 0 and passage.worst_ms >= self._low_ms
        receipt.evidence = f"{receipt.changed} of {counts[0].matched} messages delayed; {passage.delayed} arrived late,"
        receipt.evidence += f" at worst by {passage.worst_ms:.1f} ms, {passage.overtaken} behind a later one"
