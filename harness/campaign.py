"""A campaign: many seeds of one job, judged in chunks on whatever executor there is, within a budget, resumable.

1. Chunks of seeds are handed out, twice as many as there are workers, each about a second of work.
2. What comes back is written to the state file, then counted.
3. A violation is told apart by property, anomaly and minimal cause: a set of faults and behaviours that holds
   that of an earlier finding is the same finding. A new one runs again with files, as a run directory that
   replay, shrink and report take, with its scenario beside it.
4. When the budget is spent: what was found, what was judged, what was covered.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from concurrent.futures.process import BrokenProcessPool
from itertools import count
from typing import Any

import msgspec

from harness.campaign_state import Finding, Line, Recorded, State
from harness.chunk import Failure, Job, Outcome, run_chunk
from harness.coverage import ALL_GOALS, vacuous
from harness.executors import LostError, Pool, stop

CHUNK = 10  # seeds, at most
CHUNK_S = 1.0  # about that much work

Record = Callable[[Job, Outcome], Recorded]
Pending = dict[Future[list[Outcome]], list[int]]


class Budget(msgspec.Struct, frozen=True):
    """When a campaign ends: after so many runs, or so many seconds of work. What was done before counts too."""

    runs: int | None = None
    seconds: float | None = None


class Tally:
    """What a campaign found, counted."""

    def __init__(self) -> None:
        self.runs = 0
        self.clean = 0  # runs in which every property but receipts passed
        self.errors: list[Outcome] = []
        self.unknown: Counter[str] = Counter()  # runs by the worst class of their unknowns
        self.reasons: Counter[str] = Counter()
        self.properties: dict[str, Counter[str]] = {}
        self.goals: Counter[str] = Counter()
        self.cells: set[str] = set()
        self.states: set[str] = set()
        self.views = 0

    def add(self, outcome: Outcome) -> None:
        """Count one seed."""
        self.runs += 1
        if outcome.error:
            self.errors.append(outcome)
            return
        failed = {failure.property for failure in outcome.failures}
        for status, names in (("pass", outcome.passed), ("fail", failed), ("unknown", [u[0] for u in outcome.unknown])):
            for name in names:
                self.properties.setdefault(name, Counter())[status] += 1
        classes = {kind for _, kind, _ in outcome.unknown}
        if classes:
            self.unknown[max(classes, key=("did not bite", "nothing to examine", "other").index)] += 1
        for name, kind, reason in outcome.unknown:
            if kind != "did not bite":
                self.reasons[f"{name}: {kind}: {reason.partition(' (')[0][:100]}"] += 1
        self.clean += not failed and all(name == "receipts" for name, _, _ in outcome.unknown)
        self.goals.update(outcome.goals)
        self.cells.update(outcome.cells)
        self.states.update(outcome.states)
        self.views += outcome.views


class Campaign:
    """One campaign. `record` makes a finding's run directory; `show` is called about twice a second."""

    def __init__(
        self,
        job: Job,
        seed: int,
        budget: Budget,
        state: State,
        pool: Pool,
        record: Record,
        show: Callable[[Campaign], None] = lambda campaign: None,
    ) -> None:
        self.job = job
        self.budget = budget
        self.tally = Tally()
        self.findings: list[Finding] = []
        self.interrupted = False
        self.resumed = len(state.outcomes)
        self._state = state
        self._make_executor = pool.make
        self._workers = pool.size
        self._record = record
        self._show = show
        self._before = state.seconds
        self._begin = time.monotonic()
        self._suspects: list[int] = []  # seeds that may have killed a worker: each runs with nothing beside it
        self._alone = False
        self._last: tuple[int, Recorded] | None = None  # the seed that was recorded last
        done = {outcome.seed for outcome in state.outcomes}
        self._fresh: Iterator[int] = (s for s in count(seed) if s not in done)
        self._out = 0  # seeds handed out and not back
        for outcome in state.outcomes:
            self._count(outcome, {(f.property, f.anomaly, f.causes): f for f in state.findings})

    @property
    def seconds(self) -> float:
        """Time spent, that before a resumption included."""
        return self._before + time.monotonic() - self._begin

    @property
    def runs_per_s(self) -> float:
        """Seeds a second, in this sitting."""
        spent = time.monotonic() - self._begin
        return (self.tally.runs - self.resumed) / spent if spent > 0 else 0.0

    def run(self) -> None:
        """Until the budget is spent; Ctrl-C ends it early, with everything recorded kept. Raises RecordingError."""
        executor = self._make_executor()
        pending: Pending = {}
        try:
            while True:
                try:
                    self._hand_out(executor, pending)
                    if not pending:
                        return
                    self._take(pending)
                except BrokenProcessPool:
                    self._put_back(pending)
                    stop(executor)
                    executor = self._make_executor()
                self._show(self)
        except KeyboardInterrupt:
            self.interrupted = True
        finally:
            stop(executor)

    # ------------------------------------------------------------ chunks
    def _hand_out(self, executor: Executor, pending: Pending) -> None:
        if self._suspects:
            if not pending:
                self._alone = True
                self._submit(executor, pending, [self._suspects.pop()])
            return
        self._alone = False
        while len(pending) < 2 * self._workers:
            seeds = self._seeds()
            if not seeds:
                return
            self._submit(executor, pending, seeds)
            if self._workers == 1:
                return  # the call was made here: take its results first

    def _submit(self, executor: Executor, pending: Pending, seeds: list[int]) -> None:
        self._out += len(seeds)
        pending[executor.submit(run_chunk, self.job, seeds)] = seeds

    def _seeds(self) -> list[int]:
        """The next chunk; empty when the budget is spent."""
        per_worker = self.runs_per_s / self._workers
        size = max(1, min(CHUNK, int(per_worker * CHUNK_S)))
        if self.budget.runs is not None:
            left = self.budget.runs - self.tally.runs - self._out
            size = min(size, -(-left // self._workers), left)
        if self.budget.seconds is not None and self.seconds >= self.budget.seconds:
            return []
        return [next(self._fresh) for _ in range(size)]

    def _take(self, pending: Pending) -> None:
        done, _ = wait(pending, timeout=0.5, return_when=FIRST_COMPLETED)
        for future in done:
            try:
                outcomes = future.result()  # raises BrokenProcessPool while the chunk is still in `pending`
            except LostError:
                self._put_back({future: pending.pop(future)})
                continue
            self._out -= len(pending.pop(future))
            self._keep(outcomes)

    def _keep(self, outcomes: list[Outcome]) -> None:
        self._state.append(Line(chunk=outcomes, seconds=round(self.seconds, 3)))
        for outcome in outcomes:
            self._count(outcome, {})

    def _put_back(self, pending: Pending) -> None:
        """A worker died of these chunks. A seed that ran alone is to blame; else each is tried on its own."""
        seeds = sorted(seed for chunk in pending.values() for seed in chunk)
        pending.clear()
        self._out -= len(seeds)
        if self._alone:
            self._keep([Outcome(seed, error="its worker process died (out of memory?)") for seed in seeds])
        else:
            self._suspects += reversed(seeds)

    # ------------------------------------------------------------ findings
    def _count(self, outcome: Outcome, recorded: dict[tuple[str, str, tuple[str, ...]], Finding]) -> None:
        self.tally.add(outcome)
        for failure in outcome.failures:
            known = next((f for f in self.findings if _same(f, failure) and set(f.causes) <= set(outcome.causes)), None)
            if known is not None:
                known.count += 1
                continue
            key = (failure.property, failure.anomaly, outcome.causes)
            finding = recorded.get(key)
            if finding is None:
                finding = self._found(outcome, failure)
                self._state.append(Line(finding=finding))
            else:
                finding.count = 1
            wider = [f for f in self.findings if _same(f, failure) and set(f.causes) > set(finding.causes)]
            finding.count += sum(f.count for f in wider)
            self.findings = [f for f in self.findings if f not in wider] + [finding]

    def _found(self, outcome: Outcome, failure: Failure) -> Finding:
        """A new finding, recorded: one run directory a seed, however many properties broke in it."""
        if self._last is None or self._last[0] != outcome.seed:
            self._last = outcome.seed, self._record(self.job, outcome)
        run = self._last[1]
        return Finding(
            failure.property, failure.anomaly, outcome.causes, outcome.seed, failure.summary, failure.surprise,
            outcome.regime, run.run, run.scenario, run.reproduced,
        )  # fmt: skip

    @property
    def surprises(self) -> list[Finding]:
        """Findings that no declared adversary may cause."""
        return [finding for finding in self.findings if finding.surprise]

    @property
    def vacuous(self) -> list[str]:
        """Goals without which a campaign of this kind has shown nothing (coverage.REQUIRED)."""
        return vacuous(self.job.generator, self.tally.runs - len(self.tally.errors), self.tally.goals)

    def document(self) -> dict[str, Any]:
        """The JSON shape of `search` (architecture section 7), and what stands behind the numbers."""
        tally = self.tally
        return {
            "runs": tally.runs,
            "failures": [_failure(f) for f in sorted(self.findings, key=lambda f: (f.seed, f.property, f.anomaly))],
            "runs_per_s": round(self.runs_per_s, 2),
            "seconds": round(self.seconds, 1),
            "generator": self.job.generator,
            "regime": self.job.regime,
            "resumed": self.resumed,
            "interrupted": self.interrupted,
            "clean": tally.clean,
            "upper_bound": 3 / tally.clean if tally.clean and not self.surprises else None,
            "unknown": {kind: tally.unknown[kind] for kind in ("did not bite", "nothing to examine", "other")},
            "unknown_reasons": dict(tally.reasons.most_common(20)),
            "errors": [{"seed": o.seed, "error": o.error.strip().splitlines()[-1]} for o in tally.errors[:20]],
            "properties": {name: dict(counts) for name, counts in sorted(tally.properties.items())},
            "coverage": {
                "cells": len(tally.cells),
                "states": len(tally.states),
                "views": tally.views,
                "goals": {goal: tally.goals[goal] for goal in ALL_GOALS},
                "missed": self.vacuous,
            },
            "state": str(self._state.path),
        }


def _same(finding: Finding, failure: Failure) -> bool:
    return (finding.property, finding.anomaly) == (failure.property, failure.anomaly)


def _failure(finding: Finding) -> dict[str, Any]:
    return {**msgspec.structs.asdict(finding), "causes": list(finding.causes)}
