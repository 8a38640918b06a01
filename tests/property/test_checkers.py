"""Random valid runs pass every checker; a run with one planted violation fails the checker that owns it."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from checkers.judge import Judge
from checkers.registry import judge, load, names
from harness.expectations import names_to_judge
from results.verdict import Status
from tests.golden.make import good
from tests.golden.plants import PLANTS
from tests.golden.world import World

OWN = [name for name in names() if isinstance(load(name), Judge)]
FIRES = sorted((checker, kind) for checker in OWN for kind in PLANTS[checker] if checker != "receipts")
SHAPES = st.sampled_from([(4, 1, 1), (7, 1, 2), (5, 2, 1), (8, 2, 1)])  # tribe, clans, gateways
LOADS = st.lists(st.integers(0, 4), min_size=3, max_size=6).filter(any)


@settings(max_examples=30, deadline=None)
@given(shape=SHAPES, plan=LOADS, seed=st.integers(0, 10**6))
def test_valid_runs_pass(shape: tuple[int, int, int], plan: list[int], seed: int) -> None:
    base = World(*shape, plan=plan, seed=seed).story()
    for verdict in judge(base.run(), names_to_judge([], {}, OWN)):
        assert verdict.status is Status.PASS, verdict
    assert judge(good("receipts", base).run(), ["receipts"])[0].status is Status.PASS


@settings(max_examples=20, deadline=None)
@given(plan=LOADS, seed=st.integers(0, 10**6))
def test_copies_never_take_effect(plan: list[int], seed: int) -> None:
    base = good("receipts", World(plan=plan, copies=True, seed=seed).story())  # under a fault, copies are legitimate
    for verdict in judge(base.run(), names_to_judge([], {}, OWN)):
        assert verdict.status is Status.PASS, verdict


@pytest.mark.parametrize(("checker", "kind"), FIRES)
@settings(max_examples=5, deadline=None)
@given(seed=st.integers(0, 10**6), tail=st.integers(0, 2))
def test_one_planted_violation_fails(checker: str, kind: str, seed: int, tail: int) -> None:
    plan = (6, 2, *(0 for _ in range(tail + 1)))  # enough for a transfer and a list operation, whatever the seed
    origin = World(plan=plan, seed=seed)
    operations = {op["f"] for op in origin.history if op["type"] == "ok"}
    if len(operations) < 2 or all(
        op["value"]["from"] == op["value"]["to"] for op in origin.history if op["f"] == "transfer"
    ):
        return  # one seed in a hundred
    story = origin.story().copy()
    PLANTS[checker][kind](origin, story)
    for told in (story, story.shuffled(Random(seed))):  # nodes' records are unrelated: their order says nothing
        (verdict,) = judge(told.run(), [checker])
        assert verdict.status is Status.FAIL
        assert kind in {anomaly.kind for anomaly in verdict.anomalies}
