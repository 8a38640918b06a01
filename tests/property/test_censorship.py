"""Censorship against congestion: crowds name nobody, censors are named, by role and with those they censor."""

from __future__ import annotations

import tomllib
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import hypergeom

from checkers.duties import ALPHA, Duty, _odds, _victims, struck
from harness.backends.sim.backend import SimBackend
from harness.genesis import make_genesis
from harness.scenario import Scenario, parse
from harness.toml import Source
from harness.trial import Trial, trial
from results.stats import gini, hypergeometric_tail, jain
from results.verdict import Status

CONGESTED = """
name = "congested"
expect = "hold"
[cluster]
nodes = 4
[cluster.parameters]  # five blocks of fifty batches of one transaction a second
delta_ms = 800
inclusion_timeout_ms = 1000
max_batch_txs = 1
[network]
latency = "uniform:200"
[workload]
kind = "transfers"
rate = 500
clients = 600
duration = "1s"
[checks]
include = ["censorship", "receipts"]
bounds = { inclusion_ms = 900 }
[run]
quiet = "4s"
"""
CENSORED = """
name = "censored"
expect = "hold"
[cluster]
nodes = 4
[cluster.parameters]
delta_ms = 200
inclusion_timeout_ms = 400
[network]
latency = "uniform:50"
[workload]
kind = "transfers"
rate = 20
clients = 16
duration = "3s"
[adversary]
nodes = ["n3"]
[[adversary.behaviour]]
use = "censoring-primary"
[adversary.behaviour.options]
OPTIONS
[checks]
include = ["censorship", "receipts"]
[run]
quiet = "2s"
"""


def scenario(text: str) -> Scenario:
    return parse(tomllib.loads(text), Source("censorship.toml", text))


def judged(text: str, seed: int) -> Trial:
    return trial(scenario(text), seed, ["censorship"])


@pytest.mark.parametrize("seed", range(2))
def test_pure_congestion_accuses_nobody(seed: int) -> None:
    """Most transactions come too late; all primaries, leaders and senders fare alike."""
    (verdict,) = judged(CONGESTED, seed).verdicts
    assert verdict.status is Status.UNKNOWN and "batches or blocks were full" in verdict.reason
    assert verdict.measures["congested"] > 0
    assert verdict.measures["congested"] + verdict.measures["without_opportunity"] > 50
    assert verdict.measures["censors"] == verdict.measures["senders_struck"] == verdict.anomalies == []


def test_a_censor_is_named_in_each_of_its_roles() -> None:
    (verdict,) = judged(CENSORED.replace("OPTIONS", "blocks = true").replace('"3s"', '"9s"'), 1).verdicts
    assert verdict.status is Status.PASS  # the secondaries include what it withholds, in time
    named = {(one["node"], one["role"]): one for one in verdict.measures["censors"]}
    assert named.keys() == {("n3", "primary"), ("n3", "leader")}
    primary = named["n3", "primary"]
    assert primary["withheld"][0] == primary["withheld"][1] > 5 and primary["peers"][0] == 0
    assert primary["p"] < ALPHA and primary["victims"] == "everybody alike"
    assert verdict.measures["victims_to_control"]["p50"] > 1.5


def test_a_censor_of_one_sender_is_named_with_its_victim() -> None:
    """Who is censored and by whom, where only one of two senders is."""
    text = CENSORED.replace("clients = 16", "clients = 2").replace('"3s"', '"8s"').replace("rate = 20", "rate = 60")
    text = text.replace("uniform:50", "uniform:20").replace("timeout_ms = 400", "timeout_ms = 150")
    victim = make_genesis(scenario(text.replace("OPTIONS", "")), 1, SimBackend.scheme).wallet(0).address.hex()
    (verdict,) = judged(text.replace("OPTIONS", f'victims = ["{victim}"]'), 1).verdicts
    (named,) = verdict.measures["censors"]
    assert (named["node"], named["role"], named["victims"]) == ("n3", "primary", [f"{victim[:10]}.."])


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 40), st.integers(0, 40), st.integers(0, 40), st.integers(0, 40))
def test_the_tail_is_fishers(total: int, marked: int, drawn: int, hits: int) -> None:
    marked, drawn = min(marked, total), min(drawn, total)
    hits = min(hits, drawn)
    expected = hypergeom.sf(hits - 1, total, marked, drawn)
    assert hypergeometric_tail(hits, total, marked, drawn) == pytest.approx(expected, abs=1e-12)


def test_counts_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValueError, match="cannot be"):
        hypergeometric_tail(3, 10, 11, 3)


def test_congestion_alone_strikes_nobody_in_particular() -> None:
    """A thousand crowds in which lateness falls blindly: the corrected level is one false name in ten thousand."""
    rng, alarms = Random(7), 0
    for _ in range(1000):
        senders = [f"s{rng.randrange(12)}" for _ in range(200)]
        share = rng.random()
        alarms += bool(struck(senders, [sender for sender in senders if rng.random() < share]))
    assert alarms == 0


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), crowd=st.floats(0, 0.3))
def test_a_sender_that_is_always_late_is_struck(seed: int, crowd: float) -> None:
    rng = Random(seed)
    senders = [f"s{rng.randrange(12)}" for _ in range(300)] + ["victim"] * 20
    late = [sender for sender in senders if sender == "victim" or rng.random() < crowd]
    assert struck(senders, late) == ["victim"]


def test_one_duty_tells_its_victims() -> None:
    duty = Duty()
    for number in range(60):
        duty.count(number % 6 == 0, f"s{number % 6}")
    assert _victims(duty) == ("s0",)
    assert _odds(0, 10, 5, 60) == 1.0


def test_spread() -> None:
    assert (jain([1, 1, 1, 1]), gini([1, 1, 1, 1])) == (1.0, 0.0)
    assert jain([4, 0, 0, 0]) == 0.25 and gini([4, 0, 0, 0]) == 0.75
    assert (jain([]), gini([])) == (1.0, 0.0)
