"""An end for a hook that never returns: an attack's mistake must not hang the simulator, or a node, for ever.

A timer ticks once a second while corrupted nodes run; a call that is still the same one after `CPU_S` of this thread's
processor time, or after `MOST_TICKS` ticks (it sleeps, or waits for something), ends with HookOverdueError. Calls that
return are never touched and cost two assignments, so no trace depends on how fast the machine is; what is said of one
that does not return names the loop that it is in, not the line where the tick happened to find it.
"""

from __future__ import annotations

import ast
import signal
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

TICK_S = 1.0
CPU_S = 10.0  # of one call; hooks of the library take microseconds, and a run makes a hundred thousand calls
NODE_CPU_S = 2.0  # the same in a node's process, where others wait for it meanwhile
MOST_TICKS = 60  # a process that is stopped (SIGSTOP) does not tick


class HookOverdueError(BaseException):
    """A hook does not return. No Exception, so that a hook that catches everything does not catch this, too."""


class Watchdog:
    """`calls` and `inside` belong to whoever calls hooks: one call at a time, in the main thread."""

    def __init__(self, tick_s: float = TICK_S, cpu_s: float = CPU_S, most_ticks: int = MOST_TICKS) -> None:
        self.calls = 0
        self.inside = False
        self.tick_s, self.cpu_s, self.most_ticks = tick_s, cpu_s, most_ticks
        self._armed = False
        self._seen, self._ticks, self._cpu = -1, 0, 0.0

    @contextmanager
    def watching(self, cpu_s: float | None = None) -> Iterator[None]:
        """Tick inside, with another limit on processor time if one is given. In another thread than the main one, where
        no signal comes, there is no limit."""
        if self._armed or threading.current_thread() is not threading.main_thread():
            yield
            return
        before = signal.signal(signal.SIGALRM, self._tick)
        self._armed = True
        self.cpu_s = self.cpu_s if cpu_s is None else cpu_s
        signal.setitimer(signal.ITIMER_REAL, self.tick_s, self.tick_s)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0.0)
            signal.signal(signal.SIGALRM, before)
            self._armed = self.inside = False

    def _tick(self, number: int, frame: FrameType | None) -> None:
        if not self.inside:
            return
        if self.calls != self._seen:
            self._seen, self._ticks, self._cpu = self.calls, 0, time.thread_time()
            return
        self._ticks += 1
        if self._ticks >= self.most_ticks or time.thread_time() - self._cpu >= self.cpu_s:
            self._seen = -1  # should the hook swallow it, it comes again, but not before what is done with it is done
            raise HookOverdueError


WATCHDOG = Watchdog()


def overdue(path: Path, error: HookOverdueError) -> str:
    """What to say of the hook of an attack in the file `path` that the watchdog ended: "file:line: ...", with the line
    of the loop that it is in, else of the call. Both are the same in each run, whenever the tick came."""
    own = [f for f in traceback.extract_tb(error.__traceback__) if Path(f.filename) == path.resolve()]
    if not own:
        return f"{path}:1: HookOverdueError: a hook did not return, outside of this file"
    loops = _loops(path)
    line, what = own[-1].lineno or 1, "this call"
    for frame in own:
        round_it = [first for first, last in loops if first <= (frame.lineno or 0) <= last]
        if round_it:
            line, what = min(round_it), "the loop that begins here"
            break
    return (
        f"{path}:{line}: HookOverdueError: {own[0].name} did not return from {what}: a hook may use"
        f" {WATCHDOG.cpu_s:g} s of processor time and is not waited for longer than a minute; give the loop an end, and"
        " do what takes long in steps, one in each call of `act`"
    )


def _loops(path: Path) -> list[tuple[int, int]]:
    """First and last line of each loop and comprehension of the file."""
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"))
    except (OSError, SyntaxError, ValueError):  # changed since it was loaded
        return []
    kinds = (ast.For, ast.While, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
    return [(node.lineno, node.end_lineno or node.lineno) for node in ast.walk(tree) if isinstance(node, kinds)]
