"""The virtual clock and its events, in the order (time, tie-break, sequence).

A `Scheduler` holds what is to come and makes it happen in order; the `Kernel` is the clock that it moves. Nothing here
knows nodes or coroutines. Two schedulers, one order: a heap (the reference), and windows of numpy arrays (window.py)
for large clusters; tests hold their traces against each other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from heapq import heappop, heappush
from typing import Any, Protocol, TypeAlias

from harness.backends.sim.draws import MASK

Call: TypeAlias = Callable[[Any, Any], None]
Item: TypeAlias = tuple[int, int, int, Call, Any, Any]  # time, tie-break, sequence, call, its two arguments

SLICE = 20_000  # events between two looks at what else the process has to do (signals)
INSTANT = 3_000_000  # events in one instant of the virtual clock: 300 nodes need a tenth of it, a livelock all of them


class LivelockError(RuntimeError):
    """Events beget events, and time stands still."""


class Fan(Protocol):
    """The links of one sender to one group, as a multicast uses them: constant delays, no obstacles on the way out.

    `calls[i]` is to be called with (sender, message) at now + `delays[i]`, with the tie-break of `salts[i]`.
    """

    sender: int
    delays: Sequence[int]
    salts: Sequence[int]
    calls: Sequence[Call]


class Scheduler(Protocol):
    """Events to come. Equal schedulers give equal runs: the order is that of (time, tie-break, sequence)."""

    def put(self, time: int, tie: int, call: Call, first: Any, second: Any, sequence: int = 0) -> None:
        """One event; with a `sequence` that was reserved, it stands where it would have stood then."""
        ...

    def reserve(self) -> int:
        """The next sequence number, for an event that may be put later."""
        ...

    def fan_out(self, now: int, fan: Any, message: Any) -> None:
        """One event for each recipient of a multicast, in the fan's order."""
        ...

    def drain(self, kernel: Kernel, until: int, limit: int) -> bool:
        """Make the events up to `until`, at most `limit`, and stop when the kernel is woken; True: nothing is left
        that is due."""
        ...

    def clear(self) -> None:
        """Forget all that was to come."""
        ...

    def __len__(self) -> int: ...


class HeapScheduler:
    """A binary heap of tuples: the reference, and the fastest for small clusters."""

    def __init__(self) -> None:
        self._heap: list[Item] = []
        self._sequence = 0

    def put(self, time: int, tie: int, call: Call, first: Any, second: Any, sequence: int = 0) -> None:
        heappush(self._heap, (time, tie, sequence or self.reserve(), call, first, second))

    def reserve(self) -> int:
        self._sequence += 1
        return self._sequence

    def fan_out(self, now: int, fan: Fan, message: Any) -> None:
        heap, sender, sequence = self._heap, fan.sender, self._sequence
        for delay, salt, call in zip(fan.delays, fan.salts, fan.calls, strict=True):
            at = now + delay
            sequence += 1
            heappush(heap, (at, ((salt * (at | 1)) & MASK) >> 32, sequence, call, sender, message))
        self._sequence = sequence

    def drain(self, kernel: Kernel, until: int, limit: int) -> bool:
        heap = self._heap
        count = 0
        try:
            while heap and heap[0][0] <= until:
                if count == limit:
                    return False
                count += 1
                kernel.now, kernel.tie, _, call, first, second = heappop(heap)
                call(first, second)
                if kernel.woken:
                    return False
            return True
        finally:
            kernel.events += count

    def clear(self) -> None:
        self._heap.clear()

    def __len__(self) -> int:
        return len(self._heap)


class Kernel:
    """`now` is the run's time in nanoseconds. `woken` is set by whoever has work for the event loop: `advance` then
    returns at once, at the time of the event that did it."""

    def __init__(self, scheduler: Scheduler | None = None) -> None:
        self.now = 0
        self.tie = 0  # tie-break of the event that is being made
        self.woken = False
        self.events = 0  # made so far
        self.scheduler: Scheduler = HeapScheduler() if scheduler is None else scheduler
        self._instant = (-1, 0)  # the clock when `advance` was called last, and the events made before that instant

    def at(self, time: int, tie: int, call: Call, first: Any = None, second: Any = None) -> None:
        """Have `call(first, second)` made at `time`, or now if that is past."""
        self.scheduler.put(max(time, self.now), tie, call, first, second)

    @property
    def idle(self) -> bool:
        """Is nothing to come?"""
        return not len(self.scheduler)

    def advance(self, until: int) -> bool:
        """Make the events up to `until`; True when the clock got there, False when somebody was woken before, or after
        `SLICE` events. Raises LivelockError after `INSTANT` events in one instant.

        Whatever is raised ends the run: nothing is to come any more, so that coroutines can clear up in peace.
        """
        if self.now != self._instant[0]:
            self._instant = (self.now, self.events)
        elif self.events - self._instant[1] > INSTANT:
            self._instant = (self.now, self.events)  # whoever is told may still want to clear up,
            self.scheduler.clear()  # and what stood still would go on meanwhile
            raise LivelockError(
                f"more than {INSTANT} events in one instant, at {self.now} ns: nodes or behaviours answer each other"
                " without delay, for ever; look at the last messages with a smaller scenario"
            )
        self.woken = False
        try:
            arrived = self.scheduler.drain(self, until, SLICE)
        except BaseException:
            self.scheduler.clear()
            raise
        if arrived:
            self.now = max(self.now, until)
        return arrived
