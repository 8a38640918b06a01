"""Plausible bugs of the judges of runs, one changed line each: their golden runs, good and bad, kill them all."""

from __future__ import annotations

import pytest

from checkers.registry import names
from tests.golden.make import world
from tests.golden.world import World
from tests.mutants.checker_mutants import MUTANTS, killer, mistakes
from tests.mutants.test_checker_mutants_services import JUDGES

ELSEWHERE = {
    *JUDGES,
    "elle-list-append",
    "elle-rw-register",
    "linearizable",
}  # test_checker_mutants_{services,elle,linear}


@pytest.fixture(scope="module")
def origin() -> World:
    return world()


def test_every_registered_checker_has_a_mutant() -> None:
    assert {checker for checker, *_ in MUTANTS.values()} | ELSEWHERE == set(names())


@pytest.mark.parametrize("checker", sorted({checker for checker, *_ in MUTANTS.values()}))
def test_the_checkers_themselves_make_no_mistake(checker: str, origin: World) -> None:
    assert list(mistakes(origin, checker)) == []


@pytest.mark.parametrize("name", MUTANTS)
def test_each_mutant_is_killed(name: str, origin: World) -> None:
    assert killer(name, origin) is not None
