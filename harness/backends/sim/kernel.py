"""The virtual clock and its events, in the order (time, tie-break, sequence).

A `Scheduler` holds what is to come; the `Kernel` takes it out in order and makes the calls. Nothing here knows nodes,
links or coroutines.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from typing import Any, Protocol, TypeAlias

Call: TypeAlias = Callable[[Any, Any], None]
Item: TypeAlias = tuple[int, int, int, Call, Any, Any]  # time, tie-break, sequence, call, its two arguments

SLICE = 20_000  # events between two looks at what else the process has to do (signals)


class Scheduler(Protocol):
    """Events to come. Equal schedulers give equal runs: the order is that of (time, tie-break, sequence)."""

    def put(self, time: int, tie: int, call: Call, first: Any, second: Any) -> None:
        """One event."""
        ...

    def take(self, until: int) -> Item | None:
        """The next event, if it is due at `until` or earlier."""
        ...

    def __len__(self) -> int: ...


class HeapScheduler:
    """A binary heap of tuples: the reference, and the fastest for small clusters."""

    def __init__(self) -> None:
        self._heap: list[Item] = []
        self._sequence = 0

    def put(self, time: int, tie: int, call: Call, first: Any, second: Any) -> None:
        self._sequence += 1
        heappush(self._heap, (time, tie, self._sequence, call, first, second))

    def take(self, until: int) -> Item | None:
        heap = self._heap
        if not heap or heap[0][0] > until:
            return None
        return heappop(heap)

    def __len__(self) -> int:
        return len(self._heap)


class Kernel:
    """`now` is the run's time in nanoseconds. `woken` is set by whoever has work for the event loop: `advance` then
    returns at once, at the time of the event that did it."""

    def __init__(self, scheduler: Scheduler | None = None) -> None:
        self.now = 0
        self.woken = False
        self.events = 0  # made so far
        self.scheduler: Scheduler = HeapScheduler() if scheduler is None else scheduler

    def at(self, time: int, tie: int, call: Call, first: Any = None, second: Any = None) -> None:
        """Have `call(first, second)` made at `time`, or now if that is past."""
        self.scheduler.put(max(time, self.now), tie, call, first, second)

    @property
    def idle(self) -> bool:
        """Is nothing to come?"""
        return not len(self.scheduler)

    def advance(self, until: int) -> bool:
        """Make the events up to `until`; True when the clock got there, False when somebody was woken before, or after
        `SLICE` events."""
        take = self.scheduler.take
        self.woken = False
        count = 0
        try:
            while count < SLICE:
                item = take(until)
                if item is None:
                    self.now = max(self.now, until)
                    return True
                count += 1
                self.now = item[0]
                item[3](item[4], item[5])
                if self.woken:
                    return False
            return False
        finally:
            self.events += count
