"""Child processes that do not outlive us, and how to recognise a process again."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

_PR_SET_PDEATHSIG = 1


def die_with_parent() -> Callable[[], None] | None:
    """A `preexec_fn` that has the kernel kill the child when the thread that started it ends; None off Linux.

    Start such children from a thread that lives as long as they should (the event loop's), never from a pool.
    """
    if not sys.platform.startswith("linux"):
        return None
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    parent = os.getpid()

    def before_exec() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # the parent died before the request was in place
            os._exit(1)

    return before_exec


def process_start(pid: int) -> str | None:
    """The process's start time in clock ticks since boot, as text; None if it is gone (or a zombie, or no /proc).

    Pid and start time together name a process for good: pids are reused, pairs are not.
    """
    try:
        fields = (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()
        return None if fields[0] in ("Z", "X") else fields[19]
    except (OSError, IndexError):
        return None


def process_ident(pid: int) -> str:
    """`pid:start` of a living process, the form that leftovers.py records. The start is empty where /proc is absent."""
    return f"{pid}:{process_start(pid) or ''}"
