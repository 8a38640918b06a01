"""Every mutant of the cores is killed by its witness, by the property that must catch it; clean, every witness holds.

A survivor fails the suite. The witnesses are scripted, so one seed decides.
"""

from __future__ import annotations

import pytest

from harness import catalogue, commands
from harness.mutants import Mutant, kills, load_mutants
from harness.teeth import under_witness
from harness.trial import trial
from results.verdict import Status

MUTANTS = load_mutants()
WITNESSES = sorted({mutant.witness for mutant in MUTANTS})


@pytest.mark.parametrize("witness", WITNESSES)
def test_correct_rules_hold(witness: str) -> None:
    """Everything passes although the attack was carried out: the receipts say so."""
    result = trial(commands.read_scenario(witness), 1)
    assert result.expected is True, [v for v in result.verdicts if v.status is not Status.PASS]


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda m: m.id)
def test_each_mutant_is_killed_by_its_witness(mutant: Mutant) -> None:
    result, uses = under_witness(mutant)
    assert mutant.properties[0] in {name for name, _ in kills(mutant, result)}, (mutant.breaks, result.anomalies())
    assert all(use.differed is None or use.differed > 0 for use in uses), uses


def test_nothing_is_missing() -> None:
    """The catalogue says which mutants there must be; one that is skipped is a gap, and so is an idle witness."""
    assert catalogue.gaps(MUTANTS) == []
    assert {f"MM{n}" for n in range(1, 11)} <= {mutant.id for mutant in MUTANTS} and len(MUTANTS) >= 70


def test_each_entry_is_either_a_mutant_or_left_out_with_a_reason() -> None:
    listed = catalogue.read_catalogue()
    left_out = [entry.id for entry in listed.left_out]
    assert len({*left_out, *listed.mutants}) == len(left_out) + len(listed.mutants)
    assert all(len(entry.why) > 15 or entry.why.startswith("is ") for entry in listed.left_out)


def test_mutants_say_what_they_are() -> None:
    for mutant in MUTANTS:
        assert mutant.rule and len(mutant.breaks) > 10 and mutant.patches and mutant.properties and mutant.budget > 0
