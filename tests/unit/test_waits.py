"""Waits for the next finalised block under a schedule, and the judges' bounds that follow from them."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from checkers.arithmetic import Bounds
from checkers.index import index_of
from checkers.liveness import _recovery_ms
from checkers.registry import judge
from checkers.waits import Wait, Waits
from results.store import RunInfo
from results.verdict import Status
from tests.golden.plants import MS
from tests.golden.story import Story
from tests.golden.world import World

TRIBE = [f"n{i}" for i in range(8)]


def info(faulty: list[str], variant: str = "pipelined", **more: Any) -> RunInfo:
    told = World(n=8, plan=(1,)).story().run().info
    leaders = more.pop("leaders", {"kind": "round-robin", "order": []})
    parameters = {**told.parameters, "variant": variant, "delta_ms": 144}
    return msgspec.structs.replace(
        told, tribe=TRIBE, byzantine=faulty, leaders=leaders, parameters=parameters, md_ms=92.8, **more
    )


@pytest.mark.parametrize(
    ("faulty", "variant", "longest"),
    [
        ([], "pipelined", Wait()),
        (["n2"], "commit", Wait(1, 0)),
        (["n2"], "pipelined", Wait(1, 1)),  # n1 alone before n2
        (["n2", "n3"], "commit", Wait(2, 0)),
        (["n2", "n4"], "commit", Wait(1, 0)),
        (["n2", "n4"], "pipelined", Wait(2, 2)),  # n1 and n3 alone
        (["n1", "n3", "n5", "n7"], "pipelined", None),
        (["n1", "n3", "n5", "n7"], "commit", Wait(1, 0)),
        (TRIBE, "commit", None),
    ],
)
def test_longest_wait(faulty: list[str], variant: str, longest: Wait | None) -> None:
    assert Waits(info(faulty, variant)).longest == longest


def test_a_wait_is_not_known_without_a_schedule() -> None:
    waits = Waits(info(["n1"], leaders={}))
    assert waits.longest is None and waits.after(3) is None


def test_a_late_leader_loses_its_first_turn_only() -> None:
    waits = Waits(info([], "commit", leaders={"kind": "fixed", "order": ["n1"]}))
    assert waits.after(0) == Wait() and waits.after(0, ["n1"]) == Wait(1, 0)


@given(
    faulty=st.sets(st.sampled_from(TRIBE)),
    late=st.sets(st.sampled_from(TRIBE)),
    variant=st.sampled_from(["commit", "pipelined"]),
    kind=st.sampled_from(["round-robin", "fair-succession"]),
    view=st.integers(0, 200),
)
def test_waits_are_what_walking_the_schedule_gives(
    faulty: set[str], late: set[str], variant: str, kind: str, view: int
) -> None:
    waits = Waits(info(sorted(faulty), variant, leaders={"kind": kind, "order": []}))
    wait, longest = waits.after(view), waits.longest
    if longest is None:
        assert faulty  # honest leaders alone always finalise
    if wait is not None and longest is not None:
        assert wait.deltas <= longest.deltas
        behind = waits.after(view, late)
        assert behind is not None and behind.failed <= wait.failed + len(late) + longest.failed * len(late)
        assert behind.deltas >= wait.deltas
    if not faulty:
        assert waits.after(view) == Wait()


def test_bounds_grow_with_the_wait_and_stay_where_they_are_given() -> None:
    """Found by the swarm: honest leaders that stand alone finalise nothing in pipelined runs."""
    plain, apart = Bounds(info([])), Bounds(info(["n2", "n4"]))
    assert plain.liveness_deltas == 12 and plain.liveness_ms == 12 * 144 + 5 * 92.8
    waited = 2 * (3 * 144 + 2 * 92.8) + 2 * (144 + 2 * 92.8)
    assert apart.liveness_ms == pytest.approx(6 * 144 + waited + 5 * 92.8)
    assert apart.inclusion_ms - plain.inclusion_ms == pytest.approx(3 * (waited - 2 * 3 * 144))
    given_bounds = Bounds(info(["n2", "n4"], checks={"bounds": {"liveness_deltas": 12}}))
    assert given_bounds.liveness_ms == plain.liveness_ms == given_bounds.recovery_ms(1, TRIBE)


def test_who_is_behind_at_the_heal_is_given_its_first_turn() -> None:
    """Seed 906383 of the swarm: n0 had restarted at the heal, led the view after it, and was too late to propose."""
    bounds = Bounds(info(["n2", "n3"]))
    late = bounds.recovery_ms(15, ["n0"])  # view 16: n0 late, 17: n1 alone, 18 and 19: n2 and n3 silent
    assert late == pytest.approx(6 * 144 + 3 * (3 * 144 + 2 * 92.8) + (144 + 2 * 92.8) + 5 * 92.8)
    assert late > bounds.liveness_ms > 2200


def entered(story: Story, node: str, view: int) -> None:
    story.add(story.events("start", node=node)[0], event="enter", view=view, via="certificate", time=500 * MS)


def test_late_is_who_was_in_an_older_view_at_the_heal() -> None:
    story = World(n=4, plan=(2, 2)).story()
    story.drop("enter")
    story.info["heal"] = 600 * MS
    story.info["leaders"] = {"kind": "round-robin", "order": []}
    for node in story.info["tribe"]:
        entered(story, node, 15)
    index = index_of(story.run())
    assert _recovery_ms(index, 600 * MS) == index.bounds.liveness_ms
    story.drop("enter", node="n0")
    entered(story, "n0", 9)
    late = ["n0"] * (Waits(story.run().info).after(15, ["n0"]) == Wait(1, 0))
    index = index_of(story.run())
    assert late == ["n0"] and _recovery_ms(index, 600 * MS) == index.bounds.recovery_ms(15, late)


# ---------------------------------------------------------------- other false alarms that campaigns found
def test_a_gateway_that_lost_its_disk_may_lock_what_is_older() -> None:
    story = World(n=4, plan=(2, 2)).story()
    last = story.events("lock")[-1]
    gateway = story.info["gateways"][0]
    for view, incarnation, time in ((last["view"], 1, 800 * MS), (story.events("lock")[0]["view"], 2, 900 * MS)):
        block = next(e["block"] for e in story.events("lock") if e["view"] == view)
        story.add(last, node=gateway, view=view, block=block, incarnation=incarnation, time=time)
    assert judge(story.run(), ["locks"])[0].status is Status.FAIL
    story.info["faults"] = [{"id": 1, "use": "disk-loss", "targets": [gateway]}]
    assert judge(story.run(), ["locks"])[0].status is Status.PASS
    story.info["faults"] = [{"id": 1, "use": "power-loss", "targets": [gateway]}]
    assert judge(story.run(), ["locks"])[0].status is Status.FAIL


def test_bytes_submitted_again_after_a_try_that_never_left_may_be_applied() -> None:
    story = World(n=4, plan=(2, 2)).story()
    done = next(op for op in story.history if op["type"] == "ok" and op["f"] == "transfer")
    invoked = next(op for op in story.history if op["type"] == "invoke" and op["tx"] == done["tx"])
    story.history.insert(0, {**invoked})
    story.history.insert(1, {**invoked, "type": "fail", "error": "never sent"})
    for place, operation in enumerate(story.history):
        operation["index"] = place
    assert judge(story.run(), ["conservation"])[0].status is Status.PASS
    done["type"] = "fail"  # now both were told that it failed
    found = judge(story.run(), ["conservation"])[0]
    assert {anomaly.kind for anomaly in found.anomalies} == {"failed-but-applied"}
