"""The boundary experiment of the tribe (protocol.md 6.4): f+1 equivocating double voters fork it, f never do."""

from __future__ import annotations

import pytest

from nodes.committee import LeaderSchedule
from tests.coalition import Arena

ATTACK = ("equivocating-leader", "double-voter")


def attacked(coalition: tuple[str, ...], cut: bool, schedule: str, seed: int) -> Arena:
    honest = [n for n in (f"n{i}" for i in range(7)) if n not in coalition]
    middle = (len(honest) + 1) // 2
    halves = [[*honest[:middle], "g0"], honest[middle:]]
    arena = Arena(
        coalition,
        [(use, {"halves": halves}) for use in ATTACK],
        halves if cut else (),
        bare=True,
        schedule=LeaderSchedule(kind=schedule),  # type: ignore[arg-type]
        seed=seed,
        start_ms=1000,
    )
    arena.driver.run(2200)
    return arena


@pytest.mark.parametrize("schedule", ["fair-succession", "round-robin"])
@pytest.mark.parametrize("coalition", [("n4", "n5", "n6"), ("n0", "n2", "n4")])
def test_three_of_seven_fork_a_tribe_cut_in_halves(coalition: tuple[str, ...], schedule: str) -> None:
    arena = attacked(coalition, cut=True, schedule=schedule, seed=1)
    forks = arena.forks()
    assert forks, "nobody forked"
    first = forks[min(forks)]
    assert len(first) == 2 and all(set(nodes) & set(arena.honest) for nodes in first.values())
    assert all(all(bits) for bits in arena.bit().values())
    assert not [e for e in arena.driver.events("halt") if e[1] in coalition]


@pytest.mark.parametrize("cut", [True, False])
@pytest.mark.parametrize(("coalition", "schedule"), [(("n5", "n6"), "fair-succession"), (("n0", "n3"), "round-robin")])
def test_two_of_seven_never_do(coalition: tuple[str, ...], schedule: str, cut: bool) -> None:
    arena = attacked(coalition, cut=cut, schedule=schedule, seed=3)
    assert arena.forks() == {}
    assert not arena.driver.events("halt")
    assert all(all(bits) for bits in arena.bit().values())
    best = max(int(arena.driver.nodes[n].height) for n in arena.honest)  # type: ignore[attr-defined]
    assert best > 20
