"""The parts of shrinking: lists, ranges, edits, names, chance."""

from __future__ import annotations

import random
from typing import Any

import pytest

from faults import topology
from harness.shrinking import edits
from harness.shrinking.minimal import ddmin, smallest, squeeze
from harness.shrinking.pinning import groups_of, pinned
from harness.shrinking.renaming import keep, spread
from results.history import Operation
from tests.runs import small_info

NODES = [f"n{i}" for i in range(7)] + ["g0", "g1"]


# ---------------------------------------------------------------- minimal
@pytest.mark.parametrize("needed", [set(), {3}, {0, 10}, {1, 2, 7}, set(range(11))])
def test_ddmin_finds_what_is_needed(needed: set[int]) -> None:
    asked: list[list[int]] = []

    def fails(part: list[int]) -> bool:
        asked.append(part)
        return needed <= set(part)

    assert ddmin(list(range(11)), fails) == sorted(needed)
    assert len(asked) <= 11 * 11


def test_ddmin_needs_few_questions_for_one_culprit() -> None:
    asked = 0

    def fails(part: list[int]) -> bool:
        nonlocal asked
        asked += 1
        return 9 in part

    assert ddmin(list(range(12)), fails) == [9]
    assert asked <= 14


def test_ddmin_keeps_the_least_number_it_is_told_to() -> None:
    asked: list[list[int]] = []

    def fails(part: list[int]) -> bool:
        asked.append(part)
        return True

    assert len(ddmin([1, 2, 3], fails, least=1)) == 1
    assert [] not in asked
    assert ddmin([], fails) == []
    assert ddmin([5], fails, least=1) == [5]


def test_smallest_and_squeeze_find_the_edges() -> None:
    assert smallest(0, 100, lambda n: n >= 37) == 37
    assert smallest(5, 5, lambda n: False) == 5
    assert smallest(0, 8, lambda n: False) == 8
    assert squeeze(0, 100, lambda low, high: low <= 40 and high >= 43) == (40, 43)
    assert squeeze(3, 4, lambda low, high: pytest.fail("there is nothing narrower")) == (3, 4)


# ---------------------------------------------------------------- edits
def values() -> dict[str, Any]:
    return {
        "name": "n1-goes-nowhere",
        "cluster": {"nodes": 7, "clans": 2, "gateways": 2},
        "network": {"latency": "uniform:50", "jitter_ms": 3},
        "workload": {"kind": "transfers", "duration": "12s"},
        "adversary": {
            "nodes": ["n4", "n5", "n6"],
            "behaviour": [
                {"use": "double-voter", "nodes": ["n4"], "options": {"halves": [["n0", "g1"], ["n3"]]}},
                {"use": "silent-leader", "from": "9s"},
            ],
        },
        "fault": [
            {"use": "partition", "groups": [["n0", "n1"], ["n2", "n3"]], "from": "2s", "until": "8s"},
            {"use": "crash", "victims": ["n1"], "from": "500ms"},
            {"use": "message", "links": ["n0>n1", "n0>n3"], "heard": "VOTE 38 n0 n3", "path": "n1.py:n1"},
            {"use": "message", "heard": "VOTE 38 n0 n1", "views": [1, 9], "steps": [{"to": ["n0", "n3"]}, {"to": []}]},
        ],
    }


def test_put_copies_and_takes_empty_tables_along() -> None:
    before = values()
    after = edits.put(before, ("adversary", "behaviour"), None)
    assert before == values()
    assert after["adversary"] == {"nodes": ["n4", "n5", "n6"]}
    assert "adversary" not in edits.put(after, ("adversary", "nodes"), None)
    assert edits.put(before, ("network", "jitter_ms"), None)["network"] == {"latency": "uniform:50"}
    assert edits.put(before, ("run", "warm"), None) == before
    assert edits.put({"network": {"latency": "lan"}}, ("network", "latency"), None) == {"network": {}}
    assert edits.get(before, ("fault", 1, "victims", 0)) == "n1"
    assert edits.get(before, ("fault", 9, "victims"), "none") == "none"


def test_windows() -> None:
    entry = {"use": "x", "from": "2s", "until": "8s"}
    assert (edits.start_of(entry), edits.end_of(entry)) == (2000, 8000)
    assert edits.windowed(entry, 0, None) == {"use": "x"}
    assert edits.windowed(entry, 1500, 3000) == {"use": "x", "from": "1500ms", "until": "3s"}
    assert edits.union(entry, {"use": "x", "until": "1s"}) == {"use": "x", "until": "8s"}
    assert edits.union(entry, {"use": "x", "from": "3s"}) == {"use": "x", "from": "2s"}
    assert edits.union(entry, {"use": "y"}) is None


def test_a_load_that_is_cut_short_takes_what_comes_later_along() -> None:
    short = edits.cut_short(values(), 5)
    assert short["workload"]["duration"] == "5s"
    assert short["fault"][0] == {"use": "partition", "groups": [["n0", "n1"], ["n2", "n3"]], "from": "2s"}
    assert [b["use"] for b in short["adversary"]["behaviour"]] == ["double-voter"]
    alone = values()
    del alone["adversary"]["behaviour"][0]
    assert "adversary" not in edits.cut_short(alone, 5)


def test_corrupting_fewer_keeps_behaviours_of_those_who_are_left() -> None:
    fewer = edits.corrupting(values(), ["n5"])
    assert fewer["adversary"]["nodes"] == ["n5"]
    assert [b["use"] for b in fewer["adversary"]["behaviour"]] == ["silent-leader"]
    assert "adversary" not in edits.corrupting(values(), [])


