"""Disk loss: kill -9 the victims, wipe their disks, start them again with nothing (amnesia).

Attack R1 of protocol.md 5.5: each amnesiac counts as Byzantine. Declare the victims as [adversary] amnesiacs.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random
from typing import Any, ClassVar

from faults.crash import outage
from faults.observe import HEAL_S
from faults.parameters import number
from faults.port import Capability, Cluster, Receipt
from faults.victims import parse


class DiskLoss:
    name: ClassVar[str] = "disk-loss"
    needs: ClassVar[frozenset[Capability]] = frozenset({Capability.KILL, Capability.WIPE})

    def __init__(self, victims: Any = "one", verify_s: float = HEAL_S) -> None:
        self._victims = parse(victims)
        self._verify_s = number("verify_s", verify_s, unit="seconds")

    @asynccontextmanager
    async def inject(self, cluster: Cluster, rng: Random) -> AsyncIterator[Receipt]:
        async with outage(cluster, rng, self.name, self._victims, self._verify_s, wipe=True) as receipt:
            yield receipt
