"""Blame after a rescue: right, false or unattributed, and what is not asked for."""

from __future__ import annotations

import pytest

from checkers.evidence import EvidenceError
from checkers.families import family
from checkers.index import index_of
from checkers.registry import judge
from results.verdict import Status, Verdict
from tests.golden.make import world
from tests.golden.plants_services import rescued
from tests.golden.story import Story
from tests.golden.world import MS, World


@pytest.fixture
def origin() -> World:
    return world()


def _judged(story: Story) -> Verdict:
    return judge(story.run(), ["accountability"])[0]


def _primary(story: Story) -> str:
    return str(story.events("include", role="secondary")[0]["primary"])


def _in_time(origin: World) -> Story:
    """The rescue of height 1 came after the time-out of its primary, and the chain went on for long enough after it."""
    story = rescued(origin, origin.story().copy())
    story.info["parameters"] |= {"inclusion_timeout_ms": 100, "max_batch_delay_ms": 50}
    for event in story.events("finalise"):
        event["timestamp_ms"] += 150  # the receipt is of 205 ms; due at 100 + 50 + 200 ms after it
    return story


def _blamed(story: Story) -> tuple[int, int, int]:
    verdict = _judged(story)
    assert verdict.status is Status.PASS
    return tuple(verdict.measures[name] for name in ("right_blame", "false_blame", "unattributed"))  # type: ignore[return-value]


def test_an_honest_primary_that_signed_a_receipt_in_time_is_blamed_falsely(origin: World) -> None:
    story = _in_time(origin)
    assert _blamed(story) == (0, 1, 0)
    measures = _judged(story).measures
    assert measures["false_blame_rate"] == 1.0 and measures["false_blame_interval"] == [0.025, 1.0]
    assert measures["right_blame_interval"] == [0.0, 0.975] and measures["honest_recorded"] == 1


def test_a_byzantine_primary_is_blamed_rightly(origin: World) -> None:
    story = _in_time(origin)
    culprit = _primary(story)
    story.info |= {"byzantine": [culprit], "honest": [n for n in story.info["tribe"] if n != culprit]}
    assert _blamed(story) == (1, 0, 0)


def test_without_a_receipt_nobody_is_blamed(origin: World) -> None:
    story = _in_time(origin)
    story.drop("receipt", member=_primary(story))
    assert _blamed(story) == (0, 0, 1)


def test_a_forged_receipt_blames_nobody_but_the_gateway_that_took_it(origin: World) -> None:
    story = _in_time(origin)
    for event in story.events("receipt"):
        event["received_ms"] -= 1
    verdict = _judged(story)
    assert {anomaly.kind for anomaly in verdict.anomalies} == {"forged-receipt"}
    assert [verdict.measures[name] for name in ("right_blame", "false_blame", "unattributed")] == [0, 0, 1]


def test_a_secondary_in_haste_frames_nobody(origin: World) -> None:
    """It included at once: the primary, honest or not, still had time."""
    story = _in_time(origin)
    story.info["parameters"]["inclusion_timeout_ms"] = 200
    assert _blamed(story) == (0, 0, 1)


def test_a_chain_that_ends_before_the_deadline_blames_nobody(origin: World) -> None:
    story = _in_time(origin)
    for event in story.events("finalise"):
        event["timestamp_ms"] = 400 + event["height"]
    assert _blamed(story) == (0, 0, 1)


def test_a_primary_whose_own_batch_was_in_time_is_excused(origin: World) -> None:
    """Its copy came second, in the next block, and in time."""
    story = _in_time(origin)
    tx, primary = story.events("include", role="secondary")[0]["tx"], _primary(story)
    batch = story.events("finalise", height=2)[0]["batches"][0]
    for event in [*story.events("batch", batch=batch), *story.events("available", batch=batch)]:
        event["proposer"] = primary
    for event in story.events("batch", batch=batch):
        event["txs"].append(tx)
    for event in story.events("finalise", height=2):
        event["timestamp_ms"] = 354
    assert _blamed(story) == (0, 0, 1)


def test_full_batches_excuse(origin: World) -> None:
    story = _in_time(origin)
    story.info["parameters"]["max_batch_txs"] = 1
    for event in story.events("batch"):
        event["time"] = 250 * MS
    assert _blamed(story) == (0, 0, 1) and _judged(story).measures["excused_full"] == 1


def test_the_record_of_a_secondary_that_crashed_is_not_asked_for(origin: World) -> None:
    story = rescued(origin, origin.story().copy())
    story.info["crashed"] = [story.events("include", role="secondary")[0]["node"]]
    story.drop("include", role="secondary")
    verdict = _judged(story)
    assert verdict.status is Status.PASS and verdict.measures["by_unheard_secondaries"] == 1


def test_a_record_for_the_primarys_own_batch_is_wrong(origin: World) -> None:
    story = origin.story().copy()
    story.events("include")[0]["role"] = "secondary"
    verdict = _judged(story)
    assert [anomaly.kind for anomaly in verdict.anomalies] == ["wrong-record"]


def test_without_a_rescue_nothing_was_tested(origin: World) -> None:
    assert _judged(origin.story().copy()).status is Status.UNKNOWN


def test_the_ranking_is_that_of_the_system(origin: World) -> None:
    index = index_of(origin.story().run())
    for number in range(50):
        tx = number.to_bytes(32, "big")
        assert family(index, tx.hex(), 0) == origin.committee.family(tx, 0)
    with pytest.raises(EvidenceError, match="clan 7"):
        family(index, "00" * 32, 7)


def test_the_whole_time_out_must_have_passed(origin: World) -> None:
    """To the millisecond, between the receipt (205 ms) and the block with the rescue (350 ms)."""
    for timeout, expected in ((145, (0, 1, 0)), (146, (0, 0, 1))):
        story = _in_time(origin)
        story.info["parameters"]["inclusion_timeout_ms"] = timeout
        assert _blamed(story) == expected
