"""Every generated scenario is complete, in the regime that was asked for, and a function of its seed."""

from __future__ import annotations

import tomllib
from collections import Counter
from itertools import pairwise
from typing import Any

import pytest
import tomli_w
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from faults.byzantine.registry import BEHAVIOURS as BEHAVIOUR_GROUP
from faults.registry import FAULTS as FAULT_GROUP
from faults.registry import registered
from faults.search import kinds, strategies
from faults.search.swarm import SIZES, leader_order, milliseconds, swarm
from faults.search.world import Budget, World
from harness import commands
from harness.generators import GENERATORS
from harness.plan import Plan, resolve
from harness.scenario import parse
from harness.toml import Source
from nodes.committee import clan_faults, tribe_faults, tribe_quorum

BASE = commands.read_scenario("swarm").raw
RELAXED = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
seeds = st.integers(0, 2**40)


def planned(values: dict[str, Any], seed: int) -> Plan:
    return resolve(parse(values, Source("generated", "")), seed, "ideal")


@RELAXED
@given(seeds, st.sampled_from(["swarm", "twins", "byzzfuzz"]), st.sampled_from(["within", "beyond"]))
def test_what_is_generated_runs_in_its_regime(seed: int, name: str, regime: str) -> None:
    values = GENERATORS[name](BASE, seed, regime=regime)
    assert planned(values, seed).regime.name == regime
    assert GENERATORS[name](BASE, seed, regime=regime) == values
    assert planned(tomllib.loads(tomli_w.dumps(values)), seed).scenario == planned(values, seed).scenario


@RELAXED
@given(strategies.scenarios(BASE), seeds)
def test_the_strategy_draws_what_the_generator_draws(values: dict[str, Any], seed: int) -> None:
    assert planned(values, seed).regime.name == "within"


@pytest.mark.parametrize("base", ["fork-past-tribe-bound", "bridge-partition", "lying-executors-at-clan-bound"])
def test_a_base_with_an_adversary_keeps_it(base: str) -> None:
    scenario = commands.read_scenario(base)
    own = "beyond" if scenario.expect.violate else "within"
    for seed in range(20):
        values = swarm(scenario.raw, seed, own)
        assert values.get("adversary") == scenario.raw.get("adversary")
        assert values["cluster"]["nodes"] == scenario.raw["cluster"]["nodes"]
        assert values.get("fault", [])[: len(scenario.faults)] == scenario.raw.get("fault", [])
        assert planned(values, seed).regime.name == own


def test_fixed_sections_stay_and_wrong_words_are_refused() -> None:
    values = swarm(BASE, 5, fixed=("cluster", "network"))
    assert values["network"] == BASE["network"]
    assert values["cluster"]["nodes"] == BASE["cluster"]["nodes"]
    with pytest.raises(ValueError, match="regime = 'beneath'"):
        swarm(BASE, 5, "beneath")
    with pytest.raises(ValueError, match="fixed section 'workload'"):
        swarm(BASE, 5, fixed=("workload",))
    with pytest.raises(ValueError, match="no duration"):
        milliseconds("soon")
    with pytest.raises(ValueError, match="without faults"):
        GENERATORS["twins"](commands.read_scenario("bridge-partition").raw, 1)


def test_the_swarm_uses_everything_that_is_registered() -> None:
    drawn: Counter[str] = Counter()
    sizes: Counter[int] = Counter()
    for seed in range(500):
        for regime in ("within", "beyond"):
            values = swarm(BASE, seed, regime)
            sizes[values["cluster"]["nodes"]] += 1
            drawn.update(fault["use"] for fault in values["fault"])
            drawn.update(b["use"] for b in values.get("adversary", {}).get("behaviour", ()))
    assert set(sizes) == set(SIZES)
    residues = Counter(n % 3 for n in sizes.elements())
    assert min(residues.values()) > 250
    assert set(drawn) == set(kinds.FAULTS) | set(kinds.BEHAVIOURS)
    refused = {"disk-full", "membership"}  # the simulator has no bounded disks, and its tribe does not change
    assert set(registered(FAULT_GROUP)) == {*kinds.FAULTS, *kinds.TIMED, *refused}
    assert set(registered(BEHAVIOUR_GROUP)) == {*kinds.BEHAVIOURS, *kinds.SCHEDULED}


