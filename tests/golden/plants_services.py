"""Planted violations of what is built round consensus: forensics, accountability, order, batches, pre-confirmation."""

from __future__ import annotations

from tests.golden.planting import OTHER, bounds, outlast, plant
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


@plant("accountability", "forged-receipt")
def a_receipt_that_nobody_signed(world: World, story: Story) -> None:
    _record(world, story)
    story.events("receipt")[0]["signature"] = "00" * 64


# ---------------------------------------------------------------- order
@plant("order", "order-differs")
def batch_missing_at_one_node(world: World, story: Story) -> None:
    story.events("finalise", node="n1", height=2)[0]["batches"] = []


@plant("order", "execution-differs")
def reversed_at_one_node(world: World, story: Story) -> None:
    event = story.events("execute", node="n2", height=1)[0]
    event["applied"] = [OTHER, *event["applied"]]


@plant("order", "position-changed")
def told_differently_after_restart(world: World, story: Story) -> None:
    event = story.events("execute", node="n2", height=1)[0]
    story.add(event, incarnation=2, applied=[], time=event["time"] + MS)


@plant("order", "wrong-position")
def gateway_told_another_height(world: World, story: Story) -> None:
    story.events("gateway", phase="ord", height=1)[0]["height"] = 2


# ---------------------------------------------------------------- xrbc-agreement
def _slot_twice(story: Story) -> tuple[str, str]:
    """Give the batch of height 2 the slot of that of height 1, whose proposer is Byzantine then; returns both."""
    first, second = (story.events("finalise", height=height)[0]["batches"][0] for height in (1, 2))
    slot = {name: story.events("available", batch=first)[0][name] for name in ("clan", "proposer", "seq")}
    for name in ("available", "batch", "availability_vote"):
        for event in story.events(name, batch=second):
            event |= slot
    story.drop("body")
    culprit = slot["proposer"]
    story.info |= {"byzantine": [culprit], "honest": [node for node in story.info["tribe"] if node != culprit]}
    return first, second


@plant("xrbc-agreement", "two-effects")
def both_batches_of_a_slot(world: World, story: Story) -> None:
    _slot_twice(story)


@plant("xrbc-agreement", "disagreement")
def each_its_own_batch(world: World, story: Story) -> None:
    first, second = _slot_twice(story)
    node = next(n for n in story.info["honest"] if story.events("execute", node=n))
    for event in story.events("execute"):
        gone = first if event["node"] == node else second
        event["batches"] = [batch for batch in event["batches"] if batch != gone]


@plant("xrbc-agreement", "wrong-choice")
def batch_left_out(world: World, story: Story) -> None:
    for event in story.events("execute", height=2):
        event["batches"] = []


@plant("xrbc-agreement", "honest-equivocation")
def two_batches_of_an_honest_proposer(world: World, story: Story) -> None:
    story.add(story.events("available")[0], batch=OTHER)


# ---------------------------------------------------------------- preconfirmation
def _never_ordered(story: Story) -> str:
    """The batch of height 2 has a certificate, and no block has it."""
    batch = story.events("finalise", height=2)[0]["batches"][0]
    for event in story.events("finalise", height=2):
        event["batches"] = []
    outlast(story)
    return str(batch)


@plant("preconfirmation", "lost")
def certified_and_forgotten(world: World, story: Story) -> None:
    _never_ordered(story)


@plant("preconfirmation", "late")
def certified_long_before(world: World, story: Story) -> None:
    bounds(story, inclusion_ms=50)


@plant("preconfirmation", "void-by-equivocation")
def slot_taken_by_another_batch(world: World, story: Story) -> None:
    _slot_twice(story)
    outlast(story)
