"""An asyncio event loop on the virtual clock: harness coroutines (clients, nemesis, runner) run on it unchanged.

Where an ordinary loop waits for file descriptors, this one lets the kernel run until the loop's next timer is due or
until an event has made a coroutine ready. The real selector is still asked now and then, so that Ctrl-C is heard.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable
from contextvars import Context
from math import ceil
from typing import Any

from harness.backends.sim.kernel import Kernel, LivelockError

_LOOK_EVERY = 64  # selects between two looks at real file descriptors (the signal pipe)
_FOREVER_NS = 10**9 * 3600
_IDLE_SELECTS = 3_000_000  # of coroutines that only yield to each other, while the clock stands still


class DeadlockError(RuntimeError):
    """Every coroutine waits and nothing is to come: on the virtual clock that would last for ever."""


class _VirtualSelector(selectors.DefaultSelector):
    """Selects by running the kernel."""

    def __init__(self, kernel: Kernel) -> None:
        super().__init__()
        self.kernel = kernel
        self._count = 0
        self._still = (-1, 0)  # the clock, and how many selects there were before it came there

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self._count += 1
        kernel = self.kernel
        if kernel.now != self._still[0]:
            self._still = (kernel.now, self._count)
        elif self._count - self._still[1] > _IDLE_SELECTS:
            self._still = (kernel.now, self._count)  # whoever is told may still want to clear up
            kernel.scheduler.clear()
            raise LivelockError(f"coroutines wake each other at {kernel.now} ns, for ever, and time stands still")
        if timeout is None or timeout > 0:
            if timeout is None and kernel.idle:
                return self._ready() or self._deadlock()
            wait = _FOREVER_NS if timeout is None else ceil(timeout * 1e9)
            if not kernel.advance(kernel.now + wait):
                return self._ready() if self._count % _LOOK_EVERY == 0 or not kernel.woken else []
        return self._ready() if self._count % _LOOK_EVERY == 0 else []

    def _ready(self) -> list[tuple[selectors.SelectorKey, int]]:
        return super().select(0)

    def _deadlock(self) -> list[tuple[selectors.SelectorKey, int]]:
        raise DeadlockError(
            f"nothing is to come after {self.kernel.now} ns and every coroutine waits; a task waits for something that "
            "only real time would bring"
        )


class VirtualLoop(asyncio.SelectorEventLoop):
    """`time()` is the kernel's clock in seconds. A callback that an event schedules stops the kernel at that event."""

    def __init__(self, kernel: Kernel) -> None:
        super().__init__(_VirtualSelector(kernel))
        self.kernel = kernel
        self._clock_resolution = 1e-9

    def time(self) -> float:
        return self.kernel.now / 1e9

    def call_soon(  # type: ignore[override]  # typeshed's TypeVarTuple signature says the same with more words
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        self.kernel.woken = True
        return super().call_soon(callback, *args, context=context)
