from __future__ import annotations

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faults import topology
from faults.port import Link

NODES = tuple(f"n{i}" for i in range(7))
sizes = st.integers(2, 12).map(lambda n: tuple(f"n{i}" for i in range(n)))


def heard(links: tuple[Link, ...], nodes: tuple[str, ...], node: str) -> set[str]:
    """Whom `node` still hears."""
    return {a for a in nodes if a != node and (a, node) not in links}


@settings(max_examples=40, deadline=None)
@given(sizes, st.integers(0, 99))
def test_halves_are_symmetric_balanced_and_deterministic(nodes: tuple[str, ...], seed: int) -> None:
    links = topology.halves(nodes, Random(seed))
    assert links == topology.halves(tuple(reversed(nodes)), Random(seed))
    assert {(b, a) for a, b in links} == set(links)
    n = len(nodes)
    assert len(links) == 2 * (n // 2) * ((n + 1) // 2)


@settings(max_examples=40, deadline=None)
@given(sizes.filter(lambda n: len(n) >= 3), st.integers(0, 99))
def test_a_bridge_leaves_exactly_one_node_that_hears_everybody(nodes: tuple[str, ...], seed: int) -> None:
    links = topology.bridge(nodes, Random(seed))
    complete = [n for n in nodes if len(heard(links, nodes, n)) == len(nodes) - 1]
    assert len(complete) == 1


@settings(max_examples=40, deadline=None)
@given(sizes.filter(lambda n: len(n) >= 4), st.integers(0, 99))
def test_in_a_ring_everybody_hears_two(nodes: tuple[str, ...], seed: int) -> None:
    links = topology.ring(nodes, Random(seed))
    assert all(len(heard(links, nodes, n)) == 2 for n in nodes)


def test_isolate_cuts_victims_from_each_other_too() -> None:
    links = topology.isolate(NODES, ("n1", "n2"))
    assert heard(links, NODES, "n1") == set() and heard(links, NODES, "n2") == set()
    assert heard(links, NODES, "n0") == {"n3", "n4", "n5", "n6"}


def test_one_way_cuts_one_direction() -> None:
    out = topology.one_way(NODES, ("n1",), "out")
    assert heard(out, NODES, "n1") == set(NODES) - {"n1"}
    assert all("n1" not in heard(out, NODES, n) for n in NODES)
    assert set(topology.one_way(NODES, ("n1",), "in")) == {(b, a) for a, b in out}
    assert topology.one_way(NODES, ("n1",), "both") == topology.isolate(NODES, ("n1",))


def test_a_node_in_no_group_hears_everybody() -> None:
    links = topology.split((("n0", "n1"), ("n2", "n3")))
    assert heard(links, NODES, "n6") == set(NODES) - {"n6"}
    assert heard(links, NODES, "n0") == {"n1", "n4", "n5", "n6"}


def test_riders_do_not_unbalance_the_halves() -> None:
    links = topology.halves(NODES[:6], Random(1), ("g0", "g1"))
    nodes = (*NODES[:6], "g0", "g1")
    assert all(len(heard(links, nodes, n)) == 3 for n in nodes)


@pytest.mark.parametrize("groups", [(), (("n0",),), (("n0",), ()), (("n0", "n1"), ("n1",))])
def test_split_refuses_what_is_no_split(groups: tuple[tuple[str, ...], ...]) -> None:
    with pytest.raises(ValueError, match="groups = "):
        topology.split(groups)


def test_a_bridge_of_two_is_refused() -> None:
    with pytest.raises(ValueError, match="at least three"):
        topology.bridge(("n0", "n1"), Random(0))
