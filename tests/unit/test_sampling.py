"""Clan sampling: exact probabilities against counting by hand, and against the simulation."""

from __future__ import annotations

from fractions import Fraction
from itertools import combinations

import pytest

from results.sampling import Division, agrees, majority, monte_carlo, one_clan, readings, some_clan, union_bound


def counted(division: Division) -> tuple[Fraction, Fraction]:
    """(one clan, some clan) by looking at every placement of the Byzantine members."""
    places = list(combinations(range(division.nodes), division.byzantine))
    clan = [place // division.size for place in range(division.nodes)]
    first = some = 0
    for chosen in places:
        counts = [sum(clan[p] == c for p in chosen) for c in range(division.clans)]
        first += counts[0] >= division.bad
        some += max(counts) >= division.bad
    return Fraction(first, len(places)), Fraction(some, len(places))


@pytest.mark.parametrize(
    "division", [Division(12, 4, 3, 3), Division(12, 5, 2, 3), Division(9, 3, 3, 2), Division(8, 8, 2, 4)]
)
def test_exact_values_are_those_of_counting(division: Division) -> None:
    assert (one_clan(division), some_clan(division)) == counted(division)
    assert some_clan(division) <= union_bound(division) <= 1


def test_figures_of_the_specification() -> None:
    """protocol.md 2.9, where a tie in an even clan counts as bad."""
    assert float(one_clan(Division(625, 208, 5, majority(125)))) == pytest.approx(6.92e-6, rel=2e-3)
    assert float(one_clan(Division(15, 4, 5, 2))) == pytest.approx(0.154, abs=5e-4)
    assert float(one_clan(Division(100, 33, 5, 10))) == pytest.approx(0.064, abs=5e-4)
    assert float(one_clan(Division(100, 33, 4, 13))) == pytest.approx(0.020, abs=5e-4)


def test_the_simulation_agrees_and_is_seeded() -> None:
    division = Division(300, 99, 5, 31)
    found = monte_carlo(division, 100_000)
    assert found == monte_carlo(division, 100_000)
    assert found.low <= float(some_clan(division)) <= found.high


def test_agreement_is_by_printed_digits() -> None:
    assert agrees(0.01069, 0.0107, 3) and not agrees(0.0108, 0.0107, 3)
    assert agrees(3.46e-5, 35e-6, 2) and not agrees(3.44e-5, 35e-6, 2)
    assert agrees(0.0, 0.0, 2) and not agrees(0.1, 0.0, 2)


def test_readings_say_what_they_assume() -> None:
    words = [reading.words() for reading in readings(300, 5, 99)]
    assert any("100 Byzantine of 300, bad from 30 or more of 60 (a tie counts as bad)" in word for word in words)
    with pytest.raises(ValueError, match="equal"):
        Division(10, 3, 3, 2)
