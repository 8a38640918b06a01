"""Attacks on batches, buckets and execution: each does what its side of the bound says.

`<id>-<name>-at`: the attack bites and everything holds. `<id>-<name>-past`: the same attack with more nodes than the
bound allows, and the named property breaks. Ids are those of protocol.md 5.3 to 5.8.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from faults.byzantine.port import Behaviour
from faults.byzantine.registry import BEHAVIOURS
from faults.registry import find
from harness.attacks import behaviours, library, markdown
from harness.commands import read_scenario
from harness.scenario import Scenario
from harness.shipped import ROOT
from harness.trial import trial
from results.verdict import Status
from tests.conformance.attack_signs import SIGNS

NAMES = sorted(path.stem for path in Path(ROOT / "attacks").glob("[bde]*.toml"))
AT = [name for name in NAMES if name.endswith("-at")]
PAST = [name for name in NAMES if name.endswith("-past")]
NAME = re.compile(r"([bcdelr]\d+)-[a-z0-9-]+-(at|past)")


def faulty(scenario: Scenario) -> int:
    adversary = scenario.adversary
    return adversary.count + adversary.amnesiacs + adversary.crashes


@pytest.mark.parametrize("name", NAMES)
def test_a_name_says_which_attack_it_is(name: str) -> None:
    match = NAME.fullmatch(name)
    assert match, f"{name}: must be <id>-<name>-at or <id>-<name>-past"
    scenario = read_scenario(name)
    ident = match[1].upper()
    assert scenario.name == name
    assert scenario.description.startswith(ident)
    kinds = [find(BEHAVIOURS, behaviour.use) for behaviour in scenario.adversary.behaviours]
    carried_out = {attack for kind in kinds if issubclass(kind, Behaviour) for attack in kind.attacks}
    assert ident in carried_out or not kinds or "scripted" in (b.use for b in scenario.adversary.behaviours)


@pytest.mark.parametrize("name", PAST)
def test_a_pair_is_one_attack_with_more_nodes(name: str) -> None:
    past, at = read_scenario(name), read_scenario(name.removesuffix("past") + "at")
    assert faulty(past) > faulty(at)
    assert {b.use for b in at.adversary.behaviours} <= {b.use for b in past.adversary.behaviours}
    assert past.workload.kind == at.workload.kind


@pytest.mark.parametrize("name", AT)
def test_at_the_bound_it_bites_and_everything_holds(name: str) -> None:
    scenario = read_scenario(name)
    found = trial(scenario, 1)
    assert found.info.regime == "within"
    assert found.violated() == found.unknown() == ()
    assert found.expected is True
    assert SIGNS.get(name, lambda _: True)(found), "honest nodes saw nothing of the attack"
    if name.removesuffix("at") + "past" in PAST:  # what breaks past it was looked at
        for broken in read_scenario(name.removesuffix("at") + "past").expect.violate:
            verdict = next(v for v in found.verdicts if v.property == broken)
            assert verdict.status is Status.PASS and verdict.examined > 0


@pytest.mark.parametrize("name", PAST)
def test_past_the_bound_it_breaks_what_it_aims_at(name: str) -> None:
    found = trial(read_scenario(name), 1)
    assert found.info.regime == "beyond"
    assert found.expected is True
    assert set(read_scenario(name).expect.violate) <= set(found.violated())


def test_the_page_of_the_library_is_what_the_code_says() -> None:
    page = (ROOT.parents[1] / "docs" / "attacks.md").read_text()
    assert page == markdown(), "run: moonquake list behaviours --markdown > docs/attacks.md"


def test_every_behaviour_of_the_catalogue_has_its_scenarios() -> None:
    """Whatever a behaviour says it carries out is shipped as a scenario of that id."""
    shipped = {scenario.attack for scenario in library()}
    families = {attack[0] for attack in shipped}
    claimed = {attack for entry in behaviours() for attack in entry.attacks if attack[0] in families}
    assert claimed <= shipped
