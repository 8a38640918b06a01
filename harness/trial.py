"""One simulated run in memory, judged: the unit of searching, shrinking, frontiers, claims and teeth.

The same runner, cluster, faults, behaviours and checkers as `moonquake run --backend sim`; only the files are missing.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from checkers import registry
from harness.backends.sim.backend import SimBackend
from harness.expectations import as_expected
from harness.keep import MemoryKeep, MemoryRun
from harness.plan import resolve
from harness.runner import Runner
from harness.scenario import Scenario
from results.store import RunInfo
from results.verdict import Status, Verdict


class Trial(msgspec.Struct, frozen=True):
    """A finished trial. `run` holds the records; `digest` is that of the files `moonquake run` would write."""

    scenario: Scenario
    seed: int
    info: RunInfo
    verdicts: tuple[Verdict, ...]
    expected: bool | None
    digest: str
    run: Any  # MemoryRun

    def violated(self) -> tuple[str, ...]:
        """Properties that failed."""
        return tuple(v.property for v in self.verdicts if v.status is Status.FAIL)

    def unknown(self) -> tuple[str, ...]:
        """Properties that could not be judged."""
        return tuple(v.property for v in self.verdicts if v.status is Status.UNKNOWN)

    def anomalies(self) -> tuple[tuple[str, str], ...]:
        """(property, anomaly kind) of every violation, each once, in order of the verdicts."""
        found = [(v.property, a.kind) for v in self.verdicts if v.status is Status.FAIL for a in v.anomalies]
        return tuple(dict.fromkeys(found))


def trial(
    scenario: Scenario, seed: int, checkers: Sequence[str] | None = None, backend: SimBackend | None = None
) -> Trial:
    """Run the scenario once in the simulator and judge it (by default by the checkers that it names).

    Raises ScenarioError for a scenario that makes no sense, UnsupportedError for one the simulator cannot carry out.
    """
    plan = resolve(scenario, seed, SimBackend.scheme)
    keep = MemoryKeep()
    runner = Runner(plan, backend or SimBackend(), Path("memory"), keep=keep, quiet_signals=True)
    runner.run()
    run = MemoryRun(runner.info, keep)
    verdicts = tuple(registry.judge(run, plan.checkers if checkers is None else checkers))
    expected = as_expected(runner.info.expect, verdicts) if checkers is None else None
    return Trial(scenario, seed, runner.info, verdicts, expected, keep.digest(), run)
