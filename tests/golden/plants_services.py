"""Planted violations of what is built round consensus: forensics, accountability, order, batches, pre-confirmation."""

from __future__ import annotations

from tests.golden.planting import OTHER, plant
from tests.golden.story import Record, Story
from tests.golden.world import MS, World, certificate


# ---------------------------------------------------------------- forensics
def split(world: World, story: Story) -> Story:
    """Beyond the bound: n2 and n3 sign for both halves in view 3, n0 finalises another block than n1."""
    story.info |= {"byzantine": ["n2", "n3"], "honest": ["n0", "n1"], "regime": "beyond"}
    for event in story.events("certify", node="n0", view=3):
        event |= certificate(world, event["kind"], 3, OTHER, ["n0", "n2", "n3"])
    story.events("finalise", node="n0", height=3)[0]["block"] = OTHER
    return story


@plant("forensics", "honest-accused")
def honest_node_signed_twice(world: World, story: Story) -> None:
    split(world, story).info |= {"byzantine": ["n3"], "honest": ["n0", "n1", "n2"]}


@plant("forensics", "too-few-culprits")
def fork_out_of_nothing(world: World, story: Story) -> None:
    story.events("finalise", node="n1", height=2)[0]["block"] = OTHER


# ---------------------------------------------------------------- accountability
def rescued(world: World, story: Story) -> Story:
    """The first transaction was ordered in a batch of its secondary, who recorded that."""
    batch = story.events("finalise", height=1)[0]["batches"][0]
    tx = story.events("batch", batch=batch)[0]["txs"][0]
    primary, secondary = world.committee.family(bytes.fromhex(tx), 0)[:2]
    for event in [*story.events("batch", batch=batch), *story.events("available", batch=batch)]:
        event["proposer"] = secondary
    for event in story.events("include", batch=batch):
        event |= {"node": secondary, "role": "secondary", "primary": primary}
    story.drop("body")
    return story


def _record(world: World, story: Story) -> Record:
    return rescued(world, story).events("include", role="secondary")[0]


@plant("accountability", "missing-record")
def rescued_without_a_word(world: World, story: Story) -> None:
    _record(world, story)
    story.drop("include", role="secondary")


@plant("accountability", "wrong-record")
def another_primary_blamed(world: World, story: Story) -> None:
    found = _record(world, story)
    found["primary"] = next(node for node in story.info["tribe"] if node not in (found["primary"], found["node"]))


@plant("accountability", "duplicate-record")
def blamed_twice(world: World, story: Story) -> None:
    found = _record(world, story)
    story.add(found, time=found["time"] + MS)
