"""What latency, loss and bandwidth have in common: put shapes on links, see traffic cross them, take them off again.

A backend that can measure round trips or transfers (`RoundTrips`, `Transfers` of faults.observe) is asked before,
during and after; where none can, the receipt says that the effect itself was not measured, only that messages crossed
the shaped links. Losses that the layer counts are looked for after the heal, too.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from random import Random

from faults.observe import HEAL_S, RoundTrips, Transfers, between, book_of, eventually, named, see_links_move, view_of
from faults.port import Cluster, Link, LinkCount, Receipt, Shape
from faults.topology import touching
from faults.victims import VictimSpec, resolve

PROBES = 4  # links whose round trip or rate is measured
PROBE_MS = 50.0  # what a packet that measures a rate takes to be sent at that rate
ENOUGH = 5.0  # so many losses must be expected if the heal had not happened: none at all has probability 0.7 %
PATIENCE_S = 5.0  # how long that much traffic is waited for

Judge = Callable[[Receipt, Mapping[Link, LinkCount]], None]


async def shaped_links(cluster: Cluster, rng: Random, victims: VictimSpec) -> tuple[Link, ...]:
    """All links that touch a victim ("all": all links of the cluster)."""
    nodes = cluster.roster.nodes
    if victims == "all":
        return touching(nodes, None)
    return touching(nodes, resolve(victims, cluster.roster, rng, await view_of(cluster)))


async def probed(cluster: Cluster, links: list[Link], shapes: Mapping[Link, Shape]) -> dict[Link, float]:
    """Measured times in ms: of a round trip, or where a rate is limited of one packet; empty where the backend cannot
    measure."""
    measured: dict[Link, float | None] = {}
    for link in links:
        if shapes[link].rate_kbit:
            size = int(shapes[link].rate_kbit * PROBE_MS / 8)
            measured[link] = await cluster.transfer_ms(link, size) if isinstance(cluster, Transfers) else None
        elif isinstance(cluster, RoundTrips):
            measured[link] = await cluster.rtt_ms(link)
    return {link: value for link, value in measured.items() if value is not None}


def extra_ms(shapes: Mapping[Link, Shape], link: Link) -> float:
    """How much longer what `probed` measures must take, in ms, jitter aside."""
    if shapes[link].rate_kbit:
        return PROBE_MS
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
    base = await probed(cluster, probes, shapes)
    receipt = Receipt(name, tuple(f"{a}>{b}" for a, b in links), cluster.layer, cluster.now(), matched=len(links))
    ticket = await book.shape(cluster, shapes)
    finished = False
    try:
        before = await cluster.counters()
        yield receipt
        judge(receipt, between(before, await cluster.counters(), links))
        _judge_time(receipt, base, await probed(cluster, probes, shapes), shapes)
        finished = True
    finally:
        await book.unshape(cluster, ticket)
        receipt.healed = cluster.now()
        if finished:
            await _verify(cluster, links, base, shapes, receipt, verify_s)


def _judge_time(
    receipt: Receipt, base: Mapping[Link, float], during: Mapping[Link, float], shapes: Mapping[Link, Shape]
) -> None:
    wanted = {link: extra_ms(shapes, link) for link in during if link in base}
    wanted = {link: ms for link, ms in wanted.items() if ms > 0}
    if not wanted:
        if any(s.delay_ms for s in shapes.values()):
            receipt.evidence += f"; the delay itself was not measured (no round-trip probe on {receipt.layer})"
        elif any(s.rate_kbit for s in shapes.values()):
            receipt.evidence += f"; the rate itself was not measured (no probe on {receipt.layer})"
        return
    short = [link for link, ms in wanted.items() if during[link] - base[link] < ms / 2]
    link = next(iter(wanted))
    what = "a large packet on" if shapes[link].rate_kbit else "round trip"
    receipt.evidence += f"; {what} {named([link])} {base[link]:.1f} ms before, {during[link]:.1f} ms during"
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
        now = await probed(cluster, sorted(base), shapes)
        slow = [link for link in now if now[link] - base[link] > max(5.0, extra_ms(shapes, link) / 2)]
        return not slow

    timed = any(s.delay_ms or s.rate_kbit for s in shapes.values())
    back = not timed or await eventually(cluster, fast_again, verify_s)
    losses = await _losses(cluster, shapes, verify_s) if receipt.dropped else 0  # else the layer counts none
    receipt.heal_verified = not silent and back and not losses
    if silent:
        receipt.evidence += f"; NOT healed within {verify_s:g} s: nothing arrives on {named(silent)}"
    elif not back:
        receipt.evidence += f"; NOT healed within {verify_s:g} s: still slow on {named(slow)}"
    elif losses:
        receipt.evidence += f"; NOT healed within {verify_s:g} s: {losses} more packets were lost"
    else:
        receipt.evidence += f"; after the heal messages arrive on all {len(links)} links"


def crossed(window: Mapping[Link, LinkCount]) -> int:
    """Messages that arrived over the shaped links while they were shaped."""
    return sum(m.received for m in window.values())


async def _losses(cluster: Cluster, shapes: Mapping[Link, Shape], verify_s: float) -> int:
    """Packets lost in the last look, 0 if there was none: looks last until so much crossed the links without a loss
    that some would have been hit, or nothing more is to be expected soon."""
    book, begin = book_of(cluster), cluster.now()
    lost, expected = 0, 0.0

    async def enough() -> bool:
        nonlocal lost, expected
        free = [link for link in shapes if shapes[link].loss and not book.held(link) and not book.lossy(link)]
        before = await cluster.counters()
        await cluster.sleep(1.0)
        window = between(before, await cluster.counters(), free)
        lost = sum(moved.dropped for moved in window.values())
        expected = 0.0 if lost else expected + sum(window[link].sent * shapes[link].loss for link in free)
        late = cluster.now() - begin >= PATIENCE_S * 1e9
        return not free or (not lost and (expected >= ENOUGH or late))

    return 0 if await eventually(cluster, enough, verify_s) else max(1, lost)
