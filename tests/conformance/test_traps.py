"""Every mutant of the lab itself is noticed: UNKNOWN or a surprise, never as expected; without it, nothing is amiss."""

from __future__ import annotations

import pytest

from harness import commands, shipped
from harness.traps import Trap, load_traps, signs_of, sprung
from harness.trial import trial

TRAPS = load_traps()
SCENARIOS = sorted(name for name, path in shipped.shipped().items() if path.parent.name == "traps")
UNARMED = {trap.generator: trap for trap in TRAPS if not trap.scenario}


@pytest.mark.parametrize("trap", TRAPS, ids=lambda t: t.id)
def test_each_trap_is_noticed(trap: Trap) -> None:
    found = sprung(trap)
    assert found.caught, (trap.what, found.signs)


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_nothing_is_amiss_without_it(scenario: str) -> None:
    found = trial(commands.read_scenario(scenario), 1)
    assert found.expected is True, signs_of(found)


@pytest.mark.parametrize("trap", UNARMED.values(), ids=lambda t: t.id)
def test_no_goal_is_missed_and_no_mutant_is_missing_without_it(trap: Trap) -> None:
    assert sprung(trap, armed=False).signs == ()


def test_all_that_the_design_names_are_set() -> None:
    assert {f"I{number}" for number in range(1, 15)} <= {trap.id for trap in TRAPS}
    assert set(SCENARIOS) <= {trap.scenario for trap in TRAPS}
