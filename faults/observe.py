"""What faults share about one running cluster: which of them hold what, and how a heal is seen to have worked.

Several faults may hold the same link or node at once. `Book` keeps account, so that shapes add up instead of
overwriting each other, a node is started again by the last fault that holds it down, and the heal of a link that
another fault still cuts is left to that fault to verify.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Protocol, runtime_checkable
from weakref import WeakKeyDictionary

from faults.port import Cluster, Link, LinkCount, NodeId, NodeStatus, Shape
from faults.victims import current_view

POLL_S = 0.25
HEAL_S = 30.0  # generous: reconnect back-off, TCP retransmission into a cut (lab.md), a restart under load


@runtime_checkable
class RoundTrips(Protocol):
    """Optional: a backend that can measure a link (there and back)."""

    async def rtt_ms(self, link: Link) -> float | None:
        """Round-trip time between the two nodes in milliseconds; None when it could not be measured."""
        ...


@runtime_checkable
class Transfers(Protocol):
    """Optional: a backend that can measure what a packet's size costs on a link."""

    async def transfer_ms(self, link: Link, size: int) -> float | None:
        """How long a packet of `size` bytes takes to the other end, in milliseconds; None when it did not get there."""
        ...


@runtime_checkable
class Counting(Protocol):
    """Optional: a backend whose `counters` do not count messages."""

    counted: str  # "bytes" | "packets"


def unit_of(cluster: Cluster) -> str:
    """What its counters count, in the plural."""
    return cluster.counted if isinstance(cluster, Counting) else "messages"


class Book:
    """Who holds what in one cluster."""

    def __init__(self) -> None:
        self.cuts: Counter[Link] = Counter()
        self.down: Counter[NodeId] = Counter()
        self.paused: Counter[NodeId] = Counter()
        self.ruled: Counter[Link] = Counter()  # by message faults
        self.syncs: dict[NodeId, list[float]] = {}  # what a sync takes, ms: without faults, then by each fault
        self.clocks: dict[NodeId, list[tuple[float, float]]] = {}  # skew in ms, drift in ppm, by each fault
        self._shapes: dict[Link, dict[int, Shape]] = {}
        self._next = 0

    def held(self, link: Link) -> bool:
        """Is the link, or one of its ends, still held by some fault, so that nothing can be seen to move on it?"""
        held = self.cuts[link] + sum(self.down[n] + self.paused[n] for n in link)
        return held > 0

    def lossy(self, link: Link) -> bool:
        """Does some fault make the link lose packets?"""
        return any(shape.loss for shape in self._shapes.get(link, {}).values())

    async def shape(self, cluster: Cluster, shapes: Mapping[Link, Shape]) -> int:
        """Add shapes to what others put on the links; returns the ticket for `unshape`."""
        self._next += 1
        for link, shape in shapes.items():
            self._shapes.setdefault(link, {})[self._next] = shape
        await self._apply(cluster, shapes)
        return self._next

    async def unshape(self, cluster: Cluster, ticket: int) -> None:
        """Take back the shapes of one ticket and leave the others as they are."""
        links = [link for link, held in self._shapes.items() if ticket in held]
        for link in links:
            del self._shapes[link][ticket]
            if not self._shapes[link]:
                del self._shapes[link]
        await self._apply(cluster, links)

    async def _apply(self, cluster: Cluster, links: Iterable[Link]) -> None:
        wanted: dict[Shape, list[Link]] = {}
        bare: list[Link] = []
        for link in sorted(links):
            if link in self._shapes:
                wanted.setdefault(combined(list(self._shapes[link].values())), []).append(link)
            else:
                bare.append(link)
        if bare:
            await cluster.unshape(bare)
        for shape, those in wanted.items():
            await cluster.shape(those, shape)


def combined(shapes: Sequence[Shape]) -> Shape:
    """Several shapes of one link in force at once: delays add, losses are independent, the narrowest rate counts."""
    through = 1.0
    for shape in shapes:
        through *= 1.0 - shape.loss
    return Shape(
        delay_ms=sum(s.delay_ms for s in shapes),
        jitter_ms=sum(s.jitter_ms for s in shapes),
        loss=1.0 - through,
        rate_kbit=min((s.rate_kbit for s in shapes if s.rate_kbit > 0), default=0.0),
    )


_books: WeakKeyDictionary[Cluster, Book] = WeakKeyDictionary()


def book_of(cluster: Cluster) -> Book:
    """The one book of this cluster."""
    return _books.setdefault(cluster, Book())


async def eventually(cluster: Cluster, test: Callable[[], Awaitable[bool]], limit_s: float = HEAL_S) -> bool:
    """Poll `test` on the cluster's clock until it is true (True) or `limit_s` has passed (False)."""
    end = cluster.now() + int(limit_s * 1e9)
    while True:
        if await test():
            return True
        if cluster.now() >= end:
            return False
        await cluster.sleep(POLL_S)


async def statuses(cluster: Cluster, nodes: Iterable[NodeId]) -> dict[NodeId, NodeStatus]:
    """Status of each node, asked at the same time (one that hangs costs its time-out once)."""
    names = list(nodes)
    return dict(zip(names, await asyncio.gather(*(cluster.status(node) for node in names)), strict=True))


async def view_of(cluster: Cluster) -> int:
    """The highest view of the honest tribe now."""
    return current_view(list((await statuses(cluster, cluster.roster.honest)).values()))


def moved(before: LinkCount, after: LinkCount) -> LinkCount:
    """What happened on a link between two readings; a counter that ran backwards began again with its process."""

    def grown(a: int, b: int) -> int:
        return b - a if b >= a else b

    return LinkCount(
        grown(before.sent, after.sent), grown(before.received, after.received), grown(before.dropped, after.dropped)
    )


def between(
    before: Mapping[Link, LinkCount], after: Mapping[Link, LinkCount], links: Iterable[Link]
) -> dict[Link, LinkCount]:
    """`moved` for each of the links; one that is missing from a reading (its node is down) counts as zeros."""
    nothing = LinkCount()
    return {link: moved(before.get(link, nothing), after.get(link, nothing)) for link in links}


async def see_links_move(cluster: Cluster, links: Iterable[Link], limit_s: float = HEAL_S) -> list[Link]:
    """Wait until messages arrive again on every link that no fault holds any more; returns those that stay silent."""
    book = book_of(cluster)
    silent = {link for link in links if not book.held(link)}
    last = await cluster.counters()

    async def all_moved() -> bool:
        nonlocal last, silent
        now = await cluster.counters()
        silent = {link for link, m in between(last, now, silent).items() if m.received == 0 and not book.held(link)}
        last = now
        return not silent

    await cluster.sleep(POLL_S)
    await eventually(cluster, all_moved, limit_s)
    return sorted(silent)


def named(links: Iterable[Link], limit: int = 6) -> str:
    """Links for a sentence: "n1>n2, n2>n1 and 4 more"."""
    texts = [f"{a}>{b}" for a, b in links]
    rest = len(texts) - limit
    return ", ".join(texts[:limit]) + (f" and {rest} more" if rest > 0 else "")
