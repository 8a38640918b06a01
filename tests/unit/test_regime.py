"""The adversary against the bounds, and scenarios that say one thing and do another."""

from __future__ import annotations

from random import Random

import pytest

from harness.outcome import ScenarioError
from harness.plan import resolve
from harness.regime import check, draw_byzantine, regime_of, thresholds
from harness.scenario import Scenario
from tests.unit.scenarios import FAKES, changed

BEHAVIOUR = f'\n[[adversary.behaviour]]\nuse = "{FAKES}:FakeBehaviour"\n'


def made(nodes: int, adversary: str, clans: int = 1, extra: str = "") -> Scenario:
    """The minimal scenario with this tribe and this [adversary]."""
    return changed("nodes = 4", f"nodes = {nodes}\nclans = {clans}", f"[adversary]\n{adversary}\n{extra}")


@pytest.mark.parametrize(
    ("nodes", "clans", "byzantine", "name"),
    [
        (4, 1, ["n0"], "within"),
        (4, 1, ["n0", "n1"], "beyond"),
        (7, 1, ["n0", "n1"], "within"),
        (7, 1, ["n0", "n1", "n2"], "beyond"),
        (10, 2, ["n0", "n1"], "within"),  # 2 of 5 in clan 0
        (10, 2, ["n0", "n1", "n5"], "within"),  # 3 of 10 in the tribe, 2 and 1 in the clans
        (10, 2, ["n0", "n1", "n2"], "beyond"),  # the tribe bears it, clan 0 does not
        (6, 2, ["n0"], "within"),
    ],
)
def test_bounds_of_tribe_and_clans(nodes: int, clans: int, byzantine: list[str], name: str) -> None:
    it = made(nodes, f"nodes = {byzantine}", clans)
    assert regime_of(it, byzantine).name == name


def test_amnesiacs_count_like_byzantine_nodes() -> None:
    assert regime_of(made(7, "nodes = 1\namnesiacs = 1"), ["n0"]).name == "within"
    assert regime_of(made(7, "nodes = 2\namnesiacs = 1"), ["n0", "n1"]).name == "beyond"


def test_too_many_silent_nodes_in_a_clan() -> None:
    assert regime_of(made(10, "crashes = 2", 2), []).name == "within"
    regime = regime_of(made(10, "crashes = 3", 2), [])
    assert regime.beyond == (
        "3 of 5 in clan 0 may be silent at once, bound 2",
        "3 of 5 in clan 1 may be silent at once, bound 2",
    )


def test_a_blackout_costs_no_bound_and_excuses_nobody_else() -> None:
    assert regime_of(made(4, "crashes = 4"), []).beyond
    assert regime_of(made(4, "crashes = 4\nblackout = true"), []).name == "within"
    assert regime_of(made(4, 'nodes = ["n0", "n1"]\ncrashes = 4\nblackout = true'), ["n0", "n1"]).beyond
    assert regime_of(made(7, "crashes = 7\namnesiacs = 3\nblackout = true"), []).beyond


def test_named_victims_count_where_they_are() -> None:
    extra = f'[[fault]]\nuse = "{FAKES}:FakeCrash"\nvictims = ["n9"]\n'
    assert regime_of(made(10, 'nodes = ["n0", "n1"]\ncrashes = 1', 2, extra=extra), ["n0", "n1"]).name == "within"


def test_drawn_nodes_respect_the_clans_while_they_can() -> None:
    for seed in range(30):
        drawn = draw_byzantine(made(10, "nodes = 3", 2), Random(seed))
        assert len(drawn) == 3
        assert sum(n in ("n0", "n1", "n2", "n3", "n4") for n in drawn) in (1, 2)
    assert len(draw_byzantine(made(10, "nodes = 8", 2), Random(1))) == 8
    assert draw_byzantine(made(10, "nodes = 3", 2), Random(1)) == draw_byzantine(made(10, "nodes = 3", 2), Random(1))


def test_named_behaviour_nodes_are_among_the_drawn() -> None:
    it = made(7, "nodes = 2", extra=BEHAVIOUR + 'nodes = ["n5"]\n')
    assert "n5" in draw_byzantine(it, Random(3))


def test_hold_beyond_the_bound_is_refused() -> None:
    with pytest.raises(ScenarioError, match=r"over the bound \(3 Byzantine of 7 in the tribe, bound 2\).*violate"):
        resolve(made(7, 'nodes = ["n0", "n1", "n2"]', extra=BEHAVIOUR), 1)


