"""The calls of one register as events in record order, with a bit for every call while it is under way."""

from __future__ import annotations

import heapq
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from checkers.linear.calls import OPEN, Call

_CACHED = 1024  # records whose calls under way are kept


@dataclass
class Pending:
    """What is under way at one event: calls that change the register, by their end, and bits of those that observe."""

    writers: list[int]
    observers: dict[int, int] = field(default_factory=dict)  # value -> bits


class Layout:
    """Events (a call's number for its begin, ~number for its end) and slots. Calls are given by their begin.

    Left out: open calls that only observe, and open calls whose value nobody observed (nothing is lost without them).
    """

    def __init__(self, calls: Sequence[Call]) -> None:
        self._calls = calls
        self._observes = [call.observes for call in calls]
        observed = {call.expects for call in calls if call.end < OPEN or not call.observes}
        kept = [n for n, c in enumerate(calls) if c.end < OPEN or (not self._observes[n] and c.leaves in observed)]
        moments = [(calls[number].begin, number) for number in kept]
        moments += [(calls[number].end, ~number) for number in kept if calls[number].end < OPEN]
        moments.sort()
        self.events = [event for _, event in moments]
        self.bits = [0] * len(calls)
        self.writing = [0] * len(moments)  # at the end of a call: bits of the calls under way that change the register
        self._watching = [0] * len(moments)  # and of those that observe it
        self._in_slot: list[tuple[list[int], list[int]]] = []  # per slot: events at which calls took it, and which
        self._cache: dict[int, Pending] = {}
        self._assign()

    @property
    def width(self) -> int:
        """How many bits there are: the most calls ever under way at once."""
        return len(self._in_slot)

    def _assign(self) -> None:
        free: list[int] = []
        writers = observers = 0
        for at, event in enumerate(self.events):
            if event >= 0:
                if not free:
                    free.append(len(self._in_slot))
                    self._in_slot.append(([], []))
                slot = heapq.heappop(free)
                self._in_slot[slot][0].append(at)
                self._in_slot[slot][1].append(event)
                self.bits[event] = 1 << slot
                if self._observes[event]:
                    observers |= 1 << slot
                else:
                    writers |= 1 << slot
                continue
            self.writing[at], self._watching[at] = writers, observers
            bit = self.bits[~event]
            writers, observers = writers & ~bit, observers & ~bit
            heapq.heappush(free, bit.bit_length() - 1)

    def pending(self, at: int) -> Pending:
        """What is under way at the end-event `at`, the ending call among them."""
        found = self._cache.get(at)
        if found is None:
            if len(self._cache) >= _CACHED:
                self._cache.clear()
            writers = [self._holder(slot, at) for slot in _slots(self.writing[at])]
            found = Pending(sorted(writers, key=lambda number: (self._calls[number].end, number)))
            for slot in _slots(self._watching[at]):
                value = self._calls[self._holder(slot, at)].expects
                found.observers[value] = found.observers.get(value, 0) | 1 << slot
            self._cache[at] = found
        return found

    def holders(self, bits: int, at: int) -> list[int]:
        """The calls that have these bits at event `at`."""
        return [self._holder(slot, at) for slot in _slots(bits)]

    def _holder(self, slot: int, at: int) -> int:
        since, numbers = self._in_slot[slot]
        return numbers[bisect_right(since, at) - 1]


def _slots(bits: int) -> Iterator[int]:
    while bits:
        low = bits & -bits
        yield low.bit_length() - 1
        bits ^= low