# ---------------------------------------------------------------- names
def test_fewer_nodes_move_up_everywhere() -> None:
    kept = keep(values(), ["n0", "n3", "n4", "n5"], ["g1"])
    assert kept["name"] == "n1-goes-nowhere"
    assert kept["cluster"] == {"nodes": 4, "clans": 1, "gateways": 1}
    assert kept["adversary"]["nodes"] == ["n2", "n3"]
    assert kept["adversary"]["behaviour"][0] == {
        "use": "double-voter", "nodes": ["n2"], "options": {"halves": [["n0", "g0"], ["n1"]]},
    }  # fmt: skip
    assert kept["fault"][0]["groups"] == [["n0"], ["n1"]]
    assert kept["fault"][1] == {"use": "crash", "from": "500ms"}
    assert kept["fault"][2] == {"use": "message", "links": ["n0>n1"], "heard": "VOTE 38 n0 n1", "path": "n1.py:n1"}
    assert "heard" not in kept["fault"][3]


def test_lists_are_found_wherever_they_are() -> None:
    assert edits.lists(values(), ("fault", 0)) == [
        ("fault", 0, "groups"), ("fault", 0, "groups", 0), ("fault", 0, "groups", 1),
    ]  # fmt: skip
    assert edits.lists(values(), ("fault", 3)) == [("fault", 3, "steps"), ("fault", 3, "steps", 0, "to")]
    assert edits.lists(values(), ("fault", 1)) == []


def test_spread_takes_from_everywhere() -> None:
    assert spread(["a", "b", "c", "d"], 2) == ["a", "c"]
    assert spread(["a"], 3) == ["a"]
    assert spread(["a", "b"], 0) == []


# ---------------------------------------------------------------- chance
def started(number: int, targets: list[str]) -> Operation:
    return Operation(0, 0, "nemesis", "info", "start", {"id": number, "targets": targets})


def fixed(fault: dict[str, Any], targets: list[str]) -> dict[str, Any]:
    info = small_info(tribe=NODES[:7], gateways=NODES[7:], byzantine=["n6"], honest=NODES[:6])
    found = pinned({"fault": [fault]}, info, [started(1, targets)])["fault"][0]
    assert isinstance(found, dict)
    return found


def test_corrupted_nodes_and_victims_get_names() -> None:
    info = small_info(tribe=NODES[:7], gateways=NODES[7:], byzantine=["n2", "n6"])
    counted = {"adversary": {"nodes": 2, "behaviour": [{"use": "silent-leader"}]}, "fault": [{"use": "crash"}]}
    named = pinned(counted, info, [started(2, ["n4"])])
    assert named["adversary"]["nodes"] == ["n2", "n6"]
    assert named["fault"] == [{"use": "crash", "victims": ["n4"]}]
    assert pinned(named, info, [started(2, ["n4"])]) == named
    assert fixed({"use": "crash"}, []) == {"use": "crash"}  # it never began


@pytest.mark.parametrize("shape", ["halves", "bridge"])
@pytest.mark.parametrize("seed", range(4))
def test_halves_and_bridges_become_groups(shape: str, seed: int) -> None:
    make = topology.halves if shape == "halves" else topology.bridge
    links = make(NODES[:7], random.Random(seed), NODES[7:])
    found = fixed({"use": "partition", "topology": shape, "settle_s": 2}, [f"{a}>{b}" for a, b in links])
    assert set(found) == {"use", "groups", "settle_s"}
    assert set(topology.split(found["groups"])) == set(links)


@pytest.mark.parametrize("direction", ["in", "out", "both"])
def test_victims_of_partitions_get_names(direction: Any) -> None:
    links = topology.one_way(NODES, ["n3"], direction)
    fault = {"use": "partition", "topology": "one-way", "direction": direction}
    assert fixed(fault, [f"{a}>{b}" for a, b in links]) == fault | {"victims": ["n3"]}
    alone = {"use": "partition", "topology": "isolate", "victims": "minority"}
    links = topology.isolate(NODES, ["n1", "n5"])
    assert fixed(alone, [f"{a}>{b}" for a, b in links])["victims"] == ["n1", "n5"]


def test_shaped_links_name_their_victims_and_rings_stay() -> None:
    links = [f"{a}>{b}" for a, b in topology.touching(NODES, ["n2"])]
    assert fixed({"use": "latency", "delay_ms": 9, "victims": "one"}, links)["victims"] == ["n2"]
    everything = [f"{a}>{b}" for a, b in topology.all_links(NODES)]
    assert "victims" not in fixed({"use": "latency", "delay_ms": 9}, everything)
    ring = {"use": "partition", "topology": "ring"}
    assert fixed(ring, [f"{a}>{b}" for a, b in topology.ring(NODES, random.Random(1))]) == ring


def test_messages_between_chosen_nodes_get_links() -> None:
    fault = {"use": "message-loss", "senders": "one", "receivers": ["n1", "n2"], "kinds": ["VOTE"]}
    links = ["n4>n1", "n4>n2"]
    assert fixed(fault, links) == {"use": "message-loss", "kinds": ["VOTE"], "links": links}
    assert fixed({**fault, "senders": ["n4"]}, links)["senders"] == ["n4"]


def test_links_that_no_groups_explain() -> None:
    assert groups_of([("n0", "n1")], NODES) is None
