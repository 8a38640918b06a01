"""Ctrl-C in the middle of a run: once is enough, and it never skips healing, stopping and recording."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from harness.outcome import SIGNALS as SIGNALS
from harness.outcome import Interrupted as Interrupted


class Interruption:
    """Notices SIGINT and SIGTERM. Waits that may be cut short are made inside `cancelling`; others look at `event`."""

    def __init__(self) -> None:
        self.event = asyncio.Event()
        self._victim: asyncio.Task[object] | None = None

    def trigger(self) -> None:
        """End the run. Asking again changes nothing: it is ending already."""
        if self.event.is_set():
            return
        self.event.set()
        if self._victim is not None:
            self._victim.cancel()

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Take over the signals of the running loop; afterwards they are whose they were."""
        loop = asyncio.get_running_loop()
        before = {number: signal.getsignal(number) for number in SIGNALS}
        for number in SIGNALS:
            loop.add_signal_handler(number, self.trigger)
        try:
            yield
        finally:
            for number, handler in before.items():
                loop.remove_signal_handler(number)
                signal.signal(number, handler)  # the loop puts the system's default there, which would be death

    @contextmanager
    def cancelling(self) -> Iterator[None]:
        """Inside, an interruption cancels what this task awaits, and Interrupted comes out."""
        if self.event.is_set():
            raise Interrupted
        task = asyncio.current_task()
        assert task is not None
        self._victim = task
        try:
            yield
        except asyncio.CancelledError:
            if not self.event.is_set():
                raise
            task.uncancel()
            raise Interrupted from None
        finally:
            self._victim = None


@contextmanager
def noticing() -> Iterator[Callable[[], None]]:
    """Inside, where no loop runs, an interruption raises KeyboardInterrupt; what is given raises it once more.

    Code in C may drop an exception that is raised while it runs (hasattr does), and then the Ctrl-C is lost.
    """
    if threading.current_thread() is not threading.main_thread():  # nobody else may take over signals, or gets them
        yield lambda: None
        return
    noticed = threading.Event()

    def interrupted(number: int, frame: FrameType | None) -> None:
        noticed.set()
        raise KeyboardInterrupt

    def once_more() -> None:
        if noticed.is_set():
            raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupted) for number in SIGNALS}
    try:
        yield once_more
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
