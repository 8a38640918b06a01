"""Shrinking, whatever fails: the result fails alike, nothing of it can go, and it stays what it is."""

from __future__ import annotations

import tomllib
from typing import Any

import tomli_w
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.scenario import Scenario, parse
from harness.shrinking.edits import BEHAVIOURS, FAULTS, Values, entries, get
from harness.shrinking.passes import PASSES
from harness.shrinking.search import Search, Target, run_passes
from harness.toml import Source
from tests.shrinking import FakeJudge

USES = ("pause", "crash", "partition", "latency")
ATTACKS = ("silent-leader", "double-voter", "vote-withholder", "equivocating-leader")


def windows() -> st.SearchStrategy[dict[str, str]]:
    pairs = st.tuples(st.integers(0, 9), st.integers(1, 10)).filter(lambda pair: pair[0] < pair[1])
    return pairs.map(lambda pair: {"from": f"{pair[0]}s", "until": f"{pair[1]}s"})


def faults(nodes: int) -> st.SearchStrategy[dict[str, Any]]:
    victims = st.one_of(
        st.just("one"), st.lists(st.integers(0, nodes - 1).map("n{}".format), min_size=1, max_size=3, unique=True)
    )
    return st.builds(_fault, st.sampled_from(USES), victims, windows())


def _fault(use: str, victims: Any, window: dict[str, str]) -> dict[str, Any]:
    more: dict[str, Any] = {"topology": "isolate"} if use == "partition" else {}
    more |= {"delay_ms": 20} if use == "latency" else {}
    return {"use": use, "victims": victims, **more, **window}


@st.composite
def scenarios(draw: st.DrawFn) -> Values:
    n = draw(st.integers(4, 11))
    corrupted = draw(st.integers(0, n // 2))
    values: Values = {
        "name": "any",
        "expect": "hold",
        "cluster": {"nodes": n, "gateways": draw(st.integers(1, 3)), "clans": draw(st.integers(1, n // 3))},
        "network": {"latency": draw(st.sampled_from(["lan", "gcp-5", "uniform:20"])), "jitter_ms": 2},
        "workload": {"kind": "transfers", "rate": draw(st.integers(1, 60)), "duration": "10s"},
        "adversary": {"crashes": 20, "amnesiacs": 0},
        "fault": draw(st.lists(faults(n), max_size=8)),
        "run": {"quiet": "9s"},
    }
    values["adversary"]["crashes"] = draw(st.integers(0, n))
    if corrupted:
        uses = draw(st.lists(st.sampled_from(ATTACKS), min_size=1, max_size=3))
        values["adversary"]["nodes"] = corrupted
        values["adversary"]["behaviour"] = [{"use": use, **draw(windows())} for use in uses]
    return values


@st.composite
def needs(draw: st.DrawFn) -> tuple[Values, dict[str, Any]]:
    """A scenario, and what of it a violation needs (it has all of that)."""
    values = draw(scenarios())
    present = [e["use"] for _, e in entries(values)]
    needed = draw(st.lists(st.sampled_from(present), max_size=3, unique=True)) if present else []
    return values, {
        "uses": set(needed),
        "n": draw(st.integers(4, values["cluster"]["nodes"])),
        "byzantine": draw(st.integers(0, get(values, ("adversary", "nodes"), 0))),
        "rate": draw(st.integers(1, values["workload"]["rate"])),
    }


def planted(need: dict[str, Any]) -> FakeJudge:
    def fails(scenario: Scenario) -> bool:
        uses = {f.use for f in scenario.faults} | {b.use for b in scenario.adversary.behaviours}
        enough = (
            len(scenario.cluster.tribe) >= need["n"],
            scenario.adversary.count >= need["byzantine"],
            scenario.workload.rate >= need["rate"],
        )
        return need["uses"] <= uses and all(enough)

    return FakeJudge(fails)


def shrunk(values: Values, judge: FakeJudge) -> Search:
    search = Search(values, 5, Target("fork", "fork"), judge, max_trials=100_000)
    assert run_passes(search, PASSES).minimal
    return search


@settings(max_examples=25)
@given(needs())
def test_the_result_fails_alike_and_holds_nothing_superfluous(case: tuple[Values, dict[str, Any]]) -> None:
    values, need = case
    judge = planted(need)
    search = shrunk(values, judge)
    small = search.trial
    assert ("fork", "fork") in small.anomalies()
    assert small.expected is (small.info.regime == "beyond")
    uses = [entry["use"] for _, entry in entries(search.values)]
    assert set(uses) >= need["uses"]
    assert len(uses) <= len(need["uses"]) + bool(need["byzantine"])  # corrupted nodes need a behaviour
    assert len(small.info.byzantine) <= max(need["byzantine"], bool(need["uses"] & set(ATTACKS)))
    assert len(get(search.values, FAULTS, [])) <= len(values["fault"])
    assert len(get(search.values, BEHAVIOURS, [])) <= len(values["adversary"].get("behaviour", []))
    first = judge(search.settled(values, 5), 5)
    if first.info.regime == "within":
        assert small.info.regime == "within"


@settings(max_examples=25)
@given(needs())
def test_every_candidate_is_a_scenario_and_the_file_reads_back(case: tuple[Values, dict[str, Any]]) -> None:
    values, need = case
    judge = planted(need)
    search = shrunk(values, judge)
    for scenario, _ in judge.asked:
        assert parse(scenario.raw, Source("again")) == parse(scenario.raw, Source("again"))
    text = tomli_w.dumps(search.values)
    again = tomllib.loads(text)
    assert again == search.values
    assert ("fork", "fork") in judge(parse(again, Source("file", text)), search.seed).anomalies()


@settings(max_examples=25)
@given(needs())
def test_what_is_minimal_stays_as_it_is(case: tuple[Values, dict[str, Any]]) -> None:
    values, need = case
    once = shrunk(values, planted(need))
    twice = Search(once.values, once.seed, once.target, planted(need), max_trials=100_000)
    assert run_passes(twice, PASSES).minimal
    assert twice.values == once.values
    assert twice.steps == []


@settings(max_examples=15)
@given(needs(), st.integers(1, 12))
def test_a_small_budget_keeps_the_best_so_far(case: tuple[Values, dict[str, Any]], budget: int) -> None:
    values, need = case
    judge = planted(need)
    search = Search(values, 5, Target("fork", "fork"), judge, max_trials=budget)
    run_passes(search, PASSES)
    assert search.trials <= budget
    assert ("fork", "fork") in search.trial.anomalies()
