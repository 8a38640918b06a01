"""Bandwidth: limits the rate of links.

`rate_kbit` in kbit/s per directed link; links that touch a victim ("all": every link). A slow link is primitive P3 and
P16 of protocol.md 5.1.
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


class Bandwidth:
    name: ClassVar[str] = "bandwidth"
    needs: ClassVar[frozenset[Capability]] = frozenset({Capability.BANDWIDTH})

    def __init__(self, rate_kbit: float, victims: Any = "all", verify_s: float = HEAL_S) -> None:
        self._rate_kbit = number("rate_kbit", rate_kbit, 1.0, unit="kbit/s")
        self._victims = parse(victims)
        self._verify_s = number("verify_s", verify_s, unit="seconds")

    @asynccontextmanager
    async def inject(self, cluster: Cluster, rng: Random) -> AsyncIterator[Receipt]:
        links = await shaped_links(cluster, rng, self._victims)
        shapes: dict[Link, Shape] = dict.fromkeys(links, Shape(rate_kbit=self._rate_kbit))
        async with shaped(cluster, self.name, shapes, _judge, self._verify_s) as receipt:
            yield receipt


def _judge(receipt: Receipt, window: Mapping[Link, LinkCount]) -> None:
    receipt.changed = crossed(window)
    waiting = sum(m.sent for m in window.values()) - receipt.changed
    receipt.bit = receipt.changed > 0 or waiting > 0
    receipt.evidence = f"{receipt.changed} messages crossed {len(window)} links that {receipt.layer} throttled"
    receipt.evidence += f", {max(0, waiting)} were still waiting or lost"