def test_violation_within_the_bound_is_refused() -> None:
    it = changed('expect = "hold"', 'expect = { violate = "fork" }', "[adversary]\nnodes = 1" + BEHAVIOUR)
    with pytest.raises(ScenarioError, match="within every bound, where nothing may break"):
        resolve(it, 1)


def test_violation_beyond_the_bound_is_accepted() -> None:
    it = changed('expect = "hold"', 'expect = { violate = "fork" }', "[adversary]\nnodes = 2" + BEHAVIOUR)
    assert resolve(it, 1).regime.name == "beyond"


@pytest.mark.parametrize(
    ("adversary", "extra", "says"),
    [
        ("nodes = 1", BEHAVIOUR + 'nodes = ["n1", "n2"]', "declared on n1, n2, but"),
        ('nodes = ["n3"]', BEHAVIOUR + 'nodes = ["n1"]', r"allows 1 \(n3\)"),
        ("nodes = 0", BEHAVIOUR, "write nodes = 1"),
        ("nodes = 1", "", "no behaviour is declared"),
        ("crashes = 0", f'[[fault]]\nuse = "{FAKES}:FakeCrash"\nvictims = ["n1"]', "write crashes = 1"),
        ("crashes = 1", f'[[fault]]\nuse = "{FAKES}:FakeCrash"\nvictims = "minority"', "write crashes = 3"),
        ("crashes = 1", f'[[fault]]\nuse = "{FAKES}:FakeCrash"\nvictims = "nobody"', "victims = 'nobody'"),
        ("crashes = 1", f'[[fault]]\nuse = "{FAKES}:FakeAmnesia"\nvictims = ["n1"]', "write amnesiacs = 1"),
    ],
)
def test_over_budget_is_refused(adversary: str, extra: str, says: str) -> None:
    with pytest.raises(ScenarioError, match=says):
        check(made(7, adversary, extra=extra), draw_byzantine(made(7, adversary, extra=extra), Random(1)))


def test_crashes_one_after_another_need_no_larger_budget() -> None:
    fault = '[[fault]]\nuse = "{}:FakeCrash"\nvictims = ["{}"]\nfrom = "{}"\nuntil = "{}"\n'
    extra = fault.format(FAKES, "n1", "0ms", "200ms") + fault.format(FAKES, "n2", "200ms", "400ms")
    assert check(made(7, "crashes = 1", extra=extra), []).name == "within"
    extra = fault.format(FAKES, "n1", "0ms", "300ms") + fault.format(FAKES, "n2", "200ms", "400ms")
    with pytest.raises(ScenarioError, match="write crashes = 2"):
        check(made(7, "crashes = 1", extra=extra), [])


def test_no_more_nodes_are_down_than_there_are() -> None:
    """Found by the swarm: five outages at one time of a tribe of four asked for a budget of five."""
    fault = '[[fault]]\nuse = "{}:FakeCrash"\nvictims = ["n1", "n2"]\nfrom = "{}ms"\nuntil = "{}ms"\n'
    extra = "".join(fault.format(FAKES, start, 400) for start in (0, 100, 200))
    assert check(made(4, "crashes = 4", extra=extra), []).name == "within"
    with pytest.raises(ScenarioError, match="write crashes = 4"):
        check(made(4, "crashes = 3", extra=extra), [])


def test_gateways_are_nobodys_replica() -> None:
    extra = f'[[fault]]\nuse = "{FAKES}:FakeCrash"\nvictims = ["g1"]\n'
    assert check(made(7, "crashes = 0", extra=extra), []).name == "within"


def test_thresholds_of_ten_nodes_in_two_clans() -> None:
    assert thresholds(made(10, "nodes = 0", 2)) == {
        "faults": 3,
        "quorum": 7,
        "validity": 4,
        "clans": [{"size": 5, "faults": 2, "majority": 3}] * 2,
    }


def test_a_small_family_is_a_bound_of_its_own() -> None:
    small = "[cluster.parameters]\nfamily_size = 2\n"
    assert regime_of(made(7, "nodes = 1", extra=small), ["n0"]).name == "within"
    assert regime_of(made(7, "nodes = 2", extra=small), ["n0", "n1"]).beyond == (
        "2 of clan 0 may be a whole family, bound 1",
    )
