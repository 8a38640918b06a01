"""Balances that gateways tell: what is judged, what is not, and that nobody else stumbles over the questions."""

from __future__ import annotations

from typing import Any

import pytest

from checkers.index import index_of
from checkers.registry import judge, names
from checkers.replay import replay_of
from harness.expectations import names_to_judge
from results.verdict import Status, Verdict
from tests.golden.plants import MS, answered, ask
from tests.golden.story import Story
from tests.golden.world import World


@pytest.fixture(scope="module")
def world() -> World:
    return World(plan=(2, 2, 0, 0), seed=5)


@pytest.fixture
def story(world: World) -> Story:
    return world.story().copy()


def verdict(story: Story) -> Verdict:
    return judge(story.run(), ["acknowledged"])[0]


def kinds(story: Story) -> list[str]:
    return [anomaly.kind for anomaly in verdict(story).anomalies]


def test_true_answers_are_examined(world: World, story: Story) -> None:
    before = verdict(story)
    after = verdict(answered(world, story))
    assert after.status is Status.PASS and after.examined == before.examined + 2
    assert (after.measures["balances_asked"], after.measures["balances_told"]) == (2, 2)
    assert "balances_told" not in before.measures


@pytest.mark.parametrize("wrong", [{"balance": 999}, {"seq": 1}, {"balance": -1}, {"height": -1}])
def test_another_account_than_was_there(story: Story, wrong: dict[str, Any]) -> None:
    ask(story, 50, **wrong)
    assert kinds(story) == ["wrong-balance"]


def test_an_account_that_nobody_knows_holds_nothing(story: Story) -> None:
    ask(story, 50, address="77" * 32, balance=0)
    assert kinds(story) == []
    ask(story, 60, address="77" * 32, balance=5)
    assert kinds(story) == ["wrong-balance"]


@pytest.mark.parametrize("after_ms", [-1, 0])
def test_a_height_may_be_told_from_its_certificate_on(world: World, story: Story, after_ms: int) -> None:
    gateway = story.info["gateways"][0]
    (certified,) = story.events("state_certificate", node=gateway, height=3)
    ledger = replay_of(index_of(story.run())).ledgers[0]  # nothing happens after height 2
    address, (balance, seq) = next((a, state) for a, state in ledger.accounts.items() if state[1])
    at_ms = certified["time"] // MS - 1 + after_ms  # of the question; the answer comes a millisecond later
    ask(story, at_ms, address=address.hex(), balance=balance, seq=seq, height=3)
    assert kinds(story) == (["uncertified-balance"] if after_ms < 0 else [])


def test_corrupted_gateways_are_not_judged(story: Story) -> None:
    ask(story, 50, balance=1)
    ask(story, 60, height=1, balance=1)
    story.info["byzantine"] = [story.info["gateways"][0]]
    assert kinds(story) == []
    assert "balances_asked" not in verdict(story).measures


def test_a_lean_trace_has_no_certificates_to_judge_by(story: Story) -> None:
    story.drop("state_certificate")
    ask(story, 60, height=1, balance=1)
    assert kinds(story) == ["wrong-balance"]


def test_what_cannot_be_executed_again_is_counted(story: Story) -> None:
    story.drop("body", batch=story.events("finalise", height=2)[0]["batches"][0])
    unjudged = verdict(story).measures["unjudged"]
    ask(story, 950, height=3, balance=1)
    found = verdict(story)
    assert found.status is not Status.FAIL and found.measures["unjudged"] == unjudged + 1


def test_a_height_that_nobody_finalised(story: Story) -> None:
    ask(story, 950, height=99)
    assert kinds(story) == ["uncertified-balance", "wrong-balance"]


def test_nobody_answers(story: Story) -> None:
    ask(story, 50)
    for operation in story.history:
        if operation["f"] == "balance" and operation["type"] == "ok":
            operation |= {"type": "fail", "value": {"address": "00"}}
    found = verdict(story)
    assert found.status is Status.UNKNOWN and "none was answered" in found.reason


@pytest.mark.parametrize("value", [None, {}, {"address": "77"}, {"address": "77" * 32, "balance": "1"}])
def test_an_answer_of_another_shape_is_a_damaged_record(story: Story, value: Any) -> None:
    ask(story, 50)
    next(o for o in story.history if o["f"] == "balance" and o["type"] == "ok")["value"] = value
    found = verdict(story)
    assert found.status is Status.UNKNOWN and "crashed" not in found.reason


def test_no_other_checker_minds_the_questions(world: World, story: Story) -> None:
    others = [name for name in names_to_judge([], {}, names()) if name != "acknowledged"]
    plain = judge(story.run(), others)
    assert judge(answered(world, story).run(), others) == plain
