"""availability: graces and excuses, and what is none."""

from __future__ import annotations

import pytest

from checkers.registry import judge
from results.verdict import Status, Verdict
from tests.golden.plants import MS, bounds
from tests.golden.story import Record, Story
from tests.golden.world import World


@pytest.fixture(scope="module")
def world() -> World:
    return World(plan=(2, 2, 0, 0), seed=5)


@pytest.fixture
def story(world: World) -> Story:
    return world.story().copy()


def verdict(story: Story) -> Verdict:
    return judge(story.run(), ["availability"])[0]


def kinds(found: Verdict) -> set[str]:
    return {anomaly.kind for anomaly in found.anomalies}


def lose(story: Story, *nodes: str) -> None:
    """These nodes never had the first batch, and never said so."""
    batch = story.events("finalise", height=1)[0]["batches"][0]
    for node in nodes:
        story.drop("batch", node=node, batch=batch)
        story.drop("body", node=node, batch=batch)
        story.drop("availability_vote", node=node, batch=batch)


def test_missing_bodies_have_a_grace(story: Story) -> None:
    lose(story, "n1")
    found = verdict(story)
    assert found.status is Status.PASS and found.measures["excluded_late"] == 1
    bounds(story, retrieve_ms=10)
    assert kinds(verdict(story)) == {"lost-batch"}


def test_faulty_members_need_not_hold_a_batch(story: Story) -> None:
    bounds(story, retrieve_ms=10)
    lose(story, "n1", "n2")
    story.info["crashed"], story.info["byzantine"] = ["n1"], ["n2"]
    assert verdict(story).status is Status.PASS


# ---------------------------------------------------------------- killed before its record was written
def killed(story: Story, node: str, last: int, again: int) -> None:
    """`node` voted for the first batch, alone of the honest ones, and was killed: its records end at `last`, and it
    starts again at `again` (ns)."""
    lose(story, *story.info["tribe"])
    story.trace = [e for e in story.trace if e["node"] != node or not last < int(e["time"]) < again]
    start = story.events("start", node=node)[0]
    story.add(start, event="restart", time=again, incarnation=2, recovered=9)
    story.info["crashed"] = [node]


def first_certificate(story: Story) -> Record:
    batch = story.events("finalise", height=1)[0]["batches"][0]
    return min(story.events("available", batch=batch), key=lambda e: int(e["time"]))


def test_a_voter_that_was_killed_may_not_have_written_that_it_held_the_batch(story: Story) -> None:
    certificate = first_certificate(story)
    seen, voter = int(certificate["time"]), certificate["signers"][0]
    killed(story, voter, seen - 20 * MS, seen + 50 * MS)
    found = verdict(story)
    assert "held-by-nobody" not in kinds(found) and found.measures["excluded_unwritten"] == 1


def test_a_vote_on_record_without_the_batch_is_not_excused_by_a_kill(story: Story) -> None:
    certificate = first_certificate(story)
    seen, voter = int(certificate["time"]), certificate["signers"][0]
    vote = story.events("availability_vote", node=voter, batch=certificate["batch"])[0]
    killed(story, voter, seen - 20 * MS, seen + 50 * MS)
    story.add(vote)
    assert "held-by-nobody" in kinds(verdict(story))


def test_a_kill_of_another_or_after_the_certificate_excuses_nothing(story: Story) -> None:
    certificate = first_certificate(story)
    seen, signers = int(certificate["time"]), certificate["signers"]
    other = next(node for node in story.info["tribe"] if node not in signers)
    later, bystander = story.copy(), story.copy()
    killed(later, signers[0], seen + 10 * MS, seen + 50 * MS)
    later.events("available", node=signers[0])[0]["time"] = seen + 1  # a record of its life after the certificate
    killed(bystander, other, seen - 20 * MS, seen + 50 * MS)
    for planted in (later, bystander):
        found = verdict(planted)
        assert "held-by-nobody" in kinds(found) and found.measures["excluded_unwritten"] == 0
