"""A transaction that expired before it was due, and was in no block, is owed nothing; any other one still is."""

from __future__ import annotations

import pytest

from checkers.duties import duties
from checkers.index import index_of
from checkers.registry import judge
from results.verdict import Status, Verdict
from tests.golden.plants import ALIEN_TX, MS, bounds
from tests.golden.story import Story
from tests.golden.world import World

DROPPED_MS = 300  # it is accepted at 200 ms
BOTH = ("censorship", "finality-bounds")


def dropped(expiry_ms: int | None) -> Story:
    """A run in which a transaction was accepted, forwarded and received, and its family then dropped it."""
    story = World(plan=(2, 2, 0, 0), seed=5).story().copy()
    for name in ("forward", "received"):
        story.add(story.events(name)[0], tx=ALIEN_TX)
    story.add(story.events("gateway", phase="accepted")[0], tx=ALIEN_TX)
    invoked = {**story.history[0], "process": 99, "type": "invoke", "f": "transfer", "tx": ALIEN_TX}
    value = {"from": "aa" * 32} if expiry_ms is None else {"from": "aa" * 32, "expiry_ms": expiry_ms}
    story.tell({**invoked, "value": value})
    story.info["parameters"] |= {"inclusion_timeout_ms": 100, "delta_ms": 100, "max_batch_delay_ms": 10}
    bounds(story, inclusion_ms=200, exec_ms=400)
    return story


def verdict(story: Story, checker: str) -> Verdict:
    return judge(story.run(), [checker])[0]


@pytest.mark.parametrize("checker", BOTH)
def test_what_expired_in_time_is_owed_nothing(checker: str) -> None:
    found = verdict(dropped(DROPPED_MS), checker)
    assert found.status is Status.PASS and found.measures["expired"] == 1 and found.measures["pending"] == 0


@pytest.mark.parametrize("checker", BOTH)
@pytest.mark.parametrize("expiry_ms", [None, 86_400_000, 700])
def test_what_outlives_the_bound_is_owed_everything(checker: str, expiry_ms: int | None) -> None:
    found = verdict(dropped(expiry_ms), checker)
    assert {anomaly.kind for anomaly in found.anomalies} == {"lost" if checker == "censorship" else "unfinished"}
    assert found.measures["expired"] == 0


def test_what_was_ordered_must_be_executed_or_aborted_however_short_its_life() -> None:
    story = dropped(DROPPED_MS)
    story.add(story.events("gateway", phase="accepted")[0], tx=ALIEN_TX, phase="ord", time=400 * MS)
    assert {anomaly.kind for anomaly in verdict(story, "finality-bounds").anomalies} == {"unfinished"}


def test_dropping_what_has_expired_is_no_failure_of_a_primary() -> None:
    failures = {}
    for expiry_ms in (None, DROPPED_MS):
        table = duties(index_of(dropped(expiry_ms).run()))["primary"]
        failures[expiry_ms] = sum(duty.failures for duty in table.values())
    assert failures == {None: 1, DROPPED_MS: 0}
