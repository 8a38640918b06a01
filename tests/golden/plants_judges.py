"""Planted violations: certificates, commits, payloads, proposals, accusations, views, reorganisations, catching up."""

from __future__ import annotations

import base64

import msgspec

from nodes.messages import Vote
from tests.golden import delays
from tests.golden.planting import OTHER, SECOND, bounds, outlast, plant
from tests.golden.plants_consensus import child_beside_a_committed_block, lowered_lock_view
from tests.golden.story import Record, Story
from tests.golden.world import MS, World, certificate, state_certificate


# ---------------------------------------------------------------- certificates
@plant("certificates", "invalid-block-certificate")
def signer_counted_twice(world: World, story: Story) -> None:
    event = story.events("certify", node="n2", view=2)[0]
    event["signers"][0], event["signatures"][0] = event["signers"][1], event["signatures"][1]


@plant("certificates", "invalid-timeout-certificate")
def lock_view_not_signed(world: World, story: Story) -> None:
    lowered_lock_view(world, story)


@plant("certificates", "invalid-availability-certificate")
def other_facts_under_the_same_signatures(world: World, story: Story) -> None:
    """The signatures are good, for another number of transactions; the other nodes hold the true certificate."""
    story.events("available", node="n3")[0]["tx_count"] += 1


@plant("certificates", "invalid-state-certificate")
def signed_for_another_height(world: World, story: Story) -> None:
    other = story.events("state_certificate", height=1)[0]
    story.events("state_certificate", node="n2", height=2)[0]["signatures"] = list(other["signatures"])


@plant("state-root", "two-roots-certified")
def two_majorities_of_one_clan(world: World, story: Story) -> None:
    event = story.events("state_certificate", node="n2", height=2)[0]
    roots = {name: event[name] for name in ("clan", "height", "block", "prev_root")}
    event.update(state_certificate(world, {**roots, "root": OTHER}, event["signers"]))


@plant("availability", "vote-without-batch")
def voted_for_what_it_never_had(world: World, story: Story) -> None:
    vote = story.events("availability_vote")[0]
    for name in ("batch", "body"):
        story.drop(name, node=vote["node"], batch=vote["batch"])


@plant("availability", "held-by-nobody")
def certified_out_of_thin_air(world: World, story: Story) -> None:
    batch = story.events("available")[0]["batch"]
    for name in ("batch", "body"):
        story.drop(name, batch=batch)


@plant("xrbc-agreement", "double-availability-vote")
def two_votes_for_one_slot(world: World, story: Story) -> None:
    story.add(story.events("availability_vote")[0], batch=OTHER)


# ---------------------------------------------------------------- fallbacks
def fallen_back(world: World, story: Story) -> Story:
    """After the last block a view is given up; in the next one a fallback block on the last is certified."""
    last = max(story.events("certify"), key=lambda e: int(e["view"]))
    view, signers, time = last["view"] + 1, ["n0", "n1", "n2"], story.info["end"]
    locks = dict.fromkeys(signers, last["view"])
    signatures = [world.signers[node].sign(world.domain.timeout(view, lock)).hex() for node, lock in locks.items()]
    ended = {"event": "timeout_certificate", "view": view, "high_view": last["view"], "high": last["block"]}
    ended |= {"signers": signers, "lock_views": list(locks.values()), "signatures": signatures}
    block = {"view": view + 1, "block": OTHER, "parent": last["block"], "kind": "fallback"}
    leader = story.info["tribe"][(view + 1) % len(story.info["tribe"])]
    proposal = {"event": "propose", "height": world.height + 1, "payload_bytes": 0, "batches": [], **block}
    story.add(ended, node=leader, incarnation=1, time=time)
    story.add(proposal, node=leader, incarnation=1, time=time + MS)
    for node in signers:
        if node != leader:
            story.add(ended, node=node, incarnation=1, time=time)
        vote = {"event": "vote", **block, "high": last["block"], "proposer": leader}
        story.add(vote, node=node, incarnation=1, time=time + 2 * MS)
    certify = {"event": "certify", **certificate(world, "fallback", view + 1, OTHER, signers)}
    story.add(certify, node="n1", incarnation=1, time=time + 3 * MS)
    story.info["end"] += 10 * MS
    return story


