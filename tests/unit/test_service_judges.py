"""order, xrbc-agreement and preconfirmation: what they allow, and what they only count."""

from __future__ import annotations

import pytest

from checkers.registry import judge
from results.verdict import Status, Verdict
from tests.golden.make import world
from tests.golden.planting import OTHER, bounds, outlast
from tests.golden.plants_services import _never_ordered, _slot_twice
from tests.golden.story import Story
from tests.golden.world import MS


@pytest.fixture
def story() -> Story:
    return world().story().copy()


def _judged(story: Story, name: str) -> Verdict:
    return judge(story.run(), [name])[0]


def _kinds(story: Story, name: str) -> list[str]:
    return sorted({anomaly.kind for anomaly in _judged(story, name).anomalies})


# ---------------------------------------------------------------- order
def test_a_restarted_node_may_tell_the_same_again(story: Story) -> None:
    for event in story.events("execute", node="n2"):
        story.add(event, incarnation=2, time=story.info["end"])
    assert _judged(story, "order").status is Status.PASS


def test_a_node_that_lags_behind_is_no_disorder(story: Story) -> None:
    story.drop("finalise", node="n3", height=3)
    story.drop("execute", node="n3", height=2)
    assert _judged(story, "order").status is Status.PASS


def test_a_transaction_in_no_batch_has_no_height(story: Story) -> None:
    story.events("gateway", phase="ord")[0]["tx"] = OTHER
    assert _kinds(story, "order") == ["wrong-position"]


def test_one_node_alone_shows_no_common_order(story: Story) -> None:
    for node in ("n1", "n2", "n3", *story.info["gateways"]):
        story.drop("finalise", node=node)
    assert _judged(story, "order").status is Status.UNKNOWN


# ---------------------------------------------------------------- xrbc-agreement
def _voted_once(story: Story) -> str:
    """Two certificates for one slot, but no honest trace of a vote for the second batch, which is returned."""
    _, second = _slot_twice(story)
    story.drop("availability_vote", batch=second)
    return second


def test_a_void_batch_is_no_disagreement(story: Story) -> None:
    """The second certificate of a slot is finalised, and nobody executes it."""
    second = _voted_once(story)
    for event in story.events("execute", height=2):
        event |= {"batches": [], "void": [second]}
    verdict = _judged(story, "xrbc-agreement")
    assert verdict.status is Status.PASS
    assert (verdict.measures["slots_with_two_certificates"], verdict.measures["void_batches"]) == (1, 1)


def test_where_both_count_both_may_take_effect(story: Story) -> None:
    _voted_once(story)
    story.info["parameters"]["equivocation"] = "both"
    assert _judged(story, "xrbc-agreement").status is Status.PASS


def test_a_proposer_that_lost_its_disk_may_reuse_a_number(story: Story) -> None:
    proposer = story.add(story.events("available")[0], batch=OTHER)["proposer"]
    story.info["amnesiac"] = [proposer]
    assert not _kinds(story, "xrbc-agreement")


# ---------------------------------------------------------------- preconfirmation
def test_what_may_still_come_is_pending(story: Story) -> None:
    _never_ordered(story)
    story.info["end"] = 1000 * MS
    verdict = _judged(story, "preconfirmation")
    assert verdict.status is Status.PASS and verdict.measures["pending"] == 1


def test_a_rescued_transaction_of_a_void_batch_is_counted(story: Story) -> None:
    """Its batch is void, and a batch of height 3 has it as well."""
    _, second = _slot_twice(story)
    rescuer = next(node for node in story.info["honest"] if story.events("batch", node=node))
    for event in story.events("batch", batch=second):
        story.add(event, batch=OTHER, proposer=rescuer, seq=99)
    for event in story.events("finalise", height=3):
        event["batches"] = [OTHER]
    verdict = _judged(story, "preconfirmation")
    assert verdict.status is Status.PASS
    assert (verdict.measures["void"], verdict.measures["void_rescued"]) == (1, 1)
    assert verdict.measures["void_rescue_delay_ms"]["n"] == 1


def test_the_promise_of_a_faulty_proposer_may_be_late_and_not_broken(story: Story) -> None:
    proposer = story.events("available")[0]["proposer"]
    story.info |= {"byzantine": [proposer], "honest": [n for n in story.info["tribe"] if n != proposer]}
    for event in story.events("available"):
        event["proposer"] = proposer
    story.drop("body")
    bounds(story, inclusion_ms=50)
    verdict = _judged(story, "preconfirmation")
    assert verdict.status is Status.PASS and verdict.measures["late_of_faulty_proposers"] == 2


def test_a_broken_promise_tells_whose_it_was(story: Story) -> None:
    _slot_twice(story)
    outlast(story)
    (anomaly,) = _judged(story, "preconfirmation").anomalies
    assert anomaly.kind == "void-by-equivocation" and "(faulty)" in anomaly.summary
