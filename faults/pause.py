"""Pause: freeze the victims for the window (a long garbage collection, a stalled machine), then thaw them.

Nothing is lost: a thawed node goes on with its old view of the world. Primitive P9 of protocol.md 5.1.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random
from typing import Any, ClassVar

from faults.observe import HEAL_S, book_of, eventually, named, see_links_move, statuses, view_of
from faults.parameters import number
from faults.port import Capability, Cluster, NodeId, NodeStatus, Receipt
from faults.topology import touching
from faults.victims import parse, resolve


class Pause:
    name: ClassVar[str] = "pause"
    needs: ClassVar[frozenset[Capability]] = frozenset({Capability.PAUSE})

    def __init__(self, victims: Any = "one", verify_s: float = HEAL_S) -> None:
        self._victims = parse(victims)
        self._verify_s = number("verify_s", verify_s, unit="seconds")

    @asynccontextmanager
    async def inject(self, cluster: Cluster, rng: Random) -> AsyncIterator[Receipt]:
        nodes = resolve(self._victims, cluster.roster, rng, await view_of(cluster))
        receipt = Receipt(self.name, nodes, "process", cluster.now(), matched=len(nodes))
        book = book_of(cluster)
        before = await statuses(cluster, nodes)
        taken: list[NodeId] = []
        finished = False
        try:
            for node in nodes:
                taken.append(node)
                book.paused[node] += 1
                if book.paused[node] == 1 and not book.down[node]:
                    await cluster.pause(node)
            yield receipt
            during = await statuses(cluster, nodes)
            moving = [node for node in nodes if during[node].up]
            receipt.changed = len(nodes) - len(moving)
            receipt.bit = not moving
            receipt.evidence = f"{receipt.changed} of {len(nodes)} victims did not answer while paused"
            receipt.evidence += f"; {', '.join(moving)} answered although paused" if moving else ""
            finished = True
        finally:
            for node in taken:
                book.paused[node] -= 1
                if not book.paused[node] and not book.down[node]:
                    await cluster.resume(node)
            receipt.healed = cluster.now()
            if finished:
                await self._verify(cluster, before, receipt)

    async def _verify(self, cluster: Cluster, before: dict[NodeId, NodeStatus], receipt: Receipt) -> None:
        """Thawed means: answers again, and messages move on its links."""
        book = book_of(cluster)
        mine = [node for node in before if not book.paused[node] and not book.down[node]]

        async def answers() -> bool:
            return all(status.up for status in (await statuses(cluster, mine)).values())

        up = await eventually(cluster, answers, self._verify_s)
        silent = await see_links_move(cluster, touching(cluster.roster.nodes, mine), self._verify_s) if up else []
        receipt.heal_verified = up and not silent
        for node, status in (await statuses(cluster, mine)).items():
            receipt.evidence += f"; {node} height {before[node].height} -> {status.height}"
        if not up:
            receipt.evidence += f"; NOT thawed within {self._verify_s:g} s"
        elif silent:
            receipt.evidence += f"; NOT thawed within {self._verify_s:g} s: nothing arrives on {named(silent)}"