@plant("fallbacks", "off-highest")
def fallback_on_an_older_block(world: World, story: Story) -> None:
    fallen_back(world, story).events("vote", node="n2", kind="fallback")[0]["parent"] = "dd" * 32


@plant("fallbacks", "unjustified-fallback")
def fallback_without_a_timeout_certificate(world: World, story: Story) -> None:
    fallen_back(world, story).drop("timeout_certificate", node="n2")


@plant("fallbacks", "unjustified-certificate")
def nobody_had_a_timeout_certificate(world: World, story: Story) -> None:
    fallen_back(world, story).drop("timeout_certificate")


# ---------------------------------------------------------------- commit-rule
def _final(story: Story, height: int = 2) -> Record:
    return story.events("finalise", node="n1", height=height)[0]


@plant("commit-rule", "unjustified-two-chain")
def committed_on_one_certificate(world: World, story: Story) -> None:
    _final(story)["rule"] = "two-chain"


@plant("commit-rule", "unjustified-commit-votes")
def committed_without_commit_votes(world: World, story: Story) -> None:
    story.drop("certify", kind="commit", view=2)


@plant("commit-rule", "unjustified-ancestor")
def ancestor_of_nothing(world: World, story: Story) -> None:
    _final(story)["rule"] = "ancestor"
    _final(story, 3)["parent"] = OTHER


@plant("commit-rule", "unknown-rule")
def committed_on_a_whim(world: World, story: Story) -> None:
    _final(story)["rule"] = "whim"


# ---------------------------------------------------------------- payload
@plant("payload", "batch-twice")
def ordered_again(world: World, story: Story) -> None:
    batch = story.events("finalise", height=1)[0]["batches"][0]
    for event in story.events("finalise", height=2):
        event["batches"].append(batch)


@plant("payload", "expired-batch")
def ordered_long_after(world: World, story: Story) -> None:
    for event in story.events("finalise"):
        if event["height"] > 1:
            event["timestamp_ms"] += 700_000


@plant("payload", "too-many-batches")
def overfull_block(world: World, story: Story) -> None:
    for event in story.events("finalise", height=3):
        event["batches"] = [f"{number:064x}" for number in range(51)]


@plant("payload", "invalid-batch")
def ordered_on_a_forged_certificate(world: World, story: Story) -> None:
    batch = story.events("finalise", height=2)[0]["batches"][0]
    for event in story.events("available", batch=batch):
        event["signatures"][0] = "00" * 64


@plant("payload", "false-header")
def certified_with_another_size(world: World, story: Story) -> None:
    batch = story.events("finalise", height=2)[0]["batches"][0]
    for event in story.events("available", batch=batch):
        event["byte_length"] += 1
        names = ("clan", "proposer", "seq", "batch", "tx_count", "byte_length", "created_ms")
        facts = [bytes.fromhex(event[name]) if name == "batch" else event[name] for name in names]
        statement = world.domain.available(*facts)
        event["signatures"] = [world.signers[node].sign(statement).hex() for node in event["signers"]]


@plant("payload", "timestamp-fell")
def older_than_its_parent(world: World, story: Story) -> None:
    for event in story.events("finalise", height=3):
        event["timestamp_ms"] = 1


@plant("payload", "wrong-timestamp")
def stamped_long_before_it_was_made(world: World, story: Story) -> None:
    outlast(story, 10)
    for event in (*story.events("propose"), *story.events("finalise")):
        event["time"] += 10 * SECOND


# ---------------------------------------------------------------- proposals
def _proposal(story: Story) -> Record:
    return story.events("propose", view=2)[0]


@plant("proposals", "two-blocks-on-one-parent")
def proposed_twice_after_a_restart(world: World, story: Story) -> None:
    first = _proposal(story)
    story.add(first, block=OTHER, incarnation=2, time=first["time"] + MS)


@plant("proposals", "third-optimistic")
def three_guesses(world: World, story: Story) -> None:
    first = _proposal(story)
    for number in range(3):
        story.add(first, kind="optimistic", block=f"{number:064x}", parent=f"{number + 9:064x}", time=first["time"])


@plant("proposals", "second-main")
def normal_and_fallback(world: World, story: Story) -> None:
    first = _proposal(story)
    story.add(first, kind="fallback", block=OTHER, parent=OTHER, time=first["time"] + MS)


