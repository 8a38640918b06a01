"""Liveness of a system that is not ours, and the window of a fault that came late."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from checkers.registry import judge
from results.store import FaultInfo, Run, RunInfo
from results.verdict import Status, Verdict

MS, S = 1_000_000, 1_000_000_000
NODES = ("n0", "n1", "n2")


class Tale:
    """Three nodes that decide something every 100 ms, for 20 s; a partition from 5 to 10 s; a load up to 18 s."""

    def __init__(self, blocks: bool = False) -> None:
        self.heights = {node: {t * 100 * MS: t + 1 for t in range(200)} for node in NODES}
        self.blocks = blocks
        self.lives = [(node, 0, "start") for node in NODES]
        self.asked_until = 18 * S
        self.held: int | None = 5 * S
        self.start, self.stop = 5 * S, 10 * S
        self.bounds: dict[str, Any] = {"liveness_ms": 2000}

    def stall(self, node: str, since: int, until: int) -> None:
        self.heights[node] = {t: h for t, h in self.heights[node].items() if not since <= t < until}

    def judged(self, place: Path, name: str) -> Verdict:
        fault = FaultInfo(1, "partition", "fault", 5 * S, 10 * S, ["n0>n1"])
        info = RunInfo(
            scenario={}, name="tale", seed=1, backend="process", layer="toxiproxy", target="etcd",
            expect={"hold": True}, regime="within", chain="", epoch=0, cycle=0, tribe=list(NODES), gateways=[],
            clans=[], public_keys={},
            honest=list(NODES), byzantine=[], load_start=1, load_end=18 * S, heal=10 * S, end=20 * S, faults=[fault],
            checks={"include": [name], "bounds": self.bounds},
        )  # fmt: skip
        (place / "run.json").write_bytes(msgspec.json.encode(info))
        events: list[dict[str, Any]] = [
            {"time": time, "node": node, "incarnation": 1, "event": event} for node, time, event in self.lives
        ]
        for node, heights in self.heights.items():
            for time, height in heights.items():
                head = {"time": time + 1, "node": node, "incarnation": 1}
                events.append({**head, "event": "progress", "height": height, "view": 1, "leader": "n0"})
                if self.blocks:
                    events.append({
                        **head, "event": "finalise", "height": height, "view": 1, "block": f"b{height}",
                        "parent": f"b{height - 1}", "batches": [], "proposer": "n0",
                    })  # fmt: skip
        events.sort(key=lambda event: event["time"])
        (place / "trace.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events))
        receipt = {"bit": True, "heal_verified": True, "matched": 1, "dropped": 9, "changed": 0, "healed": self.stop}
        value = {"id": 1, "use": "partition", "kind": "fault", "targets": ["n0>n1"], "parameters": {}}
        history: list[dict[str, Any]] = [
            {"time": t, "process": t // (100 * MS), "type": kind, "f": "read", "value": [1, None]}
            for t in range(0, self.asked_until, 100 * MS) for kind in ("invoke", "ok")
        ]  # fmt: skip
        history.append({"time": self.start, "process": "nemesis", "type": "info", "f": "start", "value": value})
        more = {} if self.held is None else {"held": self.held}
        stop = {**value, **more, "receipt": receipt}
        history.append({"time": self.stop, "process": "nemesis", "type": "info", "f": "stop", "value": stop})
        history.sort(key=lambda operation: operation["time"])
        lines = [json.dumps({"index": i, **operation}) for i, operation in enumerate(history)]
        (place / "history.jsonl").write_text("".join(line + "\n" for line in lines))
        return judge(Run(place), [name])[0]


@pytest.mark.parametrize("blocks", [False, True])
def test_deciding_on_and_on_is_live(tmp_path: Path, blocks: bool) -> None:
    found = Tale(blocks).judged(tmp_path, "liveness")
    assert (found.status, found.examined) == (Status.PASS, 3)
    assert found.measures["recovery_ms"]["max"] <= 600


@pytest.mark.parametrize("blocks", [False, True])
def test_a_stall_after_the_heal_is_a_violation_and_one_before_is_none(tmp_path: Path, blocks: bool) -> None:
    tale = Tale(blocks)
    for node in NODES:
        tale.stall(node, 5 * S, 10 * S)
    assert tale.judged(tmp_path, "liveness").status is Status.PASS
    for node in NODES:
        tale.stall(node, 10 * S, 20 * S)
    found = tale.judged(tmp_path, "liveness")
    assert found.status is Status.FAIL and {a.kind for a in found.anomalies} == {"stalled"}


def test_slow_recovery_a_gap_and_a_node_left_behind_are_told_apart(tmp_path: Path) -> None:
    tale = Tale()
    tale.stall("n0", 10 * S, 13 * S)
    tale.stall("n1", 12 * S, 15 * S)
    tale.stall("n2", 17 * S, 20 * S)
    found = tale.judged(tmp_path, "liveness")
    kinds = {(a.kind, a.summary.split()[0]) for a in found.anomalies}
    assert kinds == {("slow-recovery", "n0"), ("stalled", "n1"), ("left-behind", "n2")}


def test_without_blocks_nothing_is_decided_where_nothing_is_asked(tmp_path: Path) -> None:
    tale = Tale()
    tale.asked_until = 9 * S
    for node in NODES:
        tale.stall(node, 9 * S, 20 * S)
    found = tale.judged(tmp_path, "liveness")
    assert found.status is Status.UNKNOWN and "nothing was asked after the heal" in found.reason


def test_a_bound_that_the_run_did_not_reach_is_left_open(tmp_path: Path) -> None:
    tale = Tale()
    tale.bounds = {"liveness_ms": 30_000}
    for node in NODES:
        tale.stall(node, 10 * S, 20 * S)
    assert tale.judged(tmp_path, "liveness").status is Status.UNKNOWN


def test_a_node_that_starts_by_itself_is_a_crash_loop(tmp_path: Path) -> None:
    tale = Tale()
    tale.lives += [("n1", 7 * S, "restart"), ("n1", 8 * S, "restart")]
    found = tale.judged(tmp_path, "liveness")
    assert [a.kind for a in found.anomalies] == ["crash-loop"]


def test_a_window_that_began_late_and_lasted_is_a_whole_one(tmp_path: Path) -> None:
    tale = Tale()
    tale.start, tale.stop = 8 * S, 13 * S
    assert tale.judged(tmp_path, "receipts").status is Status.UNKNOWN, "healed after what run.json gives as the heal"
    tale.stop = 10 * S
    tale.start = int(7.6 * S)
    tale.held = int(2.4 * S)
    assert "active for 2400 of 5000 ms" in tale.judged(tmp_path, "receipts").reason
    tale.held = None  # as recorded where time is not real
    assert "active for 2400 of 5000 ms" in tale.judged(tmp_path, "receipts").reason
    tale.start, tale.held = 5 * S, 5 * S
    assert tale.judged(tmp_path, "receipts").status is Status.PASS


@pytest.mark.parametrize("regime", ["within", "beyond"])
def test_the_thresholds_of_our_own_stack_say_nothing_of_others(tmp_path: Path, regime: str) -> None:
    """Three nodes bear one crash in Raft; a weak setting is beyond the bound without any adversary."""
    tale = Tale()
    tale.judged(tmp_path, "liveness")
    info = json.loads((tmp_path / "run.json").read_text())
    info |= {"regime": regime, "amnesiac": ["n1"], "scenario": {"cluster": {"target": "etcd", "nodes": 3}}}
    (tmp_path / "run.json").write_text(json.dumps(info))
    assert "flaws_of_the_records" not in judge(Run(tmp_path), ["liveness"])[0].measures


def test_a_node_without_a_trace_is_a_flaw(tmp_path: Path) -> None:
    tale = Tale()
    tale.lives, tale.heights["n2"] = tale.lives[:2], {}
    found = tale.judged(tmp_path, "receipts")
    assert found.status is Status.UNKNOWN and "n2 left no trace" in found.reason
