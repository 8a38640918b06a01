"""Every planted violation and every forged record of tests/mutants is noticed; the runs they spoil pass unspoilt.

`python -m tests.mutants.measure RUN_DIR ...` does the same to recorded runs.
"""

from __future__ import annotations

from random import Random

import pytest

from checkers.registry import judge, names
from harness.expectations import names_to_judge
from results.verdict import Status
from tests.golden.story import Record, Story
from tests.golden.world import World
from tests.mutants.measure import missed
from tests.mutants.records import MS, PLANTS, SECOND, Plant

CUT = ["n0>n1", "n1>n0"]


def _declare(story: Story, use: str, targets: list[str], start: int, stop: int) -> None:
    """A fault with a good receipt."""
    receipt: Record = {"targets": targets, "injected": start, "healed": stop, "matched": 1, "changed": 0, "dropped": 9}
    receipt |= {"bit": True, "heal_verified": True}
    story.info["faults"] = [{"id": 1, "use": use, "start": start, "stop": stop, "targets": targets}]
    story.info["heal"] = stop
    for time, f, more in ((start, "start", {}), (stop, "stop", {"receipt": receipt})):
        value = {"id": 1, "use": use, "kind": "fault", "targets": targets, **more}
        story.tell({"index": 0, "time": time, "process": "nemesis", "type": "info", "f": f, "value": value})


def _base(gateways: int = 1) -> Story:
    """Ten seconds of four honest nodes, with the run.json of a real scenario."""
    origin = World(plan=(8, 4, 2, *([0] * 46)), seed=3, gateways=gateways)
    story = origin.story().copy()
    story.info["scenario"] |= {"cluster": {"nodes": 4}, "adversary": {}}
    story.info["thresholds"] = {"faults": 1, "quorum": 3, "clans": [{"size": 4, "majority": 2}]}
    return story


def partitioned() -> Story:
    story = _base()
    _declare(story, "partition", CUT, 3 * SECOND, 6 * SECOND)
    return story


def crashed() -> Story:
    """n3 is down from 3 s to 6 s, and learns afterwards what it missed."""
    story = _base()
    start, stop = 3 * SECOND, 6 * SECOND
    story.info["crashed"], story.info["scenario"]["adversary"] = ["n3"], {"crashes": 1}
    _declare(story, "crash", ["n3"], start, stop)
    kept = []
    for event in story.trace:
        down = event["node"] == "n3" and start <= event["time"] <= stop
        if down and event["event"] not in ("finalise", "execute"):
            continue
        if down:
            event["time"] = stop + 2 * MS + event["height"]
        if event["node"] == "n3" and event["time"] > stop:
            event["incarnation"] = 2
        kept.append(event)
    story.trace = kept
    story.add({"event": "restart", "recovered": 5}, node="n3", incarnation=2, time=stop + MS)
    story.add({"event": "timeout", "view": 20, "lock_view": 19}, node="n0", incarnation=1, time=start + SECOND)
    return story


def duplicated() -> Story:
    """Every transaction of the load is forwarded by a second gateway as well."""
    story = _base(gateways=2)
    story.info["scenario"]["workload"] = {"kind": "duplicates"}
    for forward in list(story.events("forward")):
        story.add(forward, node=story.info["gateways"][1], time=forward["time"] + MS)
    return story


BASES = {"partitioned": partitioned, "crashed": crashed, "duplicated": duplicated}
STORIES = {name: make() for name, make in BASES.items()}


@pytest.mark.parametrize("base", BASES)
def test_unspoilt_they_pass(base: str) -> None:
    for verdict in judge(STORIES[base].run(), names_to_judge([], {}, names())):
        assert verdict.status is Status.PASS, verdict


@pytest.mark.parametrize("plant", PLANTS, ids=lambda p: p.name.replace(" ", "-"))
def test_each_is_noticed(plant: Plant) -> None:
    """On the first run that has something to alter, at two random places."""
    for base, story in STORIES.items():
        found = [missed(story, plant, seed) for seed in range(2)]
        assert not any(found), (base, found)
        if None not in found:
            return


def test_the_plants_find_something_to_spoil() -> None:
    """A plant that never applies shows nothing: only those that need a corrupted node may."""
    idle = {p.name for p in PLANTS if not any(p.alter(story.copy(), Random(0)) for story in STORIES.values())}
    assert idle == {
        "timeout certificate one short",
        "a corrupted node that never had an occasion",
        "an attack that no honest node noticed",
    }
