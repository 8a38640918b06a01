"""Planted doubts about receipts: faults that did not bite, did not heal, or say what they did not do."""

from __future__ import annotations

from tests.golden.planting import OTHER, SECOND, plant
from tests.golden.story import Record, Story
from tests.golden.world import MS, World


# ---------------------------------------------------------------- receipts (never FAIL: the doubt is planted)
def declare_partition(story: Story) -> None:
    """A healthy partition: declared, injected, bitten, healed, within the load."""
    story.info["faults"] = [{"id": 1, "use": "partition", "start": 300 * MS, "stop": 500 * MS, "targets": ["n0>n1"]}]
    receipt = {
        "fault": "partition", "targets": ["n0>n1"], "injected": 300 * MS, "healed": 500 * MS, "matched": 1,
        "dropped": 9, "bit": True, "heal_verified": True,
    }  # fmt: skip
    for time, f, more in ((300, "start", {}), (500, "stop", {"receipt": receipt})):
        value = {"id": 1, "use": "partition", "kind": "fault", "targets": ["n0>n1"], **more}
        story.tell({"index": 0, "time": time * MS, "process": "nemesis", "type": "info", "f": f, "value": value})
    story.info["heal"] = 500 * MS


def _receipt(story: Story) -> Record:
    declare_partition(story)
    (stop,) = (op for op in story.history if op["process"] == "nemesis" and op["f"] == "stop")
    receipt: Record = stop["value"]["receipt"]
    return receipt


@plant("receipts", "did not bite")
def no_effect(world: World, story: Story) -> None:
    _receipt(story)["bit"] = False


@plant("receipts", "heal was not verified")
def heal_unseen(world: World, story: Story) -> None:
    _receipt(story)["heal_verified"] = False


@plant("receipts", "never started")
def never_injected(world: World, story: Story) -> None:
    declare_partition(story)
    story.history = [op for op in story.history if op["process"] != "nemesis"]
    story.tell()


@plant("receipts", "left no receipt")
def never_stopped(world: World, story: Story) -> None:
    declare_partition(story)
    story.history = [op for op in story.history if op["process"] != "nemesis" or op["f"] != "stop"]
    story.tell()


@plant("receipts", "outside the load")
def after_the_load(world: World, story: Story) -> None:
    declare_partition(story)
    story.info["load_end"] = 200 * MS


@plant("receipts", "after the last finalisation")
def after_everything(world: World, story: Story) -> None:
    declare_partition(story)
    for operation in story.history:
        if operation["process"] == "nemesis":
            operation["time"] += 60 * SECOND
    story.tell()
    story.info["load_end"] += 120 * SECOND


@plant("receipts", "not declared in run.json")
def undeclared(world: World, story: Story) -> None:
    declare_partition(story)
    story.info["faults"] = []


@plant("receipts", "counts nothing")
def all_talk(world: World, story: Story) -> None:
    _receipt(story)["dropped"] = 0


@plant("receipts", "healed after")
def healed_late(world: World, story: Story) -> None:
    declare_partition(story)
    story.info["heal"] = 400 * MS


@plant("receipts", "said to be cut")
def leaked(world: World, story: Story) -> None:
    declare_partition(story)
    start = story.events("start", node="n1")[0]
    story.add(start, event="retrieve", batch=OTHER, ok=True, time=400 * MS, **{"from": "n0"})


@plant("receipts", "active for")
def a_moment_only(world: World, story: Story) -> None:
    declare_partition(story)
    story.info["faults"][0]["start"] = 0


@plant("receipts", "one message should take")
def no_latency(world: World, story: Story) -> None:
    proposed = {event["block"]: event["time"] for event in story.events("propose")}
    for vote in story.events("vote"):
        vote["time"] = proposed[vote["block"]] + MS
