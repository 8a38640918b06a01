"""What latency, loss and bandwidth have in common: put shapes on links, see traffic cross them, take them off again.

A backend that can measure round trips (`faults.observe.RoundTrips`) is asked before, during and after; where none can,
the receipt says that the effect itself was not measured, only that messages crossed the shaped links.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from random import Random

from faults.observe import HEAL_S, RoundTrips, between, book_of, eventually, named, see_links_move, view_of
from faults.port import Cluster, Link, LinkCount, Receipt, Shape
from faults.topology import touching
from faults.victims import VictimSpec, resolve

PROBES = 4  # links whose round trip is measured

Judge = Callable[[Receipt, Mapping[Link, LinkCount]], None]


async def shaped_links(cluster: Cluster, rng: Random, victims: VictimSpec) -> tuple[Link, ...]:
    """All links that touch a victim ("all": all links of the cluster)."""
    nodes = cluster.roster.nodes
    if victims == "all":
        return touching(nodes, None)
    return touching(nodes, resolve(victims, cluster.roster, rng, await view_of(cluster)))


async def round_trips(cluster: Cluster, links: list[Link]) -> dict[Link, float]:
    """Measured round-trip times in ms; empty where the backend cannot measure."""
    if not isinstance(cluster, RoundTrips):
        return {}
    measured = {link: await cluster.rtt_ms(link) for link in links}
    return {link: value for link, value in measured.items() if value is not None}


def extra_round_trip(shapes: Mapping[Link, Shape], link: Link) -> float:
    """How much longer the round trip over `link` must get, in ms, jitter aside."""
    back = shapes.get((link[1], link[0]), Shape())
    return shapes[link].delay_ms + back.delay_ms


@asynccontextmanager
async def shaped(
    cluster: Cluster, name: str, shapes: Mapping[Link, Shape], judge: Judge, verify_s: float = HEAL_S
) -> AsyncIterator[Receipt]:
    """Inject the shapes, let `judge` fill in the receipt from what crossed the links, heal, verify the heal."""
    links = sorted(shapes)
    probes = sorted(links, key=lambda link: (-shapes[link].delay_ms, link))[:PROBES]
    book = book_of(cluster)
    base = await round_trips(cluster, probes)
    receipt = Receipt(name, tuple(f"{a}>{b}" for a, b in links), cluster.layer, cluster.now(), matched=len(links))
    ticket = await book.shape(cluster, shapes)
    finished = False
    try:
        before = await cluster.counters()
        yield receipt
        judge(receipt, between(before, await cluster.counters(), links))
        _judge_delay(receipt, base, await round_trips(cluster, probes), shapes)
        finished = True
    finally:
        await book.unshape(cluster, ticket)
        receipt.healed = cluster.now()
        if finished:
            await _verify(cluster, links, base, shapes, receipt, verify_s)


def _judge_delay(
    receipt: Receipt, base: Mapping[Link, float], during: Mapping[Link, float], shapes: Mapping[Link, Shape]
) -> None:
    wanted = {link: extra_round_trip(shapes, link) for link in during if link in base}
    wanted = {link: ms for link, ms in wanted.items() if ms > 0}
    if not wanted:
        if any(s.delay_ms for s in shapes.values()):
            receipt.evidence += f"; the delay itself was not measured (no round-trip probe on {receipt.layer})"
        return
    short = [link for link, ms in wanted.items() if during[link] - base[link] < ms / 2]
    link = next(iter(wanted))
    receipt.evidence += f"; round trip {named([link])} {base[link]:.1f} ms before, {during[link]:.1f} ms during"
    if short:
        receipt.bit = False
        receipt.evidence += f"; NOT delayed: {named(short)}"


async def _verify(
    cluster: Cluster,
    links: list[Link],
    base: Mapping[Link, float],
    shapes: Mapping[Link, Shape],
    receipt: Receipt,
    verify_s: float,
) -> None:
    silent = await see_links_move(cluster, links, verify_s)
    slow: list[Link] = []

    async def fast_again() -> bool:
        nonlocal slow
        now = await round_trips(cluster, sorted(base))
        slow = [link for link in now if now[link] - base[link] > max(5.0, extra_round_trip(shapes, link) / 2)]
        return not slow

    back = not any(s.delay_ms for s in shapes.values()) or await eventually(cluster, fast_again, verify_s)
    receipt.heal_verified = not silent and back
    if silent:
        receipt.evidence += f"; NOT healed within {verify_s:g} s: nothing arrives on {named(silent)}"
    elif not back:
        receipt.evidence += f"; NOT healed within {verify_s:g} s: still slow on {named(slow)}"
    else:
        receipt.evidence += f"; after the heal messages arrive on all {len(links)} links"


def crossed(window: Mapping[Link, LinkCount]) -> int:
    """Messages that arrived over the shaped links while they were shaped."""
    return sum(m.received for m in window.values())
