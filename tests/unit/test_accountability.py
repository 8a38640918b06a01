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


def test_an_honest_primary_that_had_it_in_time_is_blamed_falsely(origin: World) -> None:
    story = rescued(origin, origin.story().copy())
    story.info["parameters"]["inclusion_timeout_ms"] = 100
    verdict = _judged(story)
    assert verdict.status is Status.PASS
    assert (verdict.measures["false_blame"], verdict.measures["false_blame_rate"]) == (1, 1.0)


def test_an_honest_primary_that_never_got_it_is_not_blamed(origin: World) -> None:
    story = rescued(origin, origin.story().copy())
    story.drop("received", node=_primary(story))
    verdict = _judged(story)
    assert (verdict.measures["unattributed"], verdict.measures["false_blame"]) == (1, 0)


def test_a_byzantine_primary_is_blamed_rightly(origin: World) -> None:
    story = rescued(origin, origin.story().copy())
    culprit = _primary(story)
    story.info |= {"byzantine": [culprit], "honest": [n for n in story.info["tribe"] if n != culprit]}
    verdict = _judged(story)
    assert verdict.status is Status.PASS and verdict.measures["right_blame_rate"] == 1.0


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


def test_blocks_take_time(origin: World) -> None:
    """The penalty needs the whole time-out between receipt and block, to the millisecond."""
    story = rescued(origin, origin.story().copy())
    final = min(event["time"] for event in story.events("finalise", height=1))
    since = story.events("received", node=_primary(story))[0]["time"]
    for spare, blamed in ((0, 1), (1, 0)):
        story.info["parameters"]["inclusion_timeout_ms"] = (final - since) // MS + spare
        assert _judged(story).measures["false_blame"] == blamed
