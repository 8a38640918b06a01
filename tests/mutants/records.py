"""Violations and forgeries planted at random positions of a recorded run, each with the checkers that must notice.

A plant alters a Story and returns True, or returns False where the run has nothing to alter. `owners` must not PASS; a
plant of kind "violation" must FAIL in every owner, one of kind "doubt" may also be UNKNOWN.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any

from tests.golden.story import Record, Story

MS = 1_000_000
SECOND = 1000 * MS
Alter = Callable[[Story, Random], bool]


@dataclass(frozen=True)
class Plant:
    name: str
    owners: tuple[str, ...]
    kind: str  # violation | doubt
    alter: Alter


PLANTS: list[Plant] = []


def plant(*owners: str, kind: str = "violation") -> Callable[[Alter], Alter]:
    def keep(alter: Alter) -> Alter:
        PLANTS.append(Plant(alter.__name__.replace("_", " "), owners, kind, alter))
        return alter

    return keep


def noise(rng: Random, size: int = 32) -> str:
    return rng.randbytes(size).hex()


def honest(story: Story, name: str, /, **fields: Any) -> list[Record]:
    bad = set(story.info.get("byzantine", []))
    return [event for event in story.events(name, **fields) if event["node"] not in bad]


def steady(story: Story, tribe: bool = True) -> list[str]:
    faulty = {*story.info.get("byzantine", []), *story.info.get("crashed", []), *story.info.get("amnesiac", [])}
    nodes = [*story.info["tribe"], *([] if tribe else story.info["gateways"])]
    return [node for node in nodes if node not in faulty]


def pick(rng: Random, records: list[Record]) -> Record | None:
    return rng.choice(records) if records else None


def outlast(story: Story, seconds: int = 90) -> None:
    story.info["end"] += seconds * SECOND


# ---------------------------------------------------------------- fork and prefix
@plant("fork", "prefix")
def one_node_finalised_another_block(story: Story, rng: Random) -> bool:
    pick(rng, honest(story, "finalise"))["block"] = noise(rng)  # type: ignore[index]
    return True


@plant("fork")
def last_block_swapped_at_every_node(story: Story, rng: Random) -> bool:
    top, other = max(e["height"] for e in honest(story, "finalise")), noise(rng)
    for event in story.events("finalise", height=top):
        event["block"] = other
    return True


@plant("fork", "prefix")
def inner_block_swapped_at_every_node(story: Story, rng: Random) -> bool:
    top, other = max(e["height"] for e in honest(story, "finalise")), noise(rng)
    for event in story.events("finalise", height=rng.randrange(1, top)):
        event["block"] = other
    return True


@plant("fork")
def one_hash_with_another_content(story: Story, rng: Random) -> bool:
    event, name = pick(rng, honest(story, "finalise")), rng.choice(["view", "batches", "proposer", "timestamp_ms"])
    assert event is not None
    event[name] = {"view": event["view"] + 1, "batches": [noise(rng)], "proposer": "n99", "timestamp_ms": 1}[name]
    return True


def _certificate(story: Story, rng: Random, name: str) -> Record | None:
    return pick(rng, [e for e in honest(story, name) if e["signers"]])


def _forge(event: Record, rng: Random, how: str, members: list[str]) -> None:
    others = [m for m in members if m not in event["signers"]] or ["n99"]
    at = rng.randrange(len(event["signers"]))
    if how == "signer":
        event["signers"][at] = rng.choice(others)
    elif how == "signature":
        event["signatures"][at] = noise(rng, 64)
    elif how == "twice":
        event["signers"][at] = event["signers"][at - 1]
        event["signatures"][at] = event["signatures"][at - 1]
    elif how == "outsider":
        event["signers"][at] = "g0"
    elif how == "short":
        event["signers"], event["signatures"] = event["signers"][:1], event["signatures"][:1]


FORGERIES = ("signer", "signature", "twice", "outsider", "short")


def _forgeries(name: str, owner: str) -> None:
    for how in FORGERIES:

        def alter(story: Story, rng: Random, how: str = how) -> bool:
            event = _certificate(story, rng, name)
            if event is None or len(event["signers"]) < 2:
                return False
            clans = story.info["clans"]
            _forge(event, rng, how, story.info["tribe"] if name == "certify" else clans[event["clan"]])
            return True

        PLANTS.append(Plant(f"{name}: forged {how}", (owner,), "violation", alter))


_forgeries("certify", "fork")
_forgeries("available", "availability")
_forgeries("state_certificate", "state-root")


@plant("fork")
def certificate_moved_to_another_view(story: Story, rng: Random) -> bool:
    event = _certificate(story, rng, "certify")
    assert event is not None
    event["view"] += 1
    return True


@plant("fork")
def certificate_without_signers_for_the_genesis_view(story: Story, rng: Random) -> bool:
    event = _certificate(story, rng, "certify")
    assert event is not None
    event["view"] = 0
    return True


@plant("fork")
def timeout_certificate_one_short(story: Story, rng: Random) -> bool:
    event = pick(rng, honest(story, "timeout_certificate"))
    if event is None:
        return False
    event["signers"].pop()
    return True


@plant("votes")
def a_second_vote_of_a_kind(story: Story, rng: Random) -> bool:
    event = pick(rng, honest(story, "vote", kind="normal"))
    if event is None:
        return False
    story.add(event, block=noise(rng))
    return True


@plant("votes")
def a_vote_after_giving_up(story: Story, rng: Random) -> bool:
    event = pick(rng, honest(story, "vote", kind="normal"))
    if event is None:
        return False
    story.add(event, event="timeout", lock_view=event["view"] - 1, time=event["time"] - 1)
    return True


@plant("locks")
def a_lock_that_falls(story: Story, rng: Random) -> bool:
    node = rng.choice(steady(story))
    held = sorted(story.events("lock", node=node), key=lambda e: int(e["view"]))
    if len(held) < 2:
        return False
    story.add(held[rng.randrange(len(held) - 1)], time=story.info["end"])
    return True


@plant("timeouts")
def a_view_entered_for_no_reason(story: Story, rng: Random) -> bool:
    event = pick(rng, honest(story, "enter", via="certificate", node=rng.choice(steady(story))))
    if event is None:
        return False
    for kind in ("optimistic", "normal", "fallback"):
        story.drop("certify", node=event["node"], view=event["view"] - 1, kind=kind)
    return True


@plant("ancestry")
def a_certified_block_beside_the_chain(story: Story, rng: Random) -> bool:
    """It extends the block below the one that was committed directly before it."""
    chain = sorted(
        {(e["height"], e["block"]) for e in honest(story, "finalise") if e.get("rule") in ("two-chain", "commit-votes")}
    )
    if len(chain) < 4:
        return False
    at = rng.randrange(2, len(chain))
    block, below = chain[at][1], chain[at - 2][1]
    for name in ("propose", "vote", "finalise"):
        for event in story.events(name, block=block):
            if "parent" in event:
                event["parent"] = below
    return True


@plant("prefix")
def a_height_left_out(story: Story, rng: Random) -> bool:
    node = rng.choice(steady(story))
    heights = sorted(e["height"] for e in story.events("finalise", node=node))
    story.drop("finalise", node=node, height=rng.choice(heights[1:-1]))
    return True


@plant("prefix")
def a_height_finalised_again(story: Story, rng: Random) -> bool:
    event = pick(rng, honest(story, "finalise", node=rng.choice(steady(story))))
    assert event is not None
    story.add(event, time=story.info["end"])
    return True


@plant("prefix")
def a_parent_that_is_another_block(story: Story, rng: Random) -> bool:
    event = pick(rng, [e for e in honest(story, "finalise", node=rng.choice(steady(story))) if e["height"] > 1])
    assert event is not None
    event["parent"] = noise(rng)
    return True


@plant("prefix")
def two_heights_in_the_wrong_order(story: Story, rng: Random) -> bool:
    node = rng.choice(steady(story))
    mine = sorted(story.events("finalise", node=node), key=lambda e: e["height"])
    at = rng.randrange(len(mine) - 1)
    mine[at]["time"], mine[at + 1]["time"] = mine[at + 1]["time"] + 1, mine[at]["time"]
    return True


# ---------------------------------------------------------------- effects
def _applied(story: Story, rng: Random) -> tuple[Record, str] | None:
    event = pick(rng, [e for e in honest(story, "execute") if e["applied"]])
    return None if event is None else (event, rng.choice(event["applied"]))


@plant("dedup")
def applied_again_later_at_every_node(story: Story, rng: Random) -> bool:
    found = _applied(story, rng)
    assert found is not None
    event, tx = found
    later = [e for e in honest(story, "execute") if e["clan"] == event["clan"] and e["height"] > event["height"]]
    if not later:
        return False
    height = rng.choice(later)["height"]
    for other in story.events("execute", clan=event["clan"], height=height):
        other["applied"].append(tx)
    return True


@plant("dedup", "conservation")
def applied_twice_in_one_block_at_every_node(story: Story, rng: Random) -> bool:
    told = {op["tx"] for op in story.history if op["type"] == "ok"}
    found = [e for e in honest(story, "execute") if set(e["applied"]) & told]
    event = rng.choice(found)
    tx = rng.choice([t for t in event["applied"] if t in told])
    for other in story.events("execute", clan=event["clan"], height=event["height"]):
        other["applied"].append(tx)
    return True


@plant("dedup", "state-root")
def one_node_did_not_apply(story: Story, rng: Random) -> bool:
    found = _applied(story, rng)
    assert found is not None
    found[0]["applied"].remove(found[1])
    return True


@plant("state-root")
def one_node_got_another_root(story: Story, rng: Random) -> bool:
    event = pick(rng, honest(story, "execute"))
    assert event is not None
    event[rng.choice(["root", "prev_root", "block"])] = noise(rng)
    return True


@plant("state-root")
def every_node_got_another_root(story: Story, rng: Random) -> bool:
    event, root = pick(rng, honest(story, "execute")), noise(rng)
    assert event is not None
    for other in story.events("execute", clan=event["clan"], height=event["height"]):
        other["root"] = root
    return True


@plant("state-root")
def a_certified_root_changed(story: Story, rng: Random) -> bool:
    event = pick(rng, honest(story, "state_certificate"))
    assert event is not None
    event[rng.choice(["root", "prev_root", "block"])] = noise(rng)
    return True


@plant("conservation")
def an_applied_transfer_left_out_everywhere(story: Story, rng: Random) -> bool:
    moved = [
        op["tx"]
        for op in story.history
        if op["type"] == "ok" and op["f"] == "transfer" and op["value"]["from"] != op["value"]["to"]
        if op["value"]["amount"] > 0
    ]
    if not moved:
        return False
    tx = rng.choice(moved)
    for event in story.events("execute"):
        if tx in event["applied"]:
            event["applied"].remove(tx)
    return True


# ---------------------------------------------------------------- availability
def _old_batch(story: Story, rng: Random) -> tuple[str, int] | None:
    first: dict[str, int] = {}
    for event in honest(story, "finalise"):
        for batch in event["batches"]:
            first.setdefault(batch, event["time"])
    clans = {e["batch"]: e["clan"] for e in honest(story, "batch")}
    held = sorted(batch for batch in first if batch in clans)
    return (rng.choice(held), clans[held[0]]) if held else None


@plant("availability")
def one_member_never_held_a_batch(story: Story, rng: Random) -> bool:
    found = _old_batch(story, rng)
    if found is None:
        return False
    batch = found[0]
    clan = next(e["clan"] for e in honest(story, "batch", batch=batch))
    node = rng.choice([n for n in steady(story) if n in story.info["clans"][clan]])
    story.drop("batch", node=node, batch=batch)
    story.drop("body", node=node, batch=batch)
    outlast(story)
    return True


@plant("availability")
def a_body_with_other_bytes(story: Story, rng: Random) -> bool:
    event = pick(rng, honest(story, "body"))
    assert event is not None
    data = bytearray(base64.b64decode(event["data"]))
    data[rng.randrange(40, len(data) - 70)] ^= 1
    event["data"] = base64.b64encode(bytes(data)).decode()
    return True


@plant("availability")
def a_finalised_batch_without_a_certificate(story: Story, rng: Random) -> bool:
    found = _old_batch(story, rng)
    if found is None:
        return False
    story.drop("available", batch=found[0])
    return True
