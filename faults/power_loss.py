"""Power loss: the victims go down and lose what their disks had not synced; after the window they start again.

What a node said after a sync it still knows, so any number of power losses is safe. Nothing is lost unless syncs take
time: [network] sync_ms, or the fault slow-disk. Primitive P8 of protocol.md 5.1; attacks R2 and R4 of 5.5.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random
from typing import Any, ClassVar, cast

from faults.crash import outage
from faults.observe import HEAL_S
from faults.parameters import number
from faults.port import Capability, Cluster, Machines, NodeId, Receipt
from faults.victims import parse


class PowerLoss:
    name: ClassVar[str] = "power-loss"
    needs: ClassVar[frozenset[Capability]] = frozenset({Capability.POWER, Capability.KILL})

    def __init__(self, victims: Any = "one", verify_s: float = HEAL_S) -> None:
        self._victims = parse(victims)
        self._verify_s = number("verify_s", verify_s, unit="seconds")

    @asynccontextmanager
    async def inject(self, cluster: Cluster, rng: Random) -> AsyncIterator[Receipt]:
        lost: dict[NodeId, int] = {}

        async def unplug(node: NodeId) -> None:
            lost[node] = await cast(Machines, cluster).power_loss(node)

        async with outage(cluster, rng, self.name, self._victims, self._verify_s, unplug=unplug) as receipt:
            yield receipt
        receipt.dropped = sum(lost.values())
        receipt.evidence += f"; {receipt.dropped} records lost that were written and not synced"
