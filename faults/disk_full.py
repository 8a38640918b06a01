"""Disk full: for the window the victims' disks take no byte more; nodes that stop for it are started again after.

Only on bounded disks that the lab made for the nodes, never on a host's own. A node must not say anything that it could
not record: one that cannot write its log stops. Primitive P8 of protocol.md 5.1; with durable state it is a crash.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from random import Random
from typing import Any, ClassVar, cast

from faults.observe import HEAL_S, Book, book_of, eventually, named, see_links_move, statuses, view_of
from faults.parameters import number
from faults.port import BoundedDisks, Capability, Cluster, DiskSpace, NodeId, NodeStatus, Receipt
from faults.topology import touching
from faults.victims import parse, resolve

LAST_WRITE_S = 0.5  # one that ran into the full disk just before it had room again is still ending


class DiskFull:
    name: ClassVar[str] = "disk-full"
    needs: ClassVar[frozenset[Capability]] = frozenset({Capability.DISK_FULL, Capability.KILL})

    def __init__(self, victims: Any = "one", verify_s: float = HEAL_S) -> None:
        self._victims = parse(victims)
        self._verify_s = number("verify_s", verify_s, unit="seconds")

    @asynccontextmanager
    async def inject(self, cluster: Cluster, rng: Random) -> AsyncIterator[Receipt]:
        nodes = resolve(self._victims, cluster.roster, rng, await view_of(cluster))
        disks, book = cast(BoundedDisks, cluster), book_of(cluster)
        receipt = Receipt(self.name, nodes, "disk", cluster.now(), matched=len(nodes))
        before = {node: await disks.disk_space(node) for node in nodes}
        taken: list[NodeId] = []
        finished = False
        try:
            for node in nodes:
                taken.append(node)
                book.full[node] += 1
                await disks.fill_disk(node)
            yield receipt
            after = {node: await disks.disk_space(node) for node in nodes}
            self._judge(receipt, before, after, await statuses(cluster, nodes))
            finished = True
        finally:
            for node in taken:
                book.full[node] -= 1
                if not book.full[node]:
                    await disks.free_disk(node)
            failures = await self._start(cluster, taken)
            receipt.healed = cluster.now()
            if finished:
                await self._verify(cluster, receipt, failures)

    async def _start(self, cluster: Cluster, nodes: list[NodeId]) -> list[str]:
        """Start those that stopped and that no fault holds any more; what went wrong, in words."""
        await cluster.sleep(LAST_WRITE_S)
        failures = []
        for node, status in (await statuses(cluster, nodes)).items():
            if not status.up and not _elsewhere(book_of(cluster), node):
                try:
                    await cluster.start(node)
                except Exception as error:  # one that cannot start must not keep the next one down
                    failures.append(f"{node}: {error}")
        return failures

    def _judge(
        self,
        receipt: Receipt,
        before: Mapping[NodeId, DiskSpace],
        after: Mapping[NodeId, DiskSpace],
        during: Mapping[NodeId, NodeStatus],
    ) -> None:
        """It bit if there was no room to the end, and every victim found out."""
        roomy = [node for node in after if after[node].free > 0]
        told = [node for node in after if after[node].refused > before[node].refused]
        receipt.changed = sum(after[node].refused - before[node].refused for node in told)
        receipt.bit = not roomy and len(told) == len(after)
        down = [node for node in after if not during[node].up]
        receipt.evidence = f"{receipt.changed} writes found no room; {', '.join(down) or 'nobody'} stopped for it"
        receipt.evidence += f"; NOT full: {', '.join(roomy)}" if roomy else ""

    async def _verify(self, cluster: Cluster, receipt: Receipt, failures: list[str]) -> None:
        """Healed means: there is room, and every victim runs and is heard again."""
        disks, book = cast(BoundedDisks, cluster), book_of(cluster)
        mine = [node for node in receipt.targets if not _elsewhere(book, node)]

        async def back() -> bool:
            room = [(await disks.disk_space(node)).free > 0 for node in mine]
            return all(room) and all(status.up for status in (await statuses(cluster, mine)).values())

        up = await eventually(cluster, back, self._verify_s)
        silent = await see_links_move(cluster, touching(cluster.roster.nodes, mine), self._verify_s) if up else []
        receipt.heal_verified = up and not silent
        if receipt.heal_verified:
            receipt.evidence += f"; {len(mine)} disks have room again and their nodes run"
        elif silent:
            receipt.evidence += f"; NOT healed within {self._verify_s:g} s: nothing arrives on {named(silent)}"
        else:
            receipt.evidence += f"; NOT healed within {self._verify_s:g} s{'; '.join(['', *failures])}"


def _elsewhere(book: Book, node: NodeId) -> bool:
    """Does a fault still hold the node?"""
    return book.down[node] + book.paused[node] + book.full[node] > 0
