"""Planted violations of the consensus invariants: ancestry, votes, locks, timeouts."""

from __future__ import annotations

from tests.golden.planting import OTHER, plant
from tests.golden.story import Record, Story
from tests.golden.world import MS, World, certificate


def _block(story: Story, view: int) -> str:
    return str(story.events("certify", view=view)[0]["block"])


def _last(story: Story) -> int:
    return max(int(event["view"]) for event in story.events("certify"))


# ---------------------------------------------------------------- ancestry
@plant("ancestry", "abandoned-commit")
def child_beside_a_committed_block(world: World, story: Story) -> None:
    """The block of view 3 extends that of view 1; that of view 2 is final."""
    block, parent = _block(story, 3), _block(story, 1)
    for name in ("propose", "vote", "finalise"):
        for event in story.events(name, block=block):
            if "parent" in event:
                event["parent"] = parent


@plant("ancestry", "uncertified-parent")
def parent_without_a_certificate(world: World, story: Story) -> None:
    story.drop("certify", view=2)


@plant("ancestry", "parent-view")
def normal_certificate_across_a_gap(world: World, story: Story) -> None:
    view, certified = _last(story) + 2, story.events("certify", node="n2")[-1]
    vote = story.events("vote", kind="normal")[-1]
    story.add(vote, view=view, block=OTHER, parent=certified["block"], time=certified["time"] + MS)
    story.add(certified, **certificate(world, "normal", view, OTHER, ["n0", "n1", "n2"]), time=certified["time"] + MS)


# ---------------------------------------------------------------- votes
def _vote(story: Story) -> Record:
    """n1's normal vote of view 2."""
    return story.events("vote", node="n1", view=2, kind="normal")[0]


@plant("votes", "double-vote")
def two_normal_votes(world: World, story: Story) -> None:
    story.add(_vote(story), block=OTHER)


@plant("votes", "contradicting-votes")
def normal_vote_against_the_optimistic_one(world: World, story: Story) -> None:
    story.add(_vote(story), block=OTHER, kind="optimistic", time=_vote(story)["time"] - MS)


@plant("votes", "normal-and-fallback")
def fallback_vote_after_the_normal_one(world: World, story: Story) -> None:
    story.add(_vote(story), kind="fallback")


@plant("votes", "vote-after-timeout")
def vote_in_a_view_given_up(world: World, story: Story) -> None:
    story.add({"event": "timeout", "view": 2, "lock_view": 1}, node="n1", incarnation=1, time=_vote(story)["time"] - MS)


@plant("votes", "uncertified-commit-vote")
def commit_vote_for_nothing(world: World, story: Story) -> None:
    story.add(story.events("vote", kind="commit", view=2)[0], node="n0", block=OTHER)


@plant("votes", "honest-accused")
def accused_without_guilt(world: World, story: Story) -> None:
    accusation = {"event": "accuse", "culprit": "n1", "kind": "double-vote-normal", "evidence": ""}
    story.add(accusation, node="n0", incarnation=1, time=_vote(story)["time"])


# ---------------------------------------------------------------- locks
@plant("locks", "lock-fell")
def back_to_an_older_lock(world: World, story: Story) -> None:
    old = story.events("lock", node="n1", view=1)[0]
    story.add(old, time=story.events("lock", node="n1")[-1]["time"] + MS)


@plant("locks", "uncertified-lock")
def locked_on_nothing(world: World, story: Story) -> None:
    story.events("lock", node="n1", view=3)[0]["block"] = OTHER


@plant("locks", "stale-timeout")
def understated_lock(world: World, story: Story) -> None:
    view = _last(story) + 1
    story.add({"event": "timeout", "view": view, "lock_view": 1}, node="n0", incarnation=1, time=story.info["end"])


@plant("locks", "lock-too-new")
def timed_out_after_the_certificate(world: World, story: Story) -> None:
    view = _last(story)
    story.add({"event": "timeout", "view": view, "lock_view": view}, node="n0", incarnation=1, time=story.info["end"])


@plant("locks", "vote-above-lock")
def voted_without_the_parents_lock(world: World, story: Story) -> None:
    story.drop("lock", node="n1", view=2)


# ---------------------------------------------------------------- timeouts
@plant("timeouts", "unjustified-view")
def entered_without_a_certificate(world: World, story: Story) -> None:
    story.drop("certify", node="n1", view=2)


@plant("timeouts", "invalid-timeout-certificate")
def lowered_lock_view(world: World, story: Story) -> None:
    """Signed with lock view 1 by everybody; the record says 2 for one of them."""
    signers, view = ["n0", "n1", "n2"], _last(story) + 1
    signatures = [world.signers[node].sign(world.domain.timeout(view, 1)).hex() for node in signers]
    fields = {"view": view, "high_view": 2, "high": _block(story, 2), "signers": signers, "lock_views": [1, 2, 1]}
    certificate_record = {"event": "timeout_certificate", **fields, "signatures": signatures}
    story.add(certificate_record, node="n1", incarnation=1, time=story.info["end"])


@plant("timeouts", "fallback-off-highest")
def fallback_below_the_highest(world: World, story: Story) -> None:
    vote = story.events("vote", kind="normal")[-1]
    story.add(vote, node="n0", kind="fallback", parent=_block(story, 1), high=_block(story, 2))
