"""What the links' shapes do to messages: when each arrives, if it does.

Delay and jitter, losses (a stream sends again, a datagram is gone), the rate of a link and of a node's uplink. Draws
depend on (seed, link, number of the message on the link) only.
"""

from __future__ import annotations

from faults.observe import combined
from faults.port import Shape
from harness.backends.sim.draws import unit
from nodes.messages import Message, encode

RETRANSMIT_NS = 200_000_000  # first retransmission time-out of a stream; doubles
MOST_LOSSES = 6  # in a row, of one message on a stream


class Medium:
    """All links' shapes, by sender and receiver. `delay` (ns) is what a link adds to every message."""

    def __init__(
        self,
        base: list[list[Shape]],
        noise: list[list[int]],
        dropped: list[list[int]],
        stream: bool,
        egress_mbit: float,
    ) -> None:
        """`dropped` counts losses, for whoever wants to know."""
        n = len(base)
        self._base, self._shape = base, [list(row) for row in base]
        self.delay = [[int(shape.delay_ms * 1e6) for shape in row] for row in base]
        self._noise, self._dropped = noise, dropped
        self._stream, self._egress = stream, egress_mbit
        self._egress_free = [0] * n  # when the node's uplink is idle again
        self._free = [[0] * n for _ in range(n)]  # when a link with a rate is idle again
        self._last = [[0] * n for _ in range(n)]  # arrival of the link's newest message, where order is kept

    def arrival(self, now: int, sender: int, to: int, message: Message | int, counter: int) -> int:
        """When it (or a packet of so many bytes) arrives, by the link's shape; -1: lost for good."""
        shape, noise = self._shape[sender][to], self._noise[sender][to]
        at = now
        if self._egress or shape.rate_kbit:
            size = message if isinstance(message, int) else len(encode(message))
            at = self._serialised(now, sender, to, shape, size)
        at += self.delay[sender][to]
        if shape.jitter_ms:
            at += int(shape.jitter_ms * 1e6 * (2 * unit(noise, counter) - 1))
        if shape.loss:
            losses = 0
            while losses < MOST_LOSSES and unit(noise ^ (losses + 1), counter) < shape.loss:
                losses += 1
            self._dropped[sender][to] += losses
            if losses and not self._stream:
                return -1
            at += RETRANSMIT_NS * (2**losses - 1)
        at = max(at, now)
        if self._stream:
            at = max(at, self._last[sender][to])
            self._last[sender][to] = at
        return at

    def _serialised(self, now: int, sender: int, to: int, shape: Shape, size: int) -> int:
        """When the last bit has left: first through the node's uplink, then through the link."""
        at = now
        if self._egress:
            at = max(at, self._egress_free[sender]) + int(size * 8000 / self._egress)
            self._egress_free[sender] = at
        if shape.rate_kbit:
            at = max(at, self._free[sender][to]) + int(size * 8_000_000 / shape.rate_kbit)
            self._free[sender][to] = at
        return at

    # ------------------------------------------------------------ shapes
    def reshape(self, sender: int, to: int, extra: Shape | None) -> None:
        """Put `extra` on top of the base shape, or nothing."""
        base = self._base[sender][to]
        shape = self._shape[sender][to] = base if extra is None else combined((base, extra))
        self.delay[sender][to] = int(shape.delay_ms * 1e6)

    def nothing_before(self, sender: int, to: int, at: int) -> None:
        """Nothing that is sent from now on may arrive earlier, if the link keeps its order."""
        if self._stream:
            self._last[sender][to] = max(self._last[sender][to], at)

    def relieve(self, sender: int, to: int, at: int, now: int) -> None:
        """What is on its way arrives by `at`, and the link is idle."""
        self._last[sender][to] = min(self._last[sender][to], at)
        self._free[sender][to] = min(self._free[sender][to], now)

    def constant(self, sender: int) -> bool:
        """Do this sender's links add a constant delay and nothing else?"""
        return not self._egress and all(not (s.jitter_ms or s.loss or s.rate_kbit) for s in self._shape[sender])

    def wait(self, sender: int, now: int) -> int:
        """How long (ns) messages are on their way that what is sent now would overtake; none if not above 0."""
        return max(last - now - delay for last, delay in zip(self._last[sender], self.delay[sender], strict=True))
