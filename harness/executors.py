"""Where a campaign's chunks run: in this process, or in a pool of processes, one a core.

The seam is `concurrent.futures.Executor`: whatever has that shape (a cluster's client too) can run chunks, for jobs and
outcomes are plain values and a worker needs the package only.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from typing import Any

from harness.chunk import prepare_worker
from harness.outcome import UsageError

_PRELOAD = ("harness.chunk", "harness.backends.sim.backend")


class InProcess(Executor):
    """Runs a call when it is submitted. What was changed in this process holds, and a debugger gets in."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """The finished call."""
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


def workers_of(text: str) -> int:
    """How many processes `--workers` asks for; empty: one a core. Raises UsageError."""
    if not text:
        return max(1, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
    if not text.isdigit() or not 1 <= int(text) <= 512:
        raise UsageError(f"--workers {text}: a number of processes from 1 to 512")
    return int(text)


def make_executor(workers: int) -> Executor:
    """One worker is this process itself; more are processes that are forked from a clean, loaded one."""
    if workers == 1:
        return InProcess()
    methods = multiprocessing.get_all_start_methods()
    context = multiprocessing.get_context("forkserver" if "forkserver" in methods else "spawn")
    if context.get_start_method() == "forkserver":
        context.set_forkserver_preload(list(_PRELOAD))
    return ProcessPoolExecutor(workers, mp_context=context, initializer=prepare_worker)


def stop(executor: Executor) -> None:
    """Give up what has not begun, and what has: a worker may be in the middle of a long run."""
    processes = list((getattr(executor, "_processes", None) or {}).values())
    executor.shutdown(wait=False, cancel_futures=True)
    for process in processes:
        process.terminate()
