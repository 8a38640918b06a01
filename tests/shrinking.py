"""A stand-in for the simulator: trials that fail when a scenario still has what a planted violation needs."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from harness.backends.sim.backend import SimBackend
from harness.genesis import random_of
from harness.regime import draw_byzantine, regime_of
from harness.scenario import Scenario
from harness.trial import Trial
from results.verdict import Anomaly, Status, Verdict
from tests.runs import small_info

SECOND = 1_000_000_000


class Records:
    """A run without records."""

    history: Sequence[Any] = ()
    trace: Sequence[Any] = ()


class FakeJudge:
    """Says FAIL for `property` when `fails(scenario)`; counts and keeps what it was asked."""

    def __init__(self, fails: Callable[[Scenario], bool], property: str = "fork", kind: str = "fork") -> None:
        self.asked: list[tuple[Scenario, int]] = []
        self._fails, self._property, self._kind = fails, property, kind

    def __call__(
        self, scenario: Scenario, seed: int, checkers: Sequence[str] | None = None, backend: SimBackend | None = None
    ) -> Trial:
        self.asked.append((scenario, seed))
        byzantine = draw_byzantine(scenario, random_of(seed, "byzantine"))
        beyond = bool(regime_of(scenario, byzantine).beyond)
        failed = self._fails(scenario)
        witness = [{"time": 2 * SECOND, "node": "n0", "event": "finalise", "block": "aa" * 32}]
        anomalies = [Anomaly(self._kind, "n0 contradicts n1", witness)] if failed else []
        verdict = Verdict(self._property, Status.FAIL if failed else Status.PASS, 1, anomalies)
        info = small_info(
            backend="sim",
            scenario=scenario.raw,
            regime="beyond" if beyond else "within",
            tribe=list(scenario.cluster.tribe),
            gateways=list(scenario.cluster.gateways),
            clans=[list(clan) for clan in scenario.cluster.clans],
            honest=[n for n in scenario.cluster.tribe if n not in byzantine],
            byzantine=list(byzantine),
            load_start=SECOND,
            seed=seed,
        )
        told = {k: v for k, v in scenario.raw.items() if k not in ("name", "description", "expect", "checks")}
        digest = hashlib.sha256(msgspec.json.encode([told, seed], order="deterministic")).hexdigest()
        return Trial(scenario, seed, info, (verdict,), failed is beyond, digest, Records())
