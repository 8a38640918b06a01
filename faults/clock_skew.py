"""Clock skew: for the window the victims' clocks are off by `skew_ms` and gain `drift_ppm` (parts per million).

A clock never goes back: one that is set back stands still until time has caught up with it. Primitive P9 of
protocol.md 5.1; nodes tolerate blocks from max_clock_skew_ms in the future (1.4).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from random import Random
from typing import Any, ClassVar, cast

from faults.observe import HEAL_S, book_of, eventually, view_of
from faults.parameters import number
from faults.port import Capability, Cluster, Machines, NodeId, Receipt
from faults.victims import parse, resolve

TRUE_MS = 1.0  # a clock that is off by less counts as true


class ClockSkew:
    name: ClassVar[str] = "clock-skew"
    needs: ClassVar[frozenset[Capability]] = frozenset({Capability.CLOCK})

    def __init__(
        self, skew_ms: float = 0.0, drift_ppm: float = 0.0, victims: Any = "one", verify_s: float = HEAL_S
    ) -> None:
        self._skew_ms = number("skew_ms", skew_ms, -60_000, 60_000, "milliseconds")
        self._drift_ppm = number("drift_ppm", drift_ppm, -500_000, 1_000_000, "parts per million")
        if not (skew_ms or drift_ppm):
            raise ValueError("skew_ms = 0, drift_ppm = 0: give one of them, or both")
        self._victims = parse(victims)
        self._verify_s = number("verify_s", verify_s, unit="seconds")

    @asynccontextmanager
    async def inject(self, cluster: Cluster, rng: Random) -> AsyncIterator[Receipt]:
        nodes = resolve(self._victims, cluster.roster, rng, await view_of(cluster))
        book = book_of(cluster)
        mine = (self._skew_ms, self._drift_ppm)
        receipt = Receipt(self.name, nodes, "clock", cluster.now(), matched=len(nodes))
        for node in nodes:
            book.clocks.setdefault(node, []).append(mine)
        await _apply(cluster, nodes)
        finished = False
        try:
            yield receipt
            await self._judge(cluster, nodes, receipt)
            finished = True
        finally:
            for node in nodes:
                book.clocks[node].remove(mine)
            await _apply(cluster, nodes)
            free = [node for node in nodes if not book.clocks[node]]
            receipt.healed = cluster.now()
            if finished:
                await self._verify(cluster, free, receipt)

    async def _judge(self, cluster: Cluster, nodes: Sequence[NodeId], receipt: Receipt) -> None:
        """It bit if every clock was off by half or more of what this fault alone makes it."""
        wanted = self._skew_ms + self._drift_ppm * (cluster.now() - receipt.injected) / 1e12
        off = {node: await off_ms(cluster, node) for node in nodes}
        alone = [node for node in nodes if len(book_of(cluster).clocks[node]) == 1]  # others add theirs
        true = [node for node in nodes if abs(off[node]) < (abs(wanted) / 2 if node in alone else TRUE_MS)]
        receipt.changed = len(nodes) - len(true)
        receipt.bit = not true and abs(wanted) >= TRUE_MS
        receipt.evidence = f"clocks off by {', '.join(f'{node} {ms:+.1f} ms' for node, ms in off.items())}"
        receipt.evidence += f", where {wanted:+.1f} ms were wanted"

    async def _verify(self, cluster: Cluster, nodes: Sequence[NodeId], receipt: Receipt) -> None:
        """Healed means: the clock shows the run's time again."""

        async def true_again() -> bool:
            mine = [node for node in nodes if not book_of(cluster).clocks[node]]
            return all([abs(await off_ms(cluster, node)) < TRUE_MS for node in mine])

        receipt.heal_verified = await eventually(cluster, true_again, self._verify_s)
        if receipt.heal_verified:
            receipt.evidence += f"; {len(nodes)} clocks show the true time again"
        else:
            off = ", ".join([f"{node} {await off_ms(cluster, node):+.1f} ms" for node in nodes])
            receipt.evidence += f"; NOT healed within {self._verify_s:g} s: {off}"


async def off_ms(cluster: Cluster, node: NodeId) -> float:
    """How far the node's clock is ahead of the run's, in ms."""
    return (await cast(Machines, cluster).read_clock(node) - cluster.now()) / 1e6


async def _apply(cluster: Cluster, nodes: Sequence[NodeId]) -> None:
    """What all faults together make of the nodes' clocks."""
    for node in nodes:
        held = book_of(cluster).clocks[node]
        await cast(Machines, cluster).set_clock(node, sum(skew for skew, _ in held), sum(drift for _, drift in held))
