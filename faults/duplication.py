"""Duplication: messages arrive twice, the copy some time after the original.

A share (`probability`) of the messages; the copy is late by `low_ms` to `high_ms` (uniform); which messages, as for
message-loss. Primitive P3 of protocol.md 5.1.
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


class Duplication:
    name: ClassVar[str] = "duplication"
    needs: ClassVar[frozenset[Capability]] = frozenset({Capability.MESSAGE})

    def __init__(
        self,
        probability: float = 1.0,
        low_ms: float = 0.0,
        high_ms: float = 100.0,
        kinds: Any = None,
        views: Any = None,
        victims: Any = None,
        links: Any = None,
        senders: Any = None,
        receivers: Any = None,
        verify_s: float = HEAL_S,
    ) -> None:
        self._probability = number("probability", probability, 1e-6, 1.0)
        self._low_ms = number("low_ms", low_ms, unit="milliseconds")
        self._high_ms = number("high_ms", high_ms, self._low_ms, unit="milliseconds (and not below low_ms)")
        self._aim = aim(victims, links, senders, receivers, kinds, views)
        self._verify_s = number("verify_s", verify_s, unit="seconds")

    @asynccontextmanager
    async def inject(self, cluster: Cluster, rng: Random) -> AsyncIterator[Receipt]:
        links = await self._aim.resolve(cluster, rng)
        rule = self._aim.rule("duplicate", links, rng, self._probability, self._low_ms, self._high_ms)
        async with ruled(cluster, rng, self.name, [rule], _judge, self._verify_s) as receipt:
            yield receipt


def _judge(receipt: Receipt, passage: Passage, counts: Sequence[RuleCount]) -> None:
    receipt.changed = counts[0].hit
    receipt.bit = receipt.changed > 0 and passage.copies > 0
    receipt.evidence = f"{receipt.changed} of {counts[0].matched} messages doubled; {passage.copies} copies arrived"
