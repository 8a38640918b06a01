"""Slow disk: for the window a sync of the victims' logs takes `sync_ms`; nothing they have to say leaves before it.

Primitive P8 of protocol.md 5.1 (what a power loss then takes), and P16 (a sender just below a deadline).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from random import Random
from typing import Any, ClassVar, cast

from faults.observe import HEAL_S, Book, book_of, eventually, view_of
from faults.parameters import number
from faults.port import Capability, Cluster, DiskCount, Machines, NodeId, Receipt
from faults.victims import parse, resolve


class SlowDisk:
    name: ClassVar[str] = "slow-disk"
    needs: ClassVar[frozenset[Capability]] = frozenset({Capability.POWER})

    def __init__(self, sync_ms: float, victims: Any = "one", verify_s: float = HEAL_S) -> None:
        self._sync_ms = number("sync_ms", sync_ms, 0.1, unit="milliseconds")
        self._victims = parse(victims)
        self._verify_s = number("verify_s", verify_s, unit="seconds")

    @asynccontextmanager
    async def inject(self, cluster: Cluster, rng: Random) -> AsyncIterator[Receipt]:
        nodes = resolve(self._victims, cluster.roster, rng, await view_of(cluster))
        machines, book = cast(Machines, cluster), book_of(cluster)
        receipt = Receipt(self.name, nodes, "disk", cluster.now(), matched=len(nodes))
        before = {node: await machines.read_disk(node) for node in nodes}
        for node in nodes:
            held = book.syncs.setdefault(node, [before[node].sync_ms])
            held.append(self._sync_ms)
            await machines.slow_disk(node, max(held))
        finished = False
        try:
            yield receipt
            self._judge(receipt, before, {node: await machines.read_disk(node) for node in nodes})
            finished = True
        finally:
            for node in nodes:
                held = book.syncs[node]
                held.remove(self._sync_ms)
                await machines.slow_disk(node, max(held))
            mine = [node for node in nodes if len(book.syncs[node]) == 1]
            usual = {node: book.syncs.pop(node)[0] for node in mine}
            receipt.healed = cluster.now()
            if finished:
                await self._verify(cluster, usual, receipt)

    def _judge(self, receipt: Receipt, before: Mapping[NodeId, DiskCount], after: Mapping[NodeId, DiskCount]) -> None:
        means = {node: mean for node in after if (mean := mean_ms(before[node], after[node])) is not None}
        fast = [node for node, mean in means.items() if mean < self._sync_ms / 2]
        receipt.changed = sum(after[node].syncs - before[node].syncs for node in after)
        receipt.bit = bool(means) and not fast
        times = ", ".join(f"{node} {mean:.1f} ms" for node, mean in means.items())
        receipt.evidence = f"{receipt.changed} syncs, which took on average: {times or 'none'}"
        receipt.evidence += f"; NOT slow: {', '.join(fast)}" if fast else ""

    async def _verify(self, cluster: Cluster, usual: Mapping[NodeId, float], receipt: Receipt) -> None:
        """Healed means: each victim has synced again, as fast as it did before the fault."""
        machines, book = cast(Machines, cluster), book_of(cluster)
        last = {node: await machines.read_disk(node) for node in usual}
        waiting = set(usual)

        async def fast_again() -> bool:
            for node in sorted(waiting):
                now = await machines.read_disk(node)
                mean = mean_ms(last[node], now)
                last[node] = now
                fast = mean is not None and mean - usual[node] < (self._sync_ms - usual[node]) / 2
                if _elsewhere(book, node) or (fast and now.sync_ms == usual[node]):
                    waiting.discard(node)
            return not waiting

        receipt.heal_verified = await eventually(cluster, fast_again, self._verify_s)
        if receipt.heal_verified:
            receipt.evidence += f"; {len(usual)} disks are as fast again as before"
        else:
            receipt.evidence += f"; NOT healed within {self._verify_s:g} s: {', '.join(sorted(waiting))}"


def _elsewhere(book: Book, node: NodeId) -> bool:
    """Does another fault hold the node, so that its syncs say nothing about this one?"""
    return book.down[node] + book.paused[node] > 0 or node in book.syncs


def mean_ms(before: DiskCount, after: DiskCount) -> float | None:
    """What a sync took on average between two readings; None when none ended."""
    syncs = after.syncs - before.syncs
    return (after.total_ms - before.total_ms) / syncs if syncs else None
