"""Two copies of a replica behind one port: who hears whom, whose clock, whose disk."""

from __future__ import annotations

from typing import Any

import pytest

from faults.byzantine.config import BehaviourSpec, ByzantineConfig
from faults.byzantine.registry import corrupt, load_behaviour
from faults.byzantine.side_channel import MemoryHub
from faults.byzantine.twins import SKEW_NS, TIMER, Pair, Round, Twins
from faults.byzantine.wrapper import CorruptedNodeShell
from faults.search.twins import Canonical, permuted, twins
from harness import commands
from harness.chunk import Job
from harness.trial import trial
from nodes.committee import Committee
from nodes.messages import BatchRequest, Block, Message, Vote
from nodes.moonshot import rules
from nodes.port import CancelTimer, Emit, Expire, Multicast, Persist, Receive, Send, SetTimer, Start
from nodes.records import FinalisedRecord
from tests.coalition import Canned, sends
from tests.driver import domain_of, seed_of, small_config

CONFIG = small_config(7)
H = bytes(range(32))
ROUNDS = [
    {"view": 3, "groups": [["n0", "n1", "n2"], ["n0'", "n3", "n4", "n5", "n6"]]},
    {"view": 5, "groups": [["n0", "n1", "n2"], ["n0'", "n3", "n4", "n5", "n6"]], "one_way": "0>1"},
]


def vote(view: int, voter: str = "n1") -> Vote:
    return Vote("normal", view, H, voter, bytes(64))


def pair(*effects: Any, rounds: Any = ROUNDS) -> tuple[Pair, Canned, Canned, Twins]:
    behaviour = Twins(rounds)
    first, second = Canned(*effects), Canned(*effects)
    made = behaviour.pair(first, second, "n0", Committee(CONFIG))
    assert isinstance(made, Pair)
    return made, first, second, behaviour


def heard(core: Canned) -> list[Message]:
    return [event.message for event in core.seen if isinstance(event, Receive)]


def test_each_copy_hears_its_own_group_only() -> None:
    node, first, second, _ = pair()
    for sender in ("n1", "n3", "g0"):
        node.step(9, Receive(sender, vote(3, sender)))
    assert [m.voter for m in heard(first) if isinstance(m, Vote)] == ["n1", "g0"]  # gateways are in no group
    assert [m.voter for m in heard(second) if isinstance(m, Vote)] == ["n3", "g0"]
    node.step(9, Receive("n1", vote(4)))  # not a scheduled view
    assert heard(first)[-1] == heard(second)[-1] == vote(4)
    for sender in ("n1", "n3"):
        node.step(9, Receive(sender, vote(5, sender)))
    assert [m.voter for m in heard(first)[-2:] if isinstance(m, Vote)] == ["n1", "n3"]  # only 0>1 is cut
    assert heard(second)[-1] == vote(5, "n3")


def test_each_copy_reaches_its_own_group_only() -> None:
    node, _, _, behaviour = pair(Multicast("tribe", vote(3, "n0")))
    out = sends(node.step(9, Receive("g0", vote(4))))
    assert sorted(to for to, _ in out) == ["n1", "n2", "n3", "n4", "n5", "n6"]
    assert behaviour.receipt.dropped == 6 and behaviour.receipt.injected == 4
    node, _, _, _ = pair(Multicast("tribe", vote(2, "n0")))  # before the first round the second copy only listens
    assert node.step(9, Receive("g0", vote(4))) == [Multicast("tribe", vote(2, "n0"))]


def test_the_second_copy_has_a_clock_and_timers_of_its_own_and_no_disk() -> None:
    record = FinalisedRecord(Block("test", 0, 1, 1, H, "n1", 0, ()))
    effects = (
        SetTimer("moonshot:view", 10 * SKEW_NS), CancelTimer("moonshot:view"), Emit("enter", {}), Persist(record)
    )  # fmt: skip
    node, first, second, _ = pair(*effects)
    out = node.step(5, Receive("g0", BatchRequest(H)))
    assert out == [
        *effects,
        SetTimer(TIMER + "moonshot:view", 9 * SKEW_NS),
        CancelTimer(TIMER + "moonshot:view"),
    ]
    node.step(6, Expire(TIMER + "moonshot:view"))
    node.step(7, Expire("moonshot:view"))
    assert [event for event in second.seen if isinstance(event, Expire)] == [Expire("moonshot:view")]
    assert [event for event in first.seen if isinstance(event, Expire)] == [Expire("moonshot:view")]
    started = Start((record,))
    node.step(8, started)
    assert first.seen[-1] == started and second.seen[-1] == Start(())


