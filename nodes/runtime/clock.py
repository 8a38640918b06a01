"""The run's clock at one node: monotonic nanoseconds since the start of the run, as this node sees them."""

from __future__ import annotations

import time


class RunClock:
    """`true()` is the run's time and stamps the trace; `now()` is what the node believes (skew and drift applied).

    Both never go back. `start_ns` is the CLOCK_MONOTONIC reading at which the run's clock is zero.
    """

    def __init__(self, start_ns: int, skew_ms: int = 0, drift_ppm: int = 0) -> None:
        self._start = start_ns
        self._skew = skew_ms * 1_000_000
        self._drift = drift_ppm
        self._base = 0  # run time at which the drift began
        self._last = 0

    def set(self, skew_ms: int, drift_ppm: int) -> None:
        """From now on the node's clock is off by so much and gains so much on the run's; zeros make it true again."""
        self._skew, self._drift, self._base = skew_ms * 1_000_000, drift_ppm, self.true()

    def off(self) -> int:
        """How far the node's clock is ahead of the run's now, in nanoseconds."""
        true = self.true()
        return self.now() - true

    def true(self) -> int:
        """Nanoseconds since the start of the run."""
        return max(0, time.monotonic_ns() - self._start)

    def now(self) -> int:
        """The node's own reading of the clock, in nanoseconds; never negative, never smaller than before."""
        elapsed = max(0, time.monotonic_ns() - self._start)
        if self._drift:
            elapsed += (elapsed - self._base) * self._drift // 1_000_000
        self._last = max(self._last, elapsed + self._skew)
        return self._last

    def reached(self, at: int) -> int:
        """The reading for a timer set to `at` that fired: at least `at` (event loops round)."""
        self._last = max(self.now(), at)
        return self._last

    def loop_time(self, at: int) -> float:
        """When the node's clock will read `at`, as CLOCK_MONOTONIC seconds: the event loop's time."""
        elapsed = at - self._skew
        if self._drift:
            elapsed = (elapsed * 1_000_000 + self._base * self._drift) // (1_000_000 + self._drift)
        return (self._start + elapsed) / 1e9
