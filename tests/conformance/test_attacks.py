"""The attack library: every pair under harness/scenarios/attacks holds at the bound and breaks past it, as it says.

A file is named <id>-<name>-at.toml or -past.toml; the id is that of protocol.md 5.3 to 5.8. An attack that was never
carried out leaves its run UNKNOWN, which fails here.
"""

from __future__ import annotations

import re

import pytest

from faults.byzantine.port import Behaviour
from faults.byzantine.registry import BEHAVIOURS
from faults.registry import find
from harness.attacks import behaviours, markdown
from harness.backends.sim.backend import SimBackend
from harness.commands import read_scenario
from harness.plan import resolve
from harness.scenario import Scenario
from harness.shipped import ROOT
from harness.trial import Trial, trial
from tests.conformance.attack_signs import SIGNS

NAME = re.compile(r"([bcdelr][1-9]\d?)-[a-z0-9-]+-(at|past)")
ALL = sorted(path.stem for path in (ROOT / "attacks").glob("*.toml"))
PAST = [name for name in ALL if name.endswith("-past")]
LAST = {"b": 11, "c": 24, "d": 13, "e": 7, "l": 10, "r": 8}
CATALOGUE = {f"{family}{number}" for family, last in LAST.items() for number in range(1, last + 1)}
ELSEWHERE = {  # attack -> why it has no scenario here
    "b9": "wallets wait for one transaction before they sign the next; the backlog's bound: tests/unit/test_buckets.py",
    "c24": "BCFT thresholds are not implemented; a quorum without intersection is refused (nodes/committee.py)",
    "d7": "batches are sent whole: the coded mode of xRBC is not implemented",
    "e6": "there are no transfers between virtual machines",
    "l7": "there is no leader-ban registry to abuse",
    "r5": "there are no epoch changes and no checkpoints to start from; old-epoch signatures: r8, c16",
    "r6": "there are no BLS keys: certificates are Ed25519 signature lists, and no two members may share a key",
}
UNJUDGED = {  # scenario -> checker -> why it can say nothing there
    "d13-single-holder-at": {"liveness": "nobody times out: the node that loses its disk leads nothing meanwhile"},
    "r4-blackout-at": {
        "availability": "no batch is final: the load is over when everybody is back",
        "censorship": "nobody of a family never failed",
    },
}
NOBODY = ("b1", "b4", "b7", "c21", "d12", "l5", "r1", "r2", "r4")  # attacks of the network and of crashes


def attack_of(name: str) -> str:
    found = NAME.fullmatch(name)
    assert found, f"{name}: call it <id>-<name>-at or -past"
    return found[1]


def corrupted(scenario: Scenario) -> int:
    return scenario.adversary.count + scenario.adversary.amnesiacs


def behaviours_of(scenario: Scenario) -> list[type[Behaviour]]:
    return [find(BEHAVIOURS, section.use) for section in scenario.adversary.behaviours]


def explained(found: Trial) -> list[object]:
    return [(v.property, v.status.value, v.reason or [a.summary for a in v.anomalies]) for v in found.verdicts]


def checkers(scenario: Scenario) -> tuple[str, ...]:
    return resolve(scenario, 1, SimBackend.scheme).checkers


@pytest.mark.parametrize("name", [name for name in ALL if name not in PAST])
def test_at_the_bound_it_is_judged_by_all_that_swarms_are_judged_by(name: str) -> None:
    """What an attack breaks on a faulty build need not be what it aims at: many were once judged by four checkers."""
    missing = set(checkers(read_scenario("swarm"))) - set(checkers(read_scenario(name)))
    assert missing == set(UNJUDGED.get(name, {}))


@pytest.mark.parametrize("name", ALL)
def test_it_is_as_it_says(name: str) -> None:
    """At the bound everything holds although the attack was carried out; past it the named properties break."""
    found = trial(read_scenario(name), 1)
    assert found.info.regime == ("beyond" if name in PAST else "within")
    assert found.expected is True, explained(found)
    assert name not in SIGNS or SIGNS[name](found), "honest nodes saw nothing of the attack"


@pytest.mark.parametrize("name", ALL)
def test_it_carries_out_the_attack_it_is_named_for(name: str) -> None:
    attack, kinds = attack_of(name), behaviours_of(read_scenario(name))
    ids = {each.lower() for kind in kinds for each in kind.attacks}
    assert attack in ids or (attack in NOBODY and (not kinds or name in PAST))


@pytest.mark.parametrize("name", ALL)
def test_the_property_that_it_aims_at_is_judged(name: str) -> None:
    scenario = read_scenario(name)
    aimed = {c for kind in behaviours_of(scenario) for c in kind.aims_at.partition(": ")[2].split(", ")}
    judged = {*checkers(scenario), *scenario.expect.violate}
    assert "receipts" in judged
    assert aimed & judged or attack_of(name) in NOBODY


@pytest.mark.parametrize("name", PAST)
def test_past_the_bound_there_are_more_of_them_in_the_same_cluster(name: str) -> None:
    at, past = read_scenario(name.removesuffix("-past") + "-at"), read_scenario(name)
    assert corrupted(past) > corrupted(at)
    assert (at.cluster.tribe, at.cluster.parameters) == (past.cluster.tribe, past.cluster.parameters)
    assert (at.network, at.workload, at.bounds) == (past.network, past.workload, past.bounds)
    assert set(past.expect.violate) <= set(checkers(at)), "what breaks past the bound is judged at it"


def test_every_attack_of_the_catalogue_is_here_or_cannot_be() -> None:
    assert CATALOGUE - {attack_of(name) for name in ALL} == set(ELSEWHERE)


def test_what_a_behaviour_says_it_carries_out_is_here() -> None:
    claimed = {attack.lower() for entry in behaviours() for attack in entry.attacks}
    assert claimed <= {attack_of(name) for name in ALL}


def test_the_page_of_the_library_is_what_the_code_says() -> None:
    page = (ROOT.parents[1] / "docs" / "attacks.md").read_text()
    assert page == markdown(), "run: moonquake list behaviours --markdown > docs/attacks.md"


def test_signs_are_of_attacks_that_are_here() -> None:
    assert set(SIGNS) <= set(ALL)
