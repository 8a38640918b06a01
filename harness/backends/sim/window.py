"""Windows of numpy arrays: the scheduler for large clusters, where most events are the recipients of multicasts.

Time is cut into windows of 2^20 ns (about a millisecond). A multicast puts one entry for each different arrival time
into its window, whatever the number of recipients; when a window's turn comes, the tie-breaks of all its messages are
computed and sorted at once. Single events, and whatever falls into the window that is being worked off, go through a
heap that is merged in by the full key, so the order is exactly that of the heap scheduler.
"""

from __future__ import annotations

from heapq import heappop, heappush
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.backends.sim.kernel import Call, Fan, Item, Kernel

SHIFT = 20
_THIRTY_TWO = np.uint64(32)
_DELAY_BITS = np.uint64(SHIFT)


class Ray:
    """The recipients of a fan that are equally far away: their calls, salts and places in the fan's order."""

    __slots__ = ("calls", "delay", "places", "salts")

    def __init__(self, delay: int, fan: Fan, places: list[int]) -> None:
        self.delay = delay
        self.calls = [fan.calls[i] for i in places]
        self.salts = np.array([fan.salts[i] for i in places], dtype=np.uint64)
        self.places = places


Entry = tuple[int, Ray, int, int, Any]  # arrival time, ray, sequence before the fan's first, sender, message


class WindowScheduler:
    """See the module. `rays` are worked out once for each fan."""

    def __init__(self) -> None:
        self._heap: list[Item] = []
        self._sequence = 0
        self._windows: dict[int, list[Entry]] = {}
        self._order: list[int] = []  # heap of the numbers of windows that hold something
        self._count = 0  # messages in windows that are not open yet
        self._open = -1  # number of the window being worked off
        self._ready: list[Item] = []  # its messages, the next one last
        self._rays: dict[int, tuple[Fan, list[Ray]]] = {}

    def put(self, time: int, tie: int, call: Call, first: Any, second: Any) -> None:
        self._sequence += 1
        heappush(self._heap, (time, tie, self._sequence, call, first, second))

    def fan_out(self, now: int, fan: Fan, message: Any) -> None:
        known = self._rays.get(id(fan))
        if known is None:
            known = self._rays[id(fan)] = (fan, _rays(fan))  # holds the fan, so that its id stays its own
        base = self._sequence
        self._sequence = base + len(fan.calls)
        for ray in known[1]:
            at = now + ray.delay
            number = at >> SHIFT
            entries = self._windows.get(number)
            if number <= self._open:
                self._late(at, ray, base, fan.sender, message)
                continue
            if entries is None:
                entries = self._windows[number] = []
                heappush(self._order, number)
            entries.append((at, ray, base, fan.sender, message))
            self._count += len(ray.calls)

    def _late(self, at: int, ray: Ray, base: int, sender: int, message: Any) -> None:
        """Messages that arrive inside the window that is open already."""
        ties = (ray.salts * np.uint64(at | 1)) >> _THIRTY_TWO
        for tie, place, call in zip(ties.tolist(), ray.places, ray.calls, strict=True):
            heappush(self._heap, (at, tie, base + 1 + place, call, sender, message))

    def _open_next(self) -> None:
        """Sort the earliest window's messages."""
        self._open = heappop(self._order)
        entries = self._windows.pop(self._open)
        start = self._open << SHIFT
        keys: list[NDArray[np.uint64]] = []
        for at, ray, *_ in entries:
            ties = (ray.salts * np.uint64(at | 1)) >> _THIRTY_TWO
            keys.append(ties | np.uint64((at - start) << 32))
        key = np.concatenate(keys)
        order = np.argsort(key, kind="stable")[::-1].tolist()  # the next one last; equal keys: see below
        values = key.tolist()
        flat: list[tuple[Call, int, int, Any]] = []
        for _, ray, base, sender, message in entries:
            base += 1
            flat += [(call, base + place, sender, message) for call, place in zip(ray.calls, ray.places, strict=True)]
        self._count -= len(flat)
        ready = []
        for i in order:
            value = values[i]
            call, sequence, sender, message = flat[i]
            ready.append((start + (value >> 32), value & 0xFFFFFFFF, sequence, call, sender, message))
        _settle_ties(ready)
        self._ready = ready

    def drain(self, kernel: Kernel, until: int, limit: int) -> bool:
        heap = self._heap
        count = 0
        try:
            while True:
                ready = self._ready
                while ready:
                    item = ready[-1]
                    if heap and heap[0] < item:
                        item = heap[0]
                        if item[0] > until:
                            return True
                        if count == limit:
                            return False
                        heappop(heap)
                    else:
                        if item[0] > until:
                            return True
                        if count == limit:
                            return False
                        ready.pop()
                    count += 1
                    kernel.now = item[0]
                    item[3](item[4], item[5])
                    if kernel.woken:
                        return False
                if self._order and (not heap or heap[0][0] >> SHIFT >= self._order[0]):
                    if self._order[0] << SHIFT > until:
                        return not heap or heap[0][0] > until
                    self._open_next()
                    continue
                if not heap or heap[0][0] > until:
                    return True
                if count == limit:
                    return False
                item = heappop(heap)
                count += 1
                kernel.now = item[0]
                item[3](item[4], item[5])
                if kernel.woken:
                    return False
        finally:
            kernel.events += count

    def __len__(self) -> int:
        return len(self._heap) + len(self._ready) + self._count


def _rays(fan: Fan) -> list[Ray]:
    by_delay: dict[int, list[int]] = {}
    for place, delay in enumerate(fan.delays):
        by_delay.setdefault(delay, []).append(place)
    return [Ray(delay, fan, places) for delay, places in by_delay.items()]


def _settle_ties(ready: list[Item]) -> None:
    """Messages of one link and one instant have equal tie-breaks: put them in the order of their sequence.

    `ready` is in descending order; the reversed stable sort left runs of equal keys in descending sequence already,
    unless recipients at different places collide, which one pass mends.
    """
    for i in range(1, len(ready)):
        if ready[i][0] == ready[i - 1][0] and ready[i][1] == ready[i - 1][1] and ready[i][2] > ready[i - 1][2]:
            ready.sort(key=lambda item: item[:3], reverse=True)
            return
