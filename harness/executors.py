"""Where simulated runs are made: in this process, in a pool of processes, one a core, or on the machines of a cluster.

The seam is `concurrent.futures.Executor`: whatever has that shape can run chunks, for jobs and outcomes are plain
values and a worker needs the package only.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from functools import partial
from itertools import islice
from typing import Any, NamedTuple, TypeVar

from harness.chunk import prepare_worker
from harness.outcome import UsageError

T = TypeVar("T")
R = TypeVar("R")
CLUSTER = "dask://"

_PRELOAD = ("harness.chunk", "harness.backends.sim.backend")


class Pool(NamedTuple):
    """So many calls run at a time, on what `make` gives; after a worker died, on a new one."""

    size: int
    make: Callable[[], Executor]


class LostError(RuntimeError):
    """One call has no result because the worker that ran it died, again and again; other calls are not affected."""


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


def cores() -> int:
    """Processors that this process may use."""
    return max(1, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)


def workers_of(text: str) -> int:
    """How many processes `--workers` asks for; empty: one a core. Raises UsageError."""
    if not text:
        return cores()
    if not text.isdigit() or not 1 <= int(text) <= 512:
        raise UsageError(f"--workers {text}: a number of processes from 1 to 512, or dask://HOST:PORT")
    return int(text)


@contextmanager
def workers(text: str) -> Iterator[Pool]:
    """The workers that `--workers` asks for: a number of processes, or the scheduler of a Dask cluster.

    Raises UsageError, and MachineError where the cluster does not answer.
    """
    if text.startswith(CLUSTER):
        from harness import cluster_pool  # its libraries take a second to load

        with cluster_pool.connect(text) as pool:
            yield pool
    else:
        count = workers_of(text)
        yield Pool(count, partial(make_executor, count))


def results(pool: Pool, call: Callable[[T], R], arguments: Iterable[T]) -> Iterator[R]:
    """What `call` gives for each argument, in whatever order it is ready; twice as many as there are workers wait.

    Closing the iterator gives up what has not begun. Raises BrokenProcessPool, LostError, and what `call` raises.
    """
    rest = iter(arguments)
    executor = pool.make()
    pending: set[Future[R]] = set()
    try:
        while True:
            free = 1 - len(pending) if pool.size == 1 else 2 * pool.size - len(pending)
            pending |= {executor.submit(call, argument) for argument in islice(rest, free)}
            if not pending:
                return
            done, pending = wait(pending, return_when=FIRST_COMPLETED)
            for future in done:
                yield future.result()
    finally:
        stop(executor)


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
