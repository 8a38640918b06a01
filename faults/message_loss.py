"""Message loss: messages of some kinds, views or links are lost for good, with a probability.

Unlike `loss` (packets, which a stream sends again) what this takes never arrives. `probability` in (0, 1]; `kinds` of
wire messages; `views` = [first, last]; links by `victims`, `links` = ["n0>n1", ..] or `senders` and `receivers`.
Primitives P2 and P3 of protocol.md 5.1.
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


class MessageLoss:
    name: ClassVar[str] = "message-loss"
    needs: ClassVar[frozenset[Capability]] = frozenset({Capability.MESSAGE})

    def __init__(
        self,
        probability: float = 1.0,
        kinds: Any = None,
        views: Any = None,
        victims: Any = None,
        links: Any = None,
        senders: Any = None,
        receivers: Any = None,
        verify_s: float = HEAL_S,
    ) -> None:
        self._probability = number("probability", probability, 1e-6, 1.0)
        self._aim = aim(victims, links, senders, receivers, kinds, views)
        self._verify_s = number("verify_s", verify_s, unit="seconds")

    @asynccontextmanager
    async def inject(self, cluster: Cluster, rng: Random) -> AsyncIterator[Receipt]:
        links = await self._aim.resolve(cluster, rng)
        rule = self._aim.rule("drop", links, rng, self._probability)
        async with ruled(cluster, rng, self.name, [rule], _judge, self._verify_s) as receipt:
            yield receipt


def _judge(receipt: Receipt, passage: Passage, counts: Sequence[RuleCount]) -> None:
    receipt.dropped = counts[0].hit
    receipt.bit = receipt.dropped > 0 and passage.missing > 0
    receipt.evidence = (
        f"{receipt.dropped} of {counts[0].matched} messages dropped; of {passage.sent} that the watch saw"
    )
    receipt.evidence += f" {passage.missing} are missing"
