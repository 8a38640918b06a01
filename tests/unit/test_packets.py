"""The packet layer's pure part: nft text, counters, reference counts, subnets, names."""

from __future__ import annotations

import ipaddress
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.backends.packets import (
    MARK,
    RANGE,
    Cuts,
    change_script,
    choose_subnet,
    read_counters,
    table_name,
    table_owner,
    table_script,
)

A, B, C = ("n0", "n1"), ("n1", "n0"), ("n0", "n2")


def test_two_cuts_of_a_link_need_two_heals() -> None:
    cuts: Cuts[tuple[str, str]] = Cuts()
    assert cuts.cut([A, B]) == [A, B]
    assert cuts.cut([B, C]) == [C]
    assert cuts.heal([A, B]) == [A]
    assert cuts.heal([B, C]) == [B, C]


def test_a_link_named_twice_in_one_cut_is_cut_once() -> None:
    cuts: Cuts[tuple[str, str]] = Cuts()
    assert cuts.cut([A, A]) == [A]
    assert cuts.heal([A]) == [A]


def test_healing_what_is_not_cut_names_it_and_changes_nothing() -> None:
    cuts: Cuts[tuple[str, str]] = Cuts()
    cuts.cut([A])
    with pytest.raises(ValueError, match=r"n0>n2.*every heal needs a cut"):
        cuts.heal([A, C])
    assert cuts.heal([A]) == [A]


@settings(max_examples=60)
@given(st.lists(st.sets(st.sampled_from([A, B, C]), min_size=1), max_size=8))
def test_as_many_heals_as_cuts_leave_nothing_cut(groups: list[set[tuple[str, str]]]) -> None:
    cuts: Cuts[tuple[str, str]] = Cuts()
    added = [link for group in groups for link in cuts.cut(sorted(group))]
    removed = [link for group in reversed(groups) for link in cuts.heal(sorted(group))]
    assert sorted(added) == sorted(removed)
    assert sorted(cuts.cut([A, B, C])) == sorted([A, B, C])


def test_the_table_drops_on_entry_and_on_exit_and_marks_shaped_pairs() -> None:
    text = table_script("moonquake_1_2_r", 77)
    assert text.count("@cuts drop") == 2
    assert "hook forward" in text and "hook postrouting" in text
    assert f"@shaped meta mark set {MARK | 77:#x}" in text
    assert "queue" not in text
    assert "queue flags bypass to 77" in table_script("t", 77, native_queue=True)
    assert "@shaped" not in table_script("t", None)


def test_one_change_is_one_transaction_deletes_first() -> None:
    text = change_script("t", "cuts", add=[("198.18.0.2", "198.18.0.3")], delete=[("198.18.0.4", "198.18.0.5")])
    assert text.splitlines() == [
        "delete element bridge t cuts { 198.18.0.4 . 198.18.0.5 }",
        "add element bridge t cuts { 198.18.0.2 . 198.18.0.3 }",
    ]
    assert change_script("t", "cuts") == ""


def test_counters_of_set_elements() -> None:
    element = {"elem": {"val": {"concat": ["198.18.0.2", "198.18.0.3"]}, "counter": {"packets": 7, "bytes": 9}}}
    answer = [{"metainfo": {}}, {"set": {"name": "cuts", "elem": [element]}}]
    assert read_counters(answer) == {("198.18.0.2", "198.18.0.3"): 7}
    assert read_counters([{"set": {"name": "cuts"}}]) == {}


def test_a_table_says_whose_it_is() -> None:
    name = table_name("smoke-1a2b", "4711:998877")
    assert name == "moonquake_4711_998877_smoke_1a2b"
    assert table_owner(name) == "4711:998877"
    assert [table_owner(n) for n in ("filter", "moonquake_", "moonquake_x_1_r", "moonquake_12")] == [None] * 4


@settings(max_examples=40)
@given(st.lists(st.sampled_from([str(n) for n in RANGE.subnets(new_prefix=20)]), max_size=6), st.integers(1, 700))
def test_a_chosen_subnet_is_free_and_large_enough(used: list[str], hosts: int) -> None:
    subnet = choose_subnet([*used, "fd00::/8", "default"], hosts, Random(hosts))
    assert subnet.subnet_of(RANGE)
    assert subnet.num_addresses - 3 >= hosts  # network, broadcast and the bridge's own address
    assert not any(subnet.overlaps(ipaddress.IPv4Network(n)) for n in used)


def test_no_free_subnet_names_the_cure() -> None:
    with pytest.raises(ValueError, match="doctor --clean"):
        choose_subnet([str(RANGE)], 4, Random(0))
