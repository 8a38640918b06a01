"""What a shaped link does to packets, as arithmetic on a clock that is passed in (nanoseconds).

Order is kept per link: a packet never overtakes an earlier one of its link, whatever the jitter. Bandwidth is a queue
in front of the delay; it holds at most BACKLOG_NS worth of sending time and drops what comes on top, as a router does.
"""

from __future__ import annotations

import heapq
from random import Random
from typing import Generic, TypeVar

from faults.port import Shape

BACKLOG_NS = 500_000_000
NANOS_PER_MS = 1_000_000
LinkKey = TypeVar("LinkKey")


class LineCount:
    """What a link's line did so far, in packets."""

    __slots__ = ("delayed", "lost")

    def __init__(self) -> None:
        self.delayed = 0
        self.lost = 0


class _Line:
    __slots__ = ("count", "delay_ns", "free_at", "jitter_ns", "last", "loss", "ns_per_byte")

    def __init__(self) -> None:
        self.count = LineCount()
        self.free_at = 0
        self.last = 0
        self.set(Shape())

    def set(self, shape: Shape) -> None:
        self.delay_ns = round(shape.delay_ms * NANOS_PER_MS)
        self.jitter_ns = round(shape.jitter_ms * NANOS_PER_MS)
        self.loss = shape.loss
        self.ns_per_byte = 8e6 / shape.rate_kbit if shape.rate_kbit > 0 else 0.0


class DelayLine(Generic[LinkKey]):
    """Packets of many links on their way. Keys are whatever names a link; packet ids are integers."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self._lines: dict[LinkKey, _Line] = {}
        self._heap: list[tuple[int, int, int]] = []
        self._sequence = 0

    def shape(self, link: LinkKey, shape: Shape) -> None:
        """Set a link's shape; packets already on their way keep their times."""
        self._lines.setdefault(link, _Line()).set(shape)

    def admit(self, now: int, link: LinkKey, packet: int, size: int) -> bool:
        """Take in a packet of `size` bytes. False: it is lost, and the caller drops it."""
        line = self._lines.get(link)
        if line is None:
            self._push(now, packet)
            return True
        if line.loss and self._rng.random() < line.loss:
            line.count.lost += 1
            return False
        sent = now
        if line.ns_per_byte:
            if line.free_at - now > BACKLOG_NS:
                line.count.lost += 1
                return False
            sent = line.free_at = max(now, line.free_at) + round(size * line.ns_per_byte)
        jitter = self._rng.randint(-line.jitter_ns, line.jitter_ns) if line.jitter_ns else 0
        line.last = max(line.last, sent + max(0, line.delay_ns + jitter))
        line.count.delayed += 1
        self._push(line.last, packet)
        return True

    def due(self, now: int) -> list[int]:
        """The packets whose time has come, in order of release."""
        heap, out = self._heap, []
        while heap and heap[0][0] <= now:
            out.append(heapq.heappop(heap)[2])
        return out

    def next_release(self) -> int | None:
        """When the next packet is due; None if there is none."""
        return self._heap[0][0] if self._heap else None

    def flush(self) -> list[int]:
        """All packets on their way, in order of release; the line is empty afterwards."""
        out = [packet for _, _, packet in sorted(self._heap)]
        self._heap.clear()
        return out

    def counts(self) -> dict[LinkKey, LineCount]:
        """Counters per link that was ever shaped."""
        return {link: line.count for link, line in self._lines.items()}

    def _push(self, at: int, packet: int) -> None:
        self._sequence += 1
        heapq.heappush(self._heap, (at, self._sequence, packet))
