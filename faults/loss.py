"""Loss: each packet on the links is lost with a fixed probability.

`probability` in (0, 1]; links that touch a victim ("all": every link). Primitive P3 of protocol.md 5.1.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from random import Random
from typing import Any, ClassVar

from faults.observe import HEAL_S
from faults.parameters import number
from faults.port import Capability, Cluster, Link, LinkCount, Receipt, Shape
from faults.shaping import crossed, shaped, shaped_links
from faults.victims import parse

CERTAIN = 20.0  # this many losses expected and none at all has probability 2e-9


class Loss:
    name: ClassVar[str] = "loss"
    needs: ClassVar[frozenset[Capability]] = frozenset({Capability.LOSS})

    def __init__(self, probability: float, victims: Any = "all", verify_s: float = HEAL_S) -> None:
        self._probability = number("probability", probability, 1e-6, 1.0)
        self._victims = parse(victims)
        self._verify_s = number("verify_s", verify_s, unit="seconds")

    @asynccontextmanager
    async def inject(self, cluster: Cluster, rng: Random) -> AsyncIterator[Receipt]:
        links = await shaped_links(cluster, rng, self._victims)
        shapes: dict[Link, Shape] = dict.fromkeys(links, Shape(loss=self._probability))
        async with shaped(cluster, self.name, shapes, self._judge, self._verify_s) as receipt:
            yield receipt

    def _judge(self, receipt: Receipt, window: Mapping[Link, LinkCount]) -> None:
        """Losses that the layer counted, else so much traffic that some of it must have been hit."""
        receipt.dropped = sum(m.dropped for m in window.values())
        sent = sum(m.sent for m in window.values())
        expected = sent * self._probability
        receipt.bit = receipt.dropped > 0 or expected >= CERTAIN
        receipt.evidence = f"{receipt.layer} counted {receipt.dropped} packets lost; {sent} messages were sent"
        receipt.evidence += f" ({crossed(window)} arrived, some of them by retransmission)"
        if not receipt.dropped:
            receipt.evidence += f"; about {expected:.0f} losses must be expected, none was counted by this layer"
