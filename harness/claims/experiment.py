"""An experiment: a named series of simulated runs, each a pure function of its number; and one run of it as a sample.

Workers know experiments by name only, so a job is two plain values (name, number) and a result is a Sample.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from checkers.index import Index, index_of
from harness import measures as measuring
from harness.backends.sim.backend import SimBackend
from harness.backends.sim.meter import Meter
from harness.expectations import NEVER, RECEIPTS
from harness.scenario import Scenario, parse
from harness.toml import Source
from harness.trial import Trial, trial
from results.claim import Sample
from results.store import RunInfo
from results.verdict import Status, Verdict

MOST_WORDS = 3  # anomalies of a property that a sample keeps
LENGTH = 400  # characters of each


class Made(msgspec.Struct, frozen=True):
    """One run, ready to be made: `group` is what differs inside the experiment."""

    values: dict[str, Any]  # of the scenario's TOML document
    seed: int
    group: str = ""

    def scenario(self) -> Scenario:
        """Raises ScenarioError for values that make no sense."""
        return parse(self.values, Source(str(self.values.get("name"))))


class Experiment(msgspec.Struct, frozen=True):
    """`make(index)`: the run of this number, from 0 to `runs` - 1. `measures` add to what every run tells.

    `weight`: CPU seconds a run takes, about; only the order of work depends on it. `meter`: what to read off the bytes.
    `beside`: runs that belong to the same sample, by name, for `meter` to compare.
    """

    name: str
    summary: str
    runs: int
    make: Callable[[int], Made]
    measures: tuple[measuring.Measure, ...] = ()
    weight: float = 1.5
    meter: Callable[[dict[str, tuple[Meter, Index]]], measuring.Measures] | None = None
    beside: Callable[[int], dict[str, Made]] | None = None


def sample_of(experiment: Experiment, index: int) -> Sample:
    """Make the run and judge it. A run that cannot be made is a sample with an error."""
    begun = time.process_time()
    made = experiment.make(index)
    try:
        if experiment.meter is None:
            found = trial(made.scenario(), made.seed)
            measured: measuring.Measures = {}
        else:
            found, measured = _metered(experiment, index, made)
        for measure in experiment.measures:
            measured |= measure(index_of(found.run))
    except Exception:
        return Sample(
            experiment.name, made.seed, "", made.group, index=index, error=traceback.format_exc(),
            cpu_s=round(time.process_time() - begun, 2),
        )  # fmt: skip
    sample = judged(found.info, found.verdicts, found.digest, measuring.usual(found.run) | measured)
    took = round(time.process_time() - begun, 2)
    return msgspec.structs.replace(sample, experiment=experiment.name, group=made.group, index=index, cpu_s=took)


def _metered(experiment: Experiment, index: int, made: Made) -> tuple[Trial, measuring.Measures]:
    """The run, and those beside it, with their bytes counted."""
    assert experiment.meter is not None
    parts = {made.group: made} | (experiment.beside(index) if experiment.beside else {})
    counted: dict[str, tuple[Meter, Index]] = {}
    first: Trial | None = None
    for name, part in parts.items():
        meter = Meter()
        found = trial(part.scenario(), part.seed, backend=SimBackend(tape=meter))
        first = first or found
        counted[name] = meter, index_of(found.run)
    assert first is not None
    return first, experiment.meter(counted)


def judged(info: RunInfo, verdicts: Iterable[Verdict], digest: str, measured: measuring.Measures) -> Sample:
    """A judged run of whatever backend as evidence."""
    statuses: dict[str, str] = {}
    anomalies: dict[str, list[str]] = {}
    reasons: dict[str, str] = {}
    defects: list[str] = []
    verdicts = list(verdicts)
    for verdict in verdicts:
        statuses[verdict.property] = verdict.status.value
        if verdict.anomalies:
            anomalies[verdict.property] = [f"{a.kind}: {a.summary}"[:LENGTH] for a in verdict.anomalies[:MOST_WORDS]]
        if verdict.status is Status.UNKNOWN:
            reasons[verdict.property] = verdict.reason.strip().splitlines()[-1][:LENGTH]
        if any(anomaly.kind in NEVER for anomaly in verdict.anomalies):
            defects.append(verdict.property)
    return Sample(
        experiment=info.name,
        seed=info.seed,
        regime=info.regime,
        backend=info.backend,
        bit=statuses.get(RECEIPTS) == Status.PASS.value,
        statuses=statuses,
        anomalies=anomalies,
        reasons=reasons,
        meant=tuple(info.expect.get("violate", ())),
        defects=tuple(defects),
        measures=measuring.of_verdicts(verdicts) | measured,
        digest=digest,
    )
