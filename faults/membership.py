"""Membership: the running system removes the victims, one after the other, and takes them in again after the window.

What was removed is ended and loses its disk; it joins as a new member, with an empty one. Declare the victims as
[adversary] crashes. The victims must be few enough for the others to decide.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random
from typing import Any, ClassVar, cast

from faults.observe import HEAL_S, book_of, eventually, named, see_links_move, statuses, view_of
from faults.parameters import number
from faults.port import Capability, Cluster, Members, NodeId, NodeStatus, Receipt
from faults.topology import touching
from faults.victims import parse, resolve


class Membership:
    name: ClassVar[str] = "membership"
    needs: ClassVar[frozenset[Capability]] = frozenset({Capability.MEMBERSHIP})

    def __init__(self, victims: Any = "one", verify_s: float = HEAL_S) -> None:
        self._victims = parse(victims)
        self._verify_s = number("verify_s", verify_s, unit="seconds")

    @asynccontextmanager
    async def inject(self, cluster: Cluster, rng: Random) -> AsyncIterator[Receipt]:
        nodes = resolve(self._victims, cluster.roster, rng, await view_of(cluster))
        receipt = Receipt(self.name, nodes, "members", cluster.now(), matched=len(nodes))
        book, changing = book_of(cluster), cast(Members, cluster)
        before, were = await statuses(cluster, nodes), await changing.members()
        taken: list[NodeId] = []
        finished = False
        try:
            for node in nodes:
                taken.append(node)
                book.down[node] += 1
                await changing.remove_member(node)
            yield receipt
            left = set(await changing.members())
            gone = [node for node in nodes if node in were and node not in left]
            receipt.changed = len(gone)
            receipt.bit = len(gone) == len(nodes)
            receipt.evidence = f"{len(gone)} of {len(nodes)} victims were removed; {', '.join(sorted(left))} were left"
            finished = True
        finally:
            failures: list[str] = []
            for node in taken:
                book.down[node] -= 1
                try:
                    await changing.add_member(node)
                except Exception as error:  # one that cannot come back does not keep the next one out
                    failures.append(f"; {node} was not taken in again: {error}")
            receipt.healed = cluster.now()
            receipt.evidence += "".join(failures)
            if finished:
                await self._verify(cluster, before, receipt)

    async def _verify(self, cluster: Cluster, before: dict[NodeId, NodeStatus], receipt: Receipt) -> None:
        """Healed means: they are members again, as new processes that know what the others know, and links move."""
        changing = cast(Members, cluster)

        async def back() -> bool:
            known = set(await changing.members())
            now = await statuses(cluster, before)
            return all(node in known and _caught_up(before[node], status) for node, status in now.items())

        joined = await eventually(cluster, back, self._verify_s)
        silent = (
            await see_links_move(cluster, touching(cluster.roster.nodes, list(before)), self._verify_s)
            if joined
            else []
        )
        receipt.heal_verified = joined and not silent
        for node, status in (await statuses(cluster, before)).items():
            receipt.evidence += f"; {node} height {before[node].height} -> {status.height}"
        if not joined:
            receipt.evidence += f"; NOT members again within {self._verify_s:g} s"
        elif silent:
            receipt.evidence += f"; NOT healed within {self._verify_s:g} s: nothing arrives on {named(silent)}"


def _caught_up(old: NodeStatus, new: NodeStatus) -> bool:
    return new.up and new.incarnation > old.incarnation and new.height >= old.height
