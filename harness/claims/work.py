"""Carrying out experiments: which runs, in which order, on how many processes, and until when."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from concurrent.futures.process import BrokenProcessPool
from typing import TypeAlias

from harness.claims.experiment import sample_of
from harness.claims.experiments import EXPERIMENTS
from harness.executors import make_executor, stop
from results.claim import Sample

Job: TypeAlias = tuple[str, int]  # experiment, number
HEAVY = 30.0  # CPU seconds a run
INTERRUPTED = "interrupted with Ctrl-C"
SPENT = "the time budget is spent"
POLL_S = 0.5


def take(name: str, index: int) -> Sample:
    """One run, in whatever process."""
    sample = sample_of(EXPERIMENTS[name], index)
    gc.collect()  # a run is one large cycle of nodes, handlers and records: nothing else would free it
    return sample


def jobs(names: Sequence[str], done: Collection[Job], hurried: bool = False) -> list[Job]:
    """The runs that are still to be made: one of each experiment before the second of any, so that whatever is there
    when time is up is spread over the claims. Heavy ones first, so that none is left alone at the end; last, where
    there is a budget (`hurried`) that they could eat up."""
    wanted = [(name, index) for name in names for index in range(EXPERIMENTS[name].runs) if (name, index) not in done]

    def key(job: Job) -> tuple[bool, float]:
        experiment = EXPERIMENTS[job[0]]
        heavy = experiment.weight >= HEAVY
        return heavy == hurried, job[1] / experiment.runs  # stable: experiments keep their order

    return sorted(wanted, key=key)


def carry_out(wanted: Sequence[Job], workers: int, keep: Callable[[Sample], None], seconds: float | None = None) -> str:
    """Make the runs, `workers` at a time, and hand over each sample when it is there. Returns why it stopped early,
    or "". A run whose process dies is tried again on its own; if that dies too, it is a sample with an error.
    """
    begun = time.monotonic()
    left = list(reversed(wanted))
    executor = make_executor(workers)
    pending: dict[Future[Sample], Job] = {}
    suspects: list[Job] = []
    alone = False  # is what runs now a suspect, with nothing beside it?
    try:
        while left or pending or suspects:
            if seconds is not None and time.monotonic() - begun >= seconds:
                return SPENT
            try:
                alone = _hand_out(executor, pending, left, suspects, workers) or (alone and bool(pending))
                _collect(pending, keep)
            except BrokenProcessPool:
                stop(executor)
                executor = make_executor(workers)
                lost = list(pending.values())
                pending.clear()
                if alone:
                    for name, index in lost:
                        keep(Sample(name, 0, "", index=index, error="its process died (out of memory?)"))
                else:
                    suspects += lost
        return ""
    except KeyboardInterrupt:
        return INTERRUPTED
    finally:
        stop(executor)


def _hand_out(
    executor: Executor, pending: dict[Future[Sample], Job], left: list[Job], suspects: list[Job], workers: int
) -> bool:
    """Keep every worker busy; what may have killed one runs with nothing beside it. True if such a one was begun."""
    if suspects:
        if pending:
            return False
        _submit(executor, pending, suspects)
        return True
    while left and len(pending) < (1 if workers == 1 else workers + 1):
        _submit(executor, pending, left)
    return False


def _submit(executor: Executor, pending: dict[Future[Sample], Job], source: list[Job]) -> None:
    """Hand over the last of the jobs. A pool that broke refuses it: then it is still there."""
    future = executor.submit(take, *source[-1])
    pending[future] = source.pop()


def _collect(pending: dict[Future[Sample], Job], keep: Callable[[Sample], None]) -> None:
    done, _ = wait(pending, timeout=POLL_S, return_when=FIRST_COMPLETED)
    for future in done:
        sample = future.result()  # raises BrokenProcessPool while the job is still in `pending`
        del pending[future]
        keep(sample)