def test_a_fellow_twin_s_copies_are_told_apart() -> None:
    """n1 is twinned too: what its second copy said reaches the copy of n0 that is in that one's group."""
    rounds = [{"view": 3, "groups": [["n0", "n1", "n2"], ["n0'", "n1'", "n3", "n4", "n5", "n6"]]}]
    hub = MemoryHub()
    cores = {name: Canned(Send("n0", vote(3, "n1"))) for name in ("n1", "n1'")}
    shells: dict[str, CorruptedNodeShell] = {}
    heard_by = (Canned(), Canned())
    for name, (first, second) in {"n0": heard_by, "n1": (cores["n1"], cores["n1'"])}.items():
        config = ByzantineConfig(
            name, {n: seed_of(n).hex() for n in ("n0", "n1")}, "", 1, (BehaviourSpec(1, "twins", {"rounds": rounds}),)
        )
        shells[name] = corrupt(
            first, Committee(CONFIG), domain_of(CONFIG), config, hub.join(name), again=lambda core=second: core
        )
    out = sends(shells["n1"].step(1, Receive("n3", vote(3, "n3"))))  # only the second copy hears n3 in view 3
    assert out == [("n0", vote(3, "n1"))]
    shells["n0"].step(2, Receive("n1", vote(3, "n1")))
    assert heard(heard_by[0]) == [] and heard(heard_by[1]) == [vote(3, "n1")]


@pytest.mark.parametrize(
    ("rounds", "words"),
    [
        ([], "1 to 256 tables"),
        ([{"view": 0, "groups": [["n0"], ["n1"]]}], "a view from 1 on"),
        ([{"view": 1, "groups": [["n0"], ["n0"]]}], "two disjoint groups"),
        ([{"view": 1, "groups": [["n0"], ["n1"]], "one_way": "1>2"}], "one_way"),
        ([{"view": 1, "groups": [["n0"], ["n1"]], "oneway": ""}], "unknown field"),
    ],
)
def test_schedules_that_make_no_sense_are_refused(rounds: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        load_behaviour("twins", {"rounds": rounds})


def test_a_runtime_without_a_second_core_says_so() -> None:
    spec = BehaviourSpec(1, "twins", {"rounds": ROUNDS})
    config = ByzantineConfig("n0", {"n0": seed_of("n0").hex()}, "", 1, (spec,))
    with pytest.raises(ValueError, match="cannot make a second core"):
        corrupt(Canned(), Committee(CONFIG), domain_of(CONFIG), config, MemoryHub().join("n0"))


def test_reaching() -> None:
    whole = Round(1, (("a", "b"), ("c",)))
    assert whole.reaches("a", "b") and not whole.reaches("a", "c") and whole.reaches("a", "elsewhere")
    one_way = Round(1, (("a", "b"), ("c",)), "1>0")
    assert one_way.reaches("a", "c") and not one_way.reaches("c", "a")


# ---------------------------------------------------------------- on the simulator
BASE = commands.read_scenario("swarm").raw


def test_twins_equivocate_by_themselves_and_break_nothing_within_the_bound() -> None:
    for seed in (1, 4, 12):
        done = trial(Job(BASE, "twins").scenario(seed), seed)
        assert not done.violated()
        (twin,) = (info for info in done.info.faults if info.use == "twins")
        said = [event for event in done.run.trace if event["event"] == "accuse" and event["node"] in done.info.honest]
        assert {event["culprit"] for event in said} == set(twin.targets) == set(done.info.byzantine)
        assert "receipts" not in done.unknown()


def test_a_schedule_that_outlasts_the_heal_is_no_stall() -> None:
    """Seed 100034 once: more twinned leaders in a row than f, most of them after the heal."""
    assert "liveness" not in trial(Job(BASE, "twins").scenario(100034), 100034, ["liveness"]).violated()


def test_past_the_bound_twins_fork_the_tribe() -> None:
    """About one schedule in forty does it; this is the first."""
    assert "fork" in trial(Job(BASE, "twins", "beyond").scenario(39), 39, ["fork"]).violated()


def test_a_missing_rule_is_found_by_twins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules, "may_vote_optimistic", lambda state, block: state.view == block.view)
    assert any("fork" in trial(Job(BASE, "twins").scenario(seed), seed, ["fork"]).violated() for seed in (1, 12))


def test_a_schedule_is_drawn_by_its_rank() -> None:
    values = twins(BASE, 0)
    honest = [f"n{i}" for i in range(4) if f"n{i}" not in values["adversary"]["nodes"]]
    space = Canonical(tuple(honest), tuple(values["adversary"]["nodes"]), 4)
    steps = space.schedule(permuted(0, space.count, "twins/0"))
    tables = values["adversary"]["behaviour"][0]["options"]["rounds"]
    assert [tuple(map(tuple, table["groups"])) for table in tables] == [step.groups for step in steps]
    first = tables[0]["view"]
    assert values["cluster"]["leaders"][first : first + 4] == [step.leader for step in steps]
