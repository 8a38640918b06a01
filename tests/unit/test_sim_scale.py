"""Two schedulers and two ways to carry votes: they decide the speed, and nothing else."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from harness.backends.sim.backend import SimBackend
from harness.scenario import Scenario, parse
from harness.toml import Source
from harness.trial import Trial, trial

FAULTS: tuple[dict[str, Any], ...] = (
    {"use": "partition", "topology": "halves"},
    {"use": "partition", "topology": "bridge"},
    {"use": "partition", "topology": "one-way", "victims": "one"},
    {"use": "crash", "victims": "one"},
    {"use": "crash", "victims": "leader"},
    {"use": "pause", "victims": "one"},
    {"use": "latency", "delay_ms": 80, "victims": "one"},
    {"use": "loss", "probability": 0.1},
)
# Not vote-withholder: it hides certificates by their signers, which lanes may choose otherwise among equal times.
BEHAVIOURS = ("equivocating-leader", "silent-leader", "double-voter")


def drawn(seed: int, nodes: int = 7) -> dict[str, Any]:
    """A random faulty scenario: one or two faults, and one corrupted node in half of them."""
    rng = Random(seed)
    scenario: dict[str, Any] = {
        "name": "drawn",
        "expect": "hold",
        "cluster": {"nodes": nodes, "gateways": 1, "parameters": {"delta_ms": 200}},
        "network": {"latency": rng.choice(("uniform:30", "gcp-5:0.4"))},
        "workload": {"kind": "transfers", "rate": 5, "clients": 4, "duration": "4s"},
        "fault": [
            {**fault, "from": f"{rng.randrange(100, 1500)}ms", "until": f"{rng.randrange(1600, 3500)}ms"}
            for fault in rng.sample(FAULTS, rng.randrange(1, 3))
        ],
        "run": {"quiet": "1s"},
    }
    crashes = sum(fault["use"] == "crash" for fault in scenario["fault"])
    adversary: dict[str, Any] = {"crashes": crashes}
    if crashes < 2 and rng.random() < 0.5:
        adversary |= {"nodes": 1, "behaviour": [{"use": rng.choice(BEHAVIOURS)}]}
    scenario["adversary"] = adversary
    return scenario


def built(values: dict[str, Any], **network: str) -> Scenario:
    values = {**values, "network": {**values["network"], **network}}
    return parse(values, Source("drawn.toml", ""))


def finalised(run: Trial) -> list[tuple[Any, ...]]:
    """What was finalised, where and when."""
    return [
        (e["time"], e["node"], e["incarnation"], e["height"], e["block"], e["view"])
        for e in run.run.trace
        if e["event"] == "finalise"
    ]


@pytest.mark.parametrize("seed", range(6))
def test_the_schedulers_give_the_same_bytes(seed: int) -> None:
    scenario = built(drawn(seed))
    heap = trial(scenario, seed, (), SimBackend("heap"))
    window = trial(scenario, seed, (), SimBackend("window"))
    assert len(heap.run.trace) > 1000
    assert heap.digest == window.digest


def test_a_scheduler_with_another_order_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """The comparison has teeth: a window that forgets the tie-breaks gives other bytes."""
    scenario = built(drawn(0))
    heap = trial(scenario, 0, (), SimBackend("heap"))
    monkeypatch.setattr("harness.backends.sim.window.Ray.ties", lambda ray, at: ray.salts * 0)
    assert trial(scenario, 0, (), SimBackend("window")).digest != heap.digest


@pytest.mark.parametrize("seed", range(10))
def test_lanes_finalise_the_same_blocks_at_the_same_times(seed: int) -> None:
    values = drawn(seed)
    each = finalised(trial(built(values), seed, ()))
    lanes = finalised(trial(built(values, votes="lanes"), seed, ()))
    end = min(max(each)[0], max(lanes)[0]) - 50_000_000  # which events of its last instant a run still makes is open
    # A node that restarts into a backlog of seconds may count a vote there that its core has no more use for, and catch
    # up within the same instant in other steps: of such nodes the blocks are compared, and not the times.
    back = {event[1] for event in each if event[2] > 1}
    expected = sorted(event for event in each if event[0] < end and event[1] not in back)
    assert len(expected) > 100
    assert expected == sorted(event for event in lanes if event[0] < end and event[1] not in back)
    for node in sorted(back):
        chains = [sorted({e[3:5] for e in run if e[1] == node and e[0] < end - 1_000_000_000}) for run in (each, lanes)]
        shorter = min(map(len, chains))
        assert chains[0][:shorter] == chains[1][:shorter] and shorter > 3


def test_a_trace_that_is_written_in_parts_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    scenario = built(drawn(1))
    whole = trial(scenario, 1, ())
    monkeypatch.setattr("harness.keep.PART", 7)
    parts = trial(scenario, 1, ())
    assert parts.run.trace_bytes == whole.run.trace_bytes
    assert parts.info.recorded == whole.info.recorded and parts.info.recorded["trace.jsonl"] > 1000


def test_lanes_that_miscount_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """The comparison has teeth: a lane that waits for one vote more than the quorum is late."""
    from harness.backends.sim import lanes

    values = drawn(0)
    each = finalised(trial(built(values), 0, ()))
    original = lanes.Lane.__init__

    def stricter(self: lanes.Lane, born: int, voters: Any, threshold: int, classes: int) -> None:
        original(self, born, voters, threshold + (threshold > 1), classes)

    monkeypatch.setattr(lanes.Lane, "__init__", stricter)
    assert sorted(finalised(trial(built(values, votes="lanes"), 0, ()))) != sorted(each)
