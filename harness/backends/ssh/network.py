"""Links by node id on top of the hosts' packet filters: cuts, shapes and their counters, each at the sender's host."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, TypeAlias

import msgspec

from faults.port import Link, NodeId, Shape
from harness.backends.packets import Cuts
from harness.backends.ssh.client import WardenClient
from harness.backends.toxiproxy import add_shapes, proxy_name
from harness.outcome import MachineError

Way: TypeAlias = tuple[int, str, int]  # uid of the sender, address and port of the receiver


class Seat(msgspec.Struct, frozen=True):
    """Where a node sits: on which host (by name), as whom, listening where."""

    host: str
    uid: int
    address: str
    listen: int
    control: int
    http: int = 0


class HostLinks:
    """The hosts' packet filters as one network. A cut is atomic on each host; hosts follow within milliseconds."""

    def __init__(
        self, seats: Mapping[NodeId, Seat], clients: Mapping[str, WardenClient], base: Mapping[Link, Shape]
    ) -> None:
        self._seats, self._clients, self._base = seats, clients, base
        self._ways: dict[tuple[str, Way], Link] = {}
        for a in seats:
            for b in seats:
                if a != b:
                    self._ways[seats[a].host, self._way((a, b))] = (a, b)
        self._cuts: Cuts[Link] = Cuts()
        self._past: dict[Link, int] = {}  # drops of cuts that were healed
        self._lock = asyncio.Lock()

    async def cut(self, links: Iterable[Link]) -> None:
        """See `faults.port.Cluster`."""
        async with self._lock:
            await self._change(self._cuts.cut(self._known(links)), [])

    async def heal(self, links: Iterable[Link]) -> None:
        """See `faults.port.Cluster`. Raises ValueError for a link that is not cut."""
        async with self._lock:
            await self._change([], self._cuts.heal(self._known(links)))

    async def shape(self, links: Iterable[Link], extra: Shape | None) -> None:
        """Base plus `extra`; None: the base alone."""
        wanted: dict[str, list[Any]] = {}
        for link in self._known(links):
            base = self._base.get(link, Shape())
            shape = base if extra is None else add_shapes(base, extra)
            entry = [self._way(link), msgspec.to_builtins(shape)]
            wanted.setdefault(self._seats[link[0]].host, []).append(entry)
        async with self._lock:
            await together(self._clients[host].ask("shape", links=entries) for host, entries in wanted.items())

    async def dropped(self) -> dict[Link, int]:
        """Packets dropped so far by cuts and loss."""
        async with self._lock:
            hosts = list(self._clients)
            answers = await together(self._clients[host].ask("counters") for host in hosts)
            total = dict(self._past)
            for host, answer in zip(hosts, answers, strict=True):
                for key in ("cuts", "lost"):
                    self._add(total, host, answer[key])
            return total

    async def delayed(self) -> bool:
        """Does every host that should delay something delay packets already?"""
        hosts = {self._seats[a].host for (a, _), shape in self._base.items() if shape != Shape()}
        answers = await together(self._clients[host].ask("counters") for host in sorted(hosts))
        return all(answer["delayed"] for answer in answers)

    async def _change(self, add: list[Link], delete: list[Link]) -> None:
        hosts = sorted({self._seats[a].host for a, _ in (*add, *delete)})

        def ways(host: str, links: list[Link]) -> list[Way]:
            return [self._way(link) for link in links if self._seats[link[0]].host == host]

        answers = await together(
            self._clients[host].ask("cut", add=ways(host, add), delete=ways(host, delete)) for host in hosts
        )
        for host, answer in zip(hosts, answers, strict=True):
            self._add(self._past, host, answer["healed"])

    def _add(self, total: dict[Link, int], host: str, rows: Iterable[Any]) -> None:
        for uid, address, port, count in rows:
            link = self._ways.get((host, (uid, address, port)))
            if link is not None:
                total[link] = total.get(link, 0) + count

    def _way(self, link: Link) -> Way:
        there = self._seats[link[1]]
        return self._seats[link[0]].uid, there.address, there.listen

    def _known(self, links: Iterable[Link]) -> list[Link]:
        wanted = list(dict.fromkeys(links))
        for link in wanted:
            if link[0] not in self._seats or link[1] not in self._seats or link[0] == link[1]:
                raise KeyError(f"this run has no link {proxy_name(link)}")
        return wanted


async def together(calls: Iterable[Awaitable[Any]]) -> list[Any]:
    """Run all; when some fail, raise the first failure after every one has ended."""
    results = await asyncio.gather(*calls, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return list(results)


async def until(test: Callable[[], Awaitable[bool]], limit_s: float, failure: str) -> None:
    """Poll until it holds. Raises MachineError with `failure`."""
    deadline = asyncio.get_running_loop().time() + limit_s
    while not await test():
        if asyncio.get_running_loop().time() > deadline:
            raise MachineError(failure)
        await asyncio.sleep(0.1)
