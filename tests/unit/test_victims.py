from __future__ import annotations

from random import Random
from typing import Any

import pytest

from faults import victims
from faults.port import NodeStatus
from nodes.committee import Committee
from tests.driver import small_config
from tests.fault_cluster import ROSTER


@pytest.mark.parametrize(("word", "count"), [("one", 1), ("minority", 3), ("third", 2), ("clan-minority:0", 1)])
def test_words_pick_so_many_honest_nodes(word: str, count: int) -> None:
    for seed in range(20):
        chosen = victims.resolve(word, ROSTER, Random(seed))
        assert len(chosen) == len(set(chosen)) == count
        assert set(chosen) <= set(ROSTER.honest)
        assert chosen == victims.resolve(word, ROSTER, Random(seed))


def test_a_clan_majority_is_one_and_prefers_the_honest() -> None:
    assert len(victims.resolve("clan-majority", ROSTER, Random(0))) == 2  # M of four: f_c + 1 with f_c = 1
    assert victims.resolve("clan-majority:1", ROSTER, Random(0)) == ("n4", "n5")


def test_the_leader_is_the_one_of_the_view() -> None:
    assert [victims.resolve("leader", ROSTER, Random(0), view) for view in (0, 1, 5)] == [("n3",), ("n1",), ("n5",)]


def test_groups_and_names() -> None:
    assert victims.resolve("all", ROSTER, Random(0)) == ROSTER.nodes
    assert victims.resolve("byzantine", ROSTER, Random(0)) == ("n6",)
    assert victims.resolve("n4", ROSTER, Random(0)) == ("n4",)
    assert victims.resolve(("n4", "g0"), ROSTER, Random(0)) == ("n4", "g0")


@pytest.mark.parametrize("spec", [("n4", "n99"), "nobody", "clan-majority:7"])
def test_who_is_not_there_is_refused(spec: Any) -> None:
    with pytest.raises(ValueError, match="victims"):
        victims.resolve(spec, ROSTER, Random(0))


@pytest.mark.parametrize("value", [3, "", [], [1], "clan-majority:x", None])
def test_malformed_victims_are_refused_by_name_and_value(value: Any) -> None:
    with pytest.raises(ValueError, match="victims = "):
        victims.parse(value)


def test_the_current_view_is_that_of_nodes_that_answer() -> None:
    assert victims.current_view([NodeStatus("n0", True, view=3), NodeStatus("n1", False, view=9)]) == 3
    assert victims.current_view([]) == 0


def test_the_primary_heads_the_family() -> None:
    committee = Committee(small_config(7))
    assert victims.primary(b"t" * 32, committee, 0) == committee.family(b"t" * 32, 0)[:1]
