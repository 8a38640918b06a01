"""Partition: stops all traffic on directed links (halves, bridge, ring, isolate, one-way, or given groups).

`topology` says who is cut from whom; isolate and one-way take `victims`, one-way also `direction`. With `groups` the
named groups do not hear each other and a node in no group hears everybody. Primitive P10 of protocol.md 5.1.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from random import Random
from typing import Any, ClassVar, cast

from faults import parameters
from faults import topology as shapes
from faults.observe import HEAL_S, between, book_of, named, see_links_move, unit_of, view_of
from faults.parameters import choice, flag, number
from faults.port import Capability, Cluster, Link, LinkCount, Receipt
from faults.victims import parse, resolve

TOPOLOGIES = ("halves", "bridge", "ring", "isolate", "one-way", "groups")


class Partition:
    name: ClassVar[str] = "partition"
    needs: ClassVar[frozenset[Capability]] = frozenset({Capability.CUT})

    def __init__(
        self,
        topology: str | None = None,
        victims: Any = "one",
        groups: Any = None,
        direction: str = "out",
        gateways: bool = True,
        settle_s: float = 1.0,
        verify_s: float = HEAL_S,
    ) -> None:
        self._topology = choice("topology", topology or ("halves" if groups is None else "groups"), TOPOLOGIES)
        if (groups is None) == (self._topology == "groups"):
            raise ValueError(f'groups = {groups!r}, topology = {topology!r}: "groups" goes with topology "groups" only')
        self._groups = None if groups is None else parameters.groups("groups", groups)
        self._victims = parse(victims)
        self._direction = cast(shapes.Direction, choice("direction", direction, ("out", "in", "both")))
        self._gateways = flag("gateways", gateways)
        self._settle_s = number("settle_s", settle_s, unit="seconds")
        self._verify_s = number("verify_s", verify_s, unit="seconds")

    @asynccontextmanager
    async def inject(self, cluster: Cluster, rng: Random) -> AsyncIterator[Receipt]:
        links = await self._links(cluster, rng)
        receipt = Receipt(self.name, tuple(f"{a}>{b}" for a, b in links), cluster.layer, cluster.now())
        receipt.matched = len(links)
        book = book_of(cluster)
        ever = await cluster.counters()
        dead = [link for link in links if ever.get(link, LinkCount()).received == 0]
        await cluster.cut(links)
        book.cuts.update(links)
        healed = False
        try:
            await cluster.sleep(self._settle_s)  # what was in flight arrives; from here on nothing may
            before = await cluster.counters()
            yield receipt
            _judge(receipt, between(before, await cluster.counters(), links), dead, unit_of(cluster))
            healed = True
        finally:
            book.cuts.subtract(links)
            await cluster.heal(links)
            receipt.healed = cluster.now()
            if healed:
                await self._verify(cluster, links, receipt)

    async def _links(self, cluster: Cluster, rng: Random) -> tuple[Link, ...]:
        roster = cluster.roster
        riders = roster.gateways if self._gateways else ()
        nodes = roster.tribe + riders
        if self._groups is not None:
            for group in self._groups:
                resolve(group, roster, rng)  # refuses names that are not in the cluster
            return shapes.split(self._groups)
        if self._topology in ("halves", "bridge"):
            shape = shapes.halves if self._topology == "halves" else shapes.bridge
            return shape(roster.tribe, rng, riders)
        if self._topology == "ring":
            return shapes.ring(nodes, rng)
        victims = resolve(self._victims, roster, rng, await view_of(cluster))
        if self._topology == "isolate":
            return shapes.isolate(nodes, victims)
        return shapes.one_way(nodes, victims, self._direction)

    async def _verify(self, cluster: Cluster, links: tuple[Link, ...], receipt: Receipt) -> None:
        held = [link for link in links if book_of(cluster).held(link)]
        silent = await see_links_move(cluster, links, self._verify_s)
        receipt.heal_verified = not silent
        if silent:
            receipt.evidence += f"; NOT healed within {self._verify_s:g} s: nothing arrives on {named(silent)}"
        else:
            receipt.evidence += f"; after the heal messages arrive again on {len(links) - len(held)} links"
        if held:
            receipt.evidence += f"; {len(held)} links are still held by another fault, which answers for them"


def _judge(receipt: Receipt, window: Mapping[Link, LinkCount], dead: Sequence[Link], unit: str = "messages") -> None:
    """It bit if messages were tried on a cut link that had worked before, or packets refused, and none arrived."""
    leaks = [link for link, m in window.items() if m.received > 0]
    used = [link for link, m in window.items() if m.received == 0 and (m.sent > 0 or m.dropped > 0)]
    held = [link for link in used if link not in dead]
    receipt.dropped = sum(m.dropped for m in window.values()) or sum(window[link].sent for link in held)
    receipt.bit = bool(held) and not leaks
    tried = sum(m.sent for m in window.values())
    receipt.evidence = f"{tried} {unit} tried on {len(window)} cut links, none arrived on {len(held)} that were used"
    if dead:
        receipt.evidence += f"; nothing had ever arrived on {named(dead)} before the cut either"
    if leaks:
        receipt.evidence += f"; but messages did arrive on {named(leaks)}: the cut leaked"
