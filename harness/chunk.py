"""One chunk of a campaign, in whatever process it runs: some seeds of a job, each generated, run in memory and judged.

Jobs and outcomes are plain values, so that a process pool or a cluster of machines can carry them.
"""

from __future__ import annotations

import gc
import signal
import threading
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import msgspec

from faults.port import UnsupportedError
from harness import coverage
from harness.expectations import NEVER
from harness.generators import generator
from harness.outcome import UsageError
from harness.scenario import Scenario, parse
from harness.toml import Source
from harness.trial import Trial, trial
from results.verdict import Status, Verdict

IDLE, VACUOUS, OTHER = "did not bite", "nothing to examine", "other"  # why a run is unknown
RUN_CPU_S = 600.0  # of one run: some hundred times what a large one takes
_IDLE_CHECKER = "receipts"
_IDLE_END = "the pacemaker was not exercised"
_NOT_IDLE_WORDS = ("heal was not verified", "left no receipt", "message should take", "interrupted", "crashed")


class RunLimit(BaseException):
    """A run used up its processor time. No Exception: a core that raises one merely ends its node."""


class Job(msgspec.Struct, frozen=True):
    """What every chunk of a campaign needs. `base`: the base scenario's values."""

    base: dict[str, Any]
    generator: str = "swarm"
    regime: str = "within"
    fixed: tuple[str, ...] = ()

    def scenario(self, seed: int) -> Scenario:
        """The scenario of a seed. Raises ScenarioError for a base that the generator cannot use."""
        return parse(self.values(seed), Source(f"{self.base.get('name')}, {self.generator}, seed {seed}"))

    def values(self, seed: int) -> dict[str, Any]:
        """The same as a TOML document's values."""
        make = generator(self.generator)
        try:
            return make(self.base, seed, regime=self.regime, fixed=self.fixed)
        except (KeyError, TypeError, ValueError) as error:
            raise UsageError(f"generator {self.generator}, seed {seed}: {type(error).__name__}: {error}") from error


class Failure(msgspec.Struct, frozen=True):
    """A violation. `surprise`: no adversary that the scenario declares may cause it."""

    property: str
    anomaly: str  # kind
    summary: str
    surprise: bool


class Outcome(msgspec.Struct, frozen=True, omit_defaults=True):
    """A finished seed. `unknown`: (property, why, reason); `error`: why there was no judged run at all."""

    seed: int
    regime: str = ""
    failures: tuple[Failure, ...] = ()
    unknown: tuple[tuple[str, str, str], ...] = ()
    passed: tuple[str, ...] = ()
    causes: tuple[str, ...] = ()
    cells: tuple[str, ...] = ()
    states: tuple[str, ...] = ()
    goals: tuple[str, ...] = ()
    views: int = 0
    digest: str = ""
    error: str = ""


def prepare_worker() -> None:
    """In a worker process: leave Ctrl-C to the campaign, and collect garbage between chunks, hardly ever in a run."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    collect_seldom()


def collect_seldom() -> None:
    """Collect garbage between chunks, hardly ever in a run: what was loaded stays, and a run dies as a whole."""
    gc.freeze()
    gc.set_threshold(200_000, 20, 20)


def run_chunk(job: Job, seeds: Sequence[int]) -> list[Outcome]:
    """Run and judge the seeds, in order. A run that fails is an outcome with an error."""
    outcomes = [outcome_of(job, seed) for seed in seeds]
    gc.collect()  # a run is one large cycle of nodes, handlers and records: nothing else would free it
    return outcomes


def outcome_of(job: Job, seed: int) -> Outcome:
    """Run and judge one seed."""
    try:
        with limited(RUN_CPU_S):
            return judged(trial(job.scenario(seed), seed))
    except (UsageError, UnsupportedError) as error:
        return Outcome(seed, error=f"refused: {error}")
    except RunLimit:
        return Outcome(seed, error=f"nothing was judged: the run took more than {RUN_CPU_S:g} s of processor time")
    except Exception:
        return Outcome(seed, error=traceback.format_exc())


@contextmanager
def limited(seconds: float) -> Iterator[None]:
    """RunLimit is raised inside after so much processor time, and again each second, for an event loop may swallow it.
    Where signals cannot be handled (another thread than the main one) there is no limit."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def over(number: int, frame: object) -> None:
        raise RunLimit

    before = signal.signal(signal.SIGPROF, over)
    signal.setitimer(signal.ITIMER_PROF, seconds, 1.0)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0.0)
        signal.signal(signal.SIGPROF, before)


def judged(found: Trial) -> Outcome:
    """What a campaign keeps of a trial."""
    honest = set(found.info.honest) | set(found.info.gateways)
    events = [event for event in found.run.trace if event["node"] in honest]
    return Outcome(
        seed=found.seed,
        regime=found.info.regime,
        failures=failures(found),
        unknown=tuple((v.property, why(v), v.reason[:300]) for v in found.verdicts if v.status is Status.UNKNOWN),
        passed=tuple(v.property for v in found.verdicts if v.status is Status.PASS),
        causes=tuple(sorted({info.use for info in found.info.faults})),
        cells=tuple(coverage.cells(found)),
        states=tuple(coverage.states(events)),
        goals=(*coverage.goals(events), *((coverage.TWIN_LED,) if coverage.twin_led(found) else ())),
        views=max((int(event["view"]) for event in events if event["event"] == "enter"), default=0),
        digest=found.digest,
    )


def failures(found: Trial) -> tuple[Failure, ...]:
    """The violations of a trial, one of each (property, kind)."""
    first: dict[tuple[str, str], Failure] = {}
    for verdict in found.verdicts:
        for anomaly in verdict.anomalies if verdict.status is Status.FAIL else ():
            surprise = found.info.regime == "within" or anomaly.kind in NEVER
            failure = Failure(verdict.property, anomaly.kind, anomaly.summary, surprise)
            first.setdefault((verdict.property, anomaly.kind), failure)
    return tuple(first.values())


def why(verdict: Verdict) -> str:
    """The class of an UNKNOWN: a declared fault did not bite, the checker had nothing to examine, or something else."""
    if any(word in verdict.reason for word in _NOT_IDLE_WORDS):
        return OTHER
    if verdict.property == _IDLE_CHECKER or (verdict.reason.endswith(_IDLE_END) and "; " not in verdict.reason):
        return IDLE
    return OTHER if verdict.examined else VACUOUS
