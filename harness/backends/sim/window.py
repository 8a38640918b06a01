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
_LOW = np.uint64(0xFFFFFFFF)


class Ray:
    """The recipients of a fan that are equally far away: their calls, salts and places in the fan's order."""

    __slots__ = ("calls", "delay", "places", "salts")

    def __init__(self, delay: int, fan: Fan, places: list[int]) -> None:
        self.delay = delay
        self.calls = [fan.calls[i] for i in places]
        self.salts = np.array([fan.salts[i] for i in places], dtype=np.uint64)
        self.places = places

    def ties(self, at: int) -> NDArray[np.uint64]:
        """The tie-breaks of messages that arrive at `at` (draws.tie_break, for all recipients at once)."""
        return (self.salts * np.uint64(at | 1)) >> _THIRTY_TWO


Entry = tuple[int, Ray, int, int, Any]  # arrival time, ray, sequence before the fan's first, sender, message


class _Open:
    """The window that is being worked off: its messages in order, and how far we are.

    Equal keys are one link's messages of one instant, or a collision: the stable sort leaves both in sequence.
    """

    __slots__ = ("_entries", "_order", "_starts", "calls", "next", "owners", "senders", "ties", "times", "what")

    def __init__(self, entries: list[Entry], start: int) -> None:
        self._entries = entries
        keys = np.concatenate([ray.ties(at) | np.uint64((at - start) << 32) for at, ray, *_ in entries])
        lengths = np.array([len(ray.calls) for _, ray, *_ in entries])
        self._order = np.argsort(keys, kind="stable")
        keys = keys[self._order]
        self._starts = np.concatenate(([0], np.cumsum(lengths)[:-1]))
        self.times: list[int] = ((keys >> _THIRTY_TWO).astype(np.int64) + start).tolist()
        self.ties: list[int] = (keys & _LOW).tolist()
        self.owners: list[int] = np.repeat(np.arange(len(entries)), lengths)[self._order].tolist()
        calls: list[Call] = []
        for _, ray, *_ in entries:
            calls += ray.calls
        self.calls = [calls[i] for i in self._order.tolist()]
        self.senders = [entry[3] for entry in entries]
        self.what = [entry[4] for entry in entries]
        self.next = 0

    def before(self, item: Item, time: int) -> bool:
        """Does the next message (due at `time`) come before the heap's item?"""
        if item[0] != time:
            return time < item[0]
        tie = self.ties[self.next]
        return tie < item[1] or (tie == item[1] and self._sequence() < item[2])

    def _sequence(self) -> int:
        owner = self.owners[self.next]
        _, ray, base, *_ = self._entries[owner]
        return base + 1 + ray.places[int(self._order[self.next] - self._starts[owner])]


class WindowScheduler:
    """See the module. `rays` are worked out once for each fan."""

    def __init__(self) -> None:
        self._heap: list[Item] = []
        self._sequence = 0
        self._windows: dict[int, list[Entry]] = {}
        self._order: list[int] = []  # heap of the numbers of windows that hold something
        self._count = 0  # messages in windows that are not open yet
        self._number = -1  # of the window that is open, or was last
        self._open: _Open | None = None
        self._rays: dict[int, tuple[Fan, list[Ray]]] = {}

    def put(self, time: int, tie: int, call: Call, first: Any, second: Any, sequence: int = 0) -> None:
        heappush(self._heap, (time, tie, sequence or self.reserve(), call, first, second))

    def reserve(self) -> int:
        self._sequence += 1
        return self._sequence

    def fan_out(self, now: int, fan: Fan, message: Any) -> None:
        known = self._rays.get(id(fan))
        if known is None:
            known = self._rays[id(fan)] = (fan, _rays(fan))  # holds the fan, so that its id stays its own
        base = self._sequence
        self._sequence = base + len(fan.calls)
        for ray in known[1]:
            at = now + ray.delay
            number = at >> SHIFT
            if number <= self._number:
                self._late(at, ray, base, fan.sender, message)
                continue
            entries = self._windows.get(number)
            if entries is None:
                entries = self._windows[number] = []
                heappush(self._order, number)
            entries.append((at, ray, base, fan.sender, message))
            self._count += len(ray.calls)

    def _late(self, at: int, ray: Ray, base: int, sender: int, message: Any) -> None:
        """Messages that arrive inside the window that is open already."""
        for tie, place, call in zip(ray.ties(at).tolist(), ray.places, ray.calls, strict=True):
            heappush(self._heap, (at, tie, base + 1 + place, call, sender, message))

    def drain(self, kernel: Kernel, until: int, limit: int) -> bool:
        left = limit
        try:
            while True:
                if self._open is not None:
                    left = self._work(kernel, self._open, until, left)
                    if left <= 0 or kernel.woken:
                        return False
                    if self._open is not None:
                        return True
                left = self._single(kernel, until, left)
                if left <= 0 or kernel.woken:
                    return False
                if not self._order or self._order[0] << SHIFT > until:
                    return True
                self._number = heappop(self._order)
                entries = self._windows.pop(self._number)
                self._open = _Open(entries, self._number << SHIFT)
                self._count -= len(self._open.calls)
        finally:
            kernel.events += limit - max(left, 0)

    def _work(self, kernel: Kernel, window: _Open, until: int, left: int) -> int:
        """Messages of the open window, and the heap's events between them; returns what is left of the limit.

        The window is closed when it is empty; it stays open when the next event lies after `until`.
        """
        heap, times, calls, owners = self._heap, window.times, window.calls, window.owners
        senders, what, ties = window.senders, window.what, window.ties
        size = len(times)
        while window.next < size and left > 0:
            at = window.next
            time = times[at]
            if heap and heap[0][0] <= time and not window.before(heap[0], time):
                if heap[0][0] > until:
                    return left
                kernel.now, kernel.tie, _, call, first, second = heappop(heap)
                left -= 1
                call(first, second)
            else:
                if time > until:
                    return left
                window.next = at + 1
                kernel.now, kernel.tie = time, ties[at]
                owner = owners[at]
                left -= 1
                calls[at](senders[owner], what[owner])
            if kernel.woken:
                return left
        if window.next == size:
            self._open = None
        return left

    def _single(self, kernel: Kernel, until: int, left: int) -> int:
        """The heap's events up to the next window."""
        heap = self._heap
        while heap and heap[0][0] <= until and left > 0:
            if self._order and heap[0][0] >> SHIFT >= self._order[0]:
                break
            kernel.now, kernel.tie, _, call, first, second = heappop(heap)
            left -= 1
            call(first, second)
            if kernel.woken:
                break
        return left

    def clear(self) -> None:
        self._heap.clear()
        self._windows.clear()
        self._order.clear()
        self._count, self._open = 0, None

    def __len__(self) -> int:
        rest = 0 if self._open is None else len(self._open.times) - self._open.next
        return len(self._heap) + rest + self._count


def _rays(fan: Fan) -> list[Ray]:
    by_delay: dict[int, list[int]] = {}
    for place, delay in enumerate(fan.delays):
        by_delay.setdefault(delay, []).append(place)
    return [Ray(delay, fan, places) for delay, places in by_delay.items()]
