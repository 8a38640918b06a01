"""Crash: kill -9 the victims, keep them down for the window, start them again on the same disk.

Primitive P8 of protocol.md 5.1; attacks R2 and R4 of 5.5. With durable state any number of restarts is safe.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from random import Random
from typing import Any, ClassVar

from faults.observe import HEAL_S, book_of, eventually, named, see_links_move, statuses, view_of
from faults.parameters import number
from faults.port import Capability, Cluster, NodeId, NodeStatus, Receipt
from faults.topology import touching
from faults.victims import VictimSpec, parse, resolve


class Crash:
    name: ClassVar[str] = "crash"
    needs: ClassVar[frozenset[Capability]] = frozenset({Capability.KILL})

    def __init__(self, victims: Any = "one", verify_s: float = HEAL_S) -> None:
        self._victims = parse(victims)
        self._verify_s = number("verify_s", verify_s, unit="seconds")

    @asynccontextmanager
    async def inject(self, cluster: Cluster, rng: Random) -> AsyncIterator[Receipt]:
        async with outage(cluster, rng, self.name, self._victims, self._verify_s) as receipt:
            yield receipt


@asynccontextmanager
async def outage(
    cluster: Cluster,
    rng: Random,
    name: str,
    victims: VictimSpec,
    verify_s: float,
    wipe: bool = False,
    unplug: Callable[[NodeId], Awaitable[None]] | None = None,
) -> AsyncIterator[Receipt]:
    """Kill the victims, and lose their disks if `wipe`; on leaving start them and see that they are back. `unplug`
    takes a node down in another way than the kill, and has its effect on a node that is down already, too."""
    nodes = resolve(victims, cluster.roster, rng, await view_of(cluster))
    receipt = Receipt(name, nodes, "process", cluster.now(), matched=len(nodes))
    book = book_of(cluster)
    before = await statuses(cluster, nodes)
    taken: list[NodeId] = []
    finished = False
    try:
        for node in nodes:
            taken.append(node)
            book.down[node] += 1
            if unplug is not None:
                await unplug(node)
            elif book.down[node] == 1:
                await cluster.kill(node)
            if wipe:
                await cluster.wipe(node)
        yield receipt
        during = await statuses(cluster, nodes)
        alive = [node for node in nodes if during[node].up]
        receipt.changed = len(nodes) - len(alive)
        receipt.bit = not alive
        receipt.evidence = f"{receipt.changed} of {len(nodes)} victims were down"
        receipt.evidence += f"; {', '.join(alive)} answered although killed" if alive else ""
        finished = True
    finally:
        failures = await _start(cluster, taken)
        receipt.healed = cluster.now()
        receipt.evidence += "".join(f"; start failed: {text}" for text in failures)
        if finished:
            await _verify(cluster, before, receipt, verify_s, wipe)


async def _start(cluster: Cluster, nodes: list[NodeId]) -> list[str]:
    """Start every node that no other fault holds down; a failure does not keep the next one down."""
    book = book_of(cluster)
    failures: list[str] = []
    for node in nodes:
        book.down[node] -= 1
        if book.down[node] == 0:
            try:
                await cluster.start(node)
            except Exception as error:
                failures.append(f"{node}: {error}")
    return failures


async def _verify(
    cluster: Cluster, before: dict[NodeId, NodeStatus], receipt: Receipt, verify_s: float, wipe: bool
) -> None:
    """Back means: answers, as a new process, and messages move on its links."""
    book = book_of(cluster)
    mine = [node for node in before if not book.down[node]]
    first = await statuses(cluster, mine)

    async def back() -> bool:
        return all(_renewed(before[n], s) for n, s in (await statuses(cluster, mine)).items())

    up = await eventually(cluster, back, verify_s)
    silent = await see_links_move(cluster, touching(cluster.roster.nodes, mine), verify_s) if up else []
    receipt.heal_verified = up and not silent
    after = await statuses(cluster, mine)
    receipt.bit = receipt.bit and all(_renewed(before[n], s) for n, s in after.items())
    for node, status in after.items():
        old = before[node]
        receipt.evidence += f"; {node} incarnation {old.incarnation} -> {status.incarnation}"
        receipt.evidence += f", height {old.height} -> {first[node].height} -> {status.height}"
    if wipe:
        kept = [n for n in mine if first[n].up and before[n].height > 0 and first[n].height >= before[n].height]
        kept = [n for n in kept if first[n].incarnation > before[n].incarnation]
        receipt.bit = receipt.bit and not kept
        receipt.evidence += f"; {', '.join(kept)} came back as if its disk were still there" if kept else ""
    if not up:
        receipt.evidence += f"; NOT back within {verify_s:g} s"
    elif silent:
        receipt.evidence += f"; NOT back within {verify_s:g} s: nothing arrives on {named(silent)}"
    if len(mine) < len(before):
        receipt.evidence += f"; {len(before) - len(mine)} victims are still held down by another fault"


def _renewed(old: NodeStatus, new: NodeStatus) -> bool:
    """Is this another process than before? (With its disk lost a node counts its incarnations from one again.)"""
    return new.up and (new.incarnation > old.incarnation or (new.pid != old.pid and new.pid != 0))
