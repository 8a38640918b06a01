"""Counting refused inputs, and tracing a bounded number of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

_BURST = 50
_PER_SECOND = 10
_SECOND = 1_000_000_000
_MAX_TEXT = 200


class Rejects:
    """`total` counts every refusal; the trace gets at most a burst of 50 and then 10 a second, so that an attacker
    cannot fill the disk. What was left out is told by `suppressed` in the next event that is traced.
    """

    def __init__(self, clock: Callable[[], int], emit: Callable[[str, dict[str, Any]], None]) -> None:
        self.total = 0
        self._clock = clock
        self._emit = emit
        self._allowance = float(_BURST)
        self._last = 0
        self._suppressed = 0

    def add(self, reason: str, sender: str) -> None:
        """Refused: `reason` in words; `sender` a node id or host:port."""
        self.trace({"reason": reason[:_MAX_TEXT], "sender": sender})

    def trace(self, fields: dict[str, Any]) -> None:
        """Count one refusal, with the fields of its trace event."""
        self.total += 1
        now = self._clock()
        self._allowance = min(float(_BURST), self._allowance + (now - self._last) * _PER_SECOND / _SECOND)
        self._last = now
        if self._allowance < 1:
            self._suppressed += 1
            return
        self._allowance -= 1
        if self._suppressed:
            fields = {**fields, "suppressed": self._suppressed}
            self._suppressed = 0
        self._emit("reject", fields)
