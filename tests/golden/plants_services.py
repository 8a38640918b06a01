"""Planted violations of what is built round consensus: forensics, accountability, order, batches, pre-confirmation."""

from __future__ import annotations

from tests.golden.planting import OTHER, plant
from tests.golden.story import Story
from tests.golden.world import World, certificate

__all__ = ["split"]


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