def test_an_attack_on_hidden_certificates_gets_two_views_in_a_row_and_half_a_tribe_to_show_it_to() -> None:
    drawn = 0
    for seed in range(400):
        values = swarm(BASE, seed)
        whole = [b for b in values.get("adversary", {}).get("behaviour", ()) if kinds.BEHAVIOURS[b["use"]].whole]
        if not whole:
            continue
        drawn += 1
        byzantine, leaders = values["adversary"]["nodes"], values["cluster"]["leaders"]
        assert any(a in byzantine and b in byzantine for a, b in pairwise(leaders))
        for behaviour in whole:
            assert not {"nodes", "from", "views"} & set(behaviour)
            shown, n = len(behaviour["options"]["halves"][0]) + len(byzantine), values["cluster"]["nodes"]
            assert shown == tribe_quorum(n)
    assert drawn > 10


# ---------------------------------------------------------------- the parts
@RELAXED
@given(st.integers(4, 13), st.randoms(use_true_random=False))
def test_byzantine_leaders_are_never_more_than_f_in_a_row(n: int, rng: Any) -> None:
    tribe = tuple(f"n{i}" for i in range(n))
    world = World(rng, tribe, (), [tribe])
    for node in tribe:
        world.budget.corrupt(node)
    world.byzantine = tuple(world.budget.byzantine)
    order = leader_order(world)
    row = longest = 0
    for node in [*order, *order]:
        row = row + 1 if node in world.byzantine else 0
        longest = max(longest, row)
    assert longest <= tribe_faults(n)
    assert set(tribe) - set(world.byzantine) <= set(order)


@RELAXED
@given(st.lists(st.integers(3, 5), min_size=1, max_size=3), st.data())
def test_coalitions_stay_within_every_bound(sizes: list[int], data: st.DataObject) -> None:
    names = iter(f"n{i}" for i in range(sum(sizes)))
    clans = [[next(names) for _ in range(size)] for size in sizes]
    chosen = data.draw(strategies.coalitions(clans))
    assert len(chosen) <= tribe_faults(sum(sizes))
    assert all(len(set(clan) & set(chosen)) <= clan_faults(len(clan)) for clan in clans)
    parts = data.draw(strategies.set_partitions(chosen)) if len(chosen) > 1 else [list(chosen)]
    assert sorted(node for part in parts for node in part) == sorted(chosen)


def test_whoever_goes_down_may_not_forget_besides() -> None:
    """Seed 144 once: a node that crashed and lost its disk counted twice for harness.regime, once here."""
    budget = Budget([["n0", "n1", "n2", "n3"]])
    assert budget.crash("n0")
    assert budget.crash("n1")
    assert not budget.forget("n0")
    assert not budget.crash("n2")
    assert budget.crash("n1")
    assert budget.crashes == 3


@settings(max_examples=25, deadline=None)
@given(strategies.faults(("n0", "n1", "n2", "n3")), strategies.leaders(("n0", "n1", "n2", "n3"), ("n3",)))
def test_drawn_faults_and_leaders_are_accepted(faults: list[dict[str, Any]], leaders: list[str]) -> None:
    values = {**BASE, "cluster": {"nodes": 4, "leaders": leaders}, "fault": faults}
    victims = Counter({"crash": 0, "power-loss": 0, "disk-loss": 0})
    for fault in faults:
        victims[fault["use"]] += len([node for node in fault.get("victims", ()) if fault["use"] in victims])
    crashes = min(4, victims["crash"] + victims["power-loss"])
    values["adversary"] = {"crashes": crashes, "amnesiacs": victims["disk-loss"]}
    assert planned(values, 1).regime.name == "within"
