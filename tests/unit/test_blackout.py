"""A blackout of the whole tribe: those who came back are judged, since nobody else is left."""

from __future__ import annotations

from typing import Any

import pytest

from checkers import registry
from harness.commands import read_scenario
from harness.trial import Trial, trial
from results.verdict import Status, Verdict


@pytest.fixture(scope="module")
def found() -> Trial:
    return trial(read_scenario("r4-blackout-at"), 1)


class Without:
    """The run without what `nodes` finalised after the heal."""

    def __init__(self, found: Trial, *nodes: str) -> None:
        self.info, self.history, heal = found.info, found.run.history, found.info.heal
        self.trace: list[dict[str, Any]] = [
            e for e in found.run.trace if e["event"] != "finalise" or e["node"] not in nodes or int(e["time"]) < heal
        ]


def liveness(run: Any) -> Verdict:
    return next(v for v in registry.judge(run, ["liveness"]) if v.property == "liveness")


def test_everybody_who_came_back_is_judged(found: Trial) -> None:
    verdict = next(v for v in found.verdicts if v.property == "liveness")
    assert verdict.status is Status.PASS
    assert verdict.examined == 5  # four nodes, one gateway


def test_one_who_came_back_and_finalised_nothing_is_stalled(found: Trial) -> None:
    verdict = liveness(Without(found, "n2"))
    assert verdict.status is Status.FAIL
    assert "stalled" in {a.kind for a in verdict.anomalies}
    assert any("n2" in a.summary for a in verdict.anomalies)