@plant("proposals", "wrong-leader")
def voted_for_another_leaders_block(world: World, story: Story) -> None:
    vote = story.events("vote", kind="normal", view=2)[0]
    vote["proposer"] = next(node for node in story.info["tribe"] if node != vote["proposer"])


# ---------------------------------------------------------------- accusations
def accused(world: World, story: Story) -> Story:
    """n3 is Byzantine and signed two normal votes in view 1; n0 has both."""
    story.info |= {"byzantine": ["n3"], "honest": [node for node in story.info["tribe"] if node != "n3"]}
    blocks = [bytes.fromhex(story.events("propose", view=1)[0]["block"]), bytes.fromhex(OTHER)]
    votes = [Vote("normal", 1, b, "n3", world.signers["n3"].sign(world.domain.vote("normal", 1, b))) for b in blocks]
    evidence = base64.b64encode(msgspec.msgpack.encode(votes)).decode()
    accusation = {"event": "accuse", "culprit": "n3", "kind": "double-vote-normal", "evidence": evidence}
    story.add(accusation, node="n0", incarnation=1, time=story.info["end"])
    return story


@plant("accusations", "honest-accused")
def the_culprit_is_honest(world: World, story: Story) -> None:
    accused(world, story).info |= {"byzantine": [], "honest": list(story.info["tribe"])}


@plant("accusations", "worthless-evidence")
def one_vote_shown_twice(world: World, story: Story) -> None:
    (event,) = accused(world, story).events("accuse")
    first, _ = msgspec.msgpack.decode(base64.b64decode(event["evidence"]))
    event["evidence"] = base64.b64encode(msgspec.msgpack.encode([first, first])).decode()


# ---------------------------------------------------------------- view-sync
@plant("view-sync", "stuck-view")
def no_view_ever_again(world: World, story: Story) -> None:
    outlast(story)


@plant("view-sync", "never-together")
def one_node_in_views_of_its_own(world: World, story: Story) -> None:
    for event in story.events("enter", node="n1"):
        event["view"] += 1000 * (event["view"] > 1)
    bounds(story, liveness_deltas=0.1)  # bound: 300 ms


# ---------------------------------------------------------------- commit-bound, reorg
def calm(story: Story) -> Story:
    """Delta of 60 ms: the views from 220 ms on count, and a commit may take 300 ms."""
    story.info["parameters"] |= {"delta_ms": 60}
    return story


@plant("commit-bound", "late-commit")
def committed_too_late(world: World, story: Story) -> None:
    bounds(calm(story), commit_ms=100)


@plant("reorg", "uncertified-block")
def honest_leader_passed_over(world: World, story: Story) -> None:
    calm(story).drop("certify", view=2)


@plant("reorg", "reorged-block")
def honest_leaders_block_abandoned(world: World, story: Story) -> None:
    child_beside_a_committed_block(world, calm(story))


# ---------------------------------------------------------------- memory
@plant("memory", "beyond-cap")
def one_vote_too_many_views(world: World, story: Story) -> None:
    """One poll more than views that a window of 20 and three late clearings leave."""
    story.events("buffers", node="n2")[-1]["sizes"]["consensus.polls"] = 45


# ---------------------------------------------------------------- catch-up
def cut_off(base: Story, back_ms: int = 3500) -> Story:
    """n1 finalises nothing from view 10 on, is healed at 3 s and has all it missed at `back_ms`."""
    story = delays.rhythm(base)
    missed = story.events("finalise", node="n1")[9:]
    for event in missed:
        event["time"] = max(event["time"], back_ms * MS)
    story.info |= {"heal": 3000 * MS, "end": 9000 * MS}
    bounds(story, liveness_deltas=1, catch_up_ms=500)  # bound: 500 + 5 * 100 + 500 ms
    return story


@plant("catch-up", "slow-catch-up")
def back_after_two_seconds(world: World, story: Story) -> None:
    _become(story, cut_off(story, 5500))


@plant("catch-up", "never-caught-up")
def never_back(world: World, story: Story) -> None:
    _become(story, cut_off(story))
    story.trace = [e for e in story.trace if e["event"] != "finalise" or e["node"] != "n1" or e["height"] < 10]


def _become(story: Story, other: Story) -> None:
    story.info, story.history, story.trace = other.info, other.history, other.trace
