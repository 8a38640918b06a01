"""The boundary pairs of protocol.md 6.4: what holds at each bound, and what must break one node past it."""

from __future__ import annotations

from typing import Any

import pytest

from harness.commands import read_scenario
from harness.scenario import Scenario, parse
from harness.shipped import ROOT
from harness.toml import Source
from harness.trial import trial
from results.verdict import Status

WITNESSED = {  # layer -> the anomalies that the scripted witness must end in
    "amnesia": {("fork", "fork"), ("prefix", "diverged")},
    "clan-data": {("availability", "lost-batch")},
    "clan-liveness": {("finality-bounds", "unfinished"), ("liveness", "execution-stalled")},
    "clan-state": {("state-root", "false-root-certified")},
    "family": {("censorship", "censored")},
    "tribe": {("fork", "fork"), ("fork", "two-certificates")},
    "tribe-liveness": {("liveness", "stalled")},
}


def faulty(scenario: Scenario) -> int:
    return scenario.adversary.count + scenario.adversary.amnesiacs


def test_every_layer_has_its_pair() -> None:
    names = {path.stem for path in (ROOT / "boundary").glob("*.toml")}
    assert names == {f"{layer}-{side}-bound" for layer in WITNESSED for side in ("at", "past")}


@pytest.mark.parametrize("layer", WITNESSED)
def test_a_pair_is_one_attack_with_one_node_more(layer: str) -> None:
    at, past = read_scenario(f"{layer}-at-bound"), read_scenario(f"{layer}-past-bound")
    assert faulty(past) == faulty(at) + 1
    for of in (
        lambda s: (len(s.cluster.tribe), s.cluster.clans, s.cluster.gateways, s.cluster.parameters),
        lambda s: (s.network, s.workload, s.bounds),
        lambda s: [(b.use, b.from_s, b.until_s, sorted(b.options)) for b in s.adversary.behaviours],
        lambda s: [(f.use, f.from_s, f.until_s, sorted(f.parameters)) for f in s.faults],
    ):
        assert of(at) == of(past)
    assert set(past.expect.violate) | set(past.expect.hold) <= {*at.checks}


@pytest.mark.parametrize("layer", WITNESSED)
def test_at_the_bound_it_holds(layer: str) -> None:
    found = trial(read_scenario(f"{layer}-at-bound"), 1)
    assert found.info.regime == "within"
    assert found.expected is True
    assert found.violated() == found.unknown() == ()
    for name in read_scenario(f"{layer}-past-bound").expect.violate:  # what breaks past it was really looked at
        verdict = next(v for v in found.verdicts if v.property == name)
        assert verdict.status is Status.PASS
        assert verdict.examined > 0


@pytest.mark.parametrize("layer", WITNESSED)
def test_past_the_bound_it_breaks_as_scripted(layer: str) -> None:
    found = trial(read_scenario(f"{layer}-past-bound"), 1)
    assert found.info.regime == "beyond"
    assert found.expected is True
    assert WITNESSED[layer] <= set(found.anomalies())


def test_without_the_loss_of_its_votes_the_amnesiac_is_harmless() -> None:
    """The control: the same kill, the same partition, but the disk stays: two double voters of seven are no fork."""
    found = trial(_changed("amnesia-past-bound", _keep_the_disk), 1)
    assert found.info.regime == "within"
    assert found.expected is True


def _keep_the_disk(values: dict[str, Any]) -> None:
    values["expect"] = "hold"
    values["adversary"] |= {"amnesiacs": 0, "crashes": 1}
    for fault in values["fault"]:
        if fault["use"] == "disk-loss":
            fault["use"] = "crash"


def _changed(name: str, change: Any) -> Scenario:
    values = read_scenario(name).raw
    change(values)
    return parse(values, Source(f"changed {name}", ""))
