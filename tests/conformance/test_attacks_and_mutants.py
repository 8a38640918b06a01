"""The library's attacks are aimed: at the bound, where correct rules hold, each breaks a replica without the rule.

Protocol.md 5.3 to 5.5 says of many attacks that one node is enough once a certain rule is gone. These runs are not
scripted for the mutant: the behaviour acts by its own rules, in the scenario that holds on the clean build.
"""

from __future__ import annotations

import re

import pytest

from faults.byzantine.port import Behaviour
from faults.byzantine.registry import BEHAVIOURS
from faults.registry import find, registered
from harness.commands import read_scenario
from harness.mutants import applied, kills, load_mutants
from harness.trial import trial

MUTANTS = {mutant.id: mutant for mutant in load_mutants()}
BROKEN = (  # attack at the bound, the mutant that it breaks
    ("c1-equivocating-leader-at", "MM10"),
    ("c3-two-kinds-leader-at", "MM3"),
    ("c4-normal-and-fallback-at", "MM4"),
    ("c5-optimistic-and-fallback-at", "MM1"),
    ("c6-double-voter-at", "A1"),
    ("c7-commit-equivocator-at", "C7"),
    ("c11-late-release-at", "MM7"),
    ("c12-stale-fallback-at", "MM5"),
    ("c13-timeout-forger-at", "A4"),
    ("c13-timeout-forger-at", "B9"),
    ("c15-lock-understater-at", "A11"),
    ("c16-transplanted-certificate-at", "MM2"),
    ("c16-transplanted-certificate-at", "A7"),
    ("c17-unverified-certificate-at", "MM9"),
    ("c17-unverified-certificate-at", "A5"),
    ("c19-vote-repeater-at", "MM10b"),
    ("c20-thresholds-at", "A2"),
    ("l3-selective-leader-at", "E5"),
    ("l10-certificate-swallower-at", "E16"),
    ("r8-domain-confuser-at", "A8"),
)


@pytest.mark.parametrize(("name", "mutant"), BROKEN)
def test_it_breaks_a_replica_without_the_rule(name: str, mutant: str) -> None:
    with applied(MUTANTS[mutant]) as uses:
        found = trial(read_scenario(name), 1)
    assert kills(MUTANTS[mutant], found), (MUTANTS[mutant].breaks, found.anomalies(), uses)


def test_the_mutants_that_behaviours_name_exist() -> None:
    """`breaks_at` may say "1 with mutant MM3"."""
    for use in registered(BEHAVIOURS):
        kind = find(BEHAVIOURS, use)
        assert issubclass(kind, Behaviour)
        _, _, said = kind.breaks_at.partition("mutant ")
        named = set(re.findall(r"\b[A-Z]{1,2}\d+[a-z]?\b", said))
        assert named <= set(MUTANTS), f"{use}: {named - set(MUTANTS)}"
