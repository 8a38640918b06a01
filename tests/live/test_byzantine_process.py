"""`python -m faults.byzantine`: the real process of a corrupted node, alone with silent peers."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from faults.byzantine.config import BehaviourSpec, ByzantineConfig
from nodes.committee import LeaderSchedule, Parameters
from tests.live.clusterfiles import genesis, seed_of, write_nodes

pytestmark = pytest.mark.live

PATIENCE_S = 60.0

Start = Callable[..., tuple["subprocess.Popen[str]", Path]]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start n0, the first leader, with one behaviour; returns the process and its trace file."""
    running: list[subprocess.Popen[str]] = []

    def begin(
        use: str, parameters: dict[str, Any] | None = None, seed: str = "n0"
    ) -> tuple[subprocess.Popen[str], Path]:
        config = genesis(4, parameters=Parameters(delta_ms=50, timeout_resend_ms=200))
        config = msgspec.structs.replace(config, leaders=LeaderSchedule("fixed", ("n0",)))
        path, node = write_nodes(tmp_path, config)["n0"]
        spec = BehaviourSpec(7, use, parameters or {})
        byzantine = ByzantineConfig("n0", {"n0": seed_of(seed).hex()}, str(tmp_path), 1, (spec,))
        (tmp_path / "byzantine.json").write_bytes(msgspec.json.encode(byzantine))
        command = [sys.executable, "-m", "faults.byzantine", str(path), str(tmp_path / "byzantine.json")]
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        running.append(process)
        return process, Path(node.data) / "trace.jsonl"

    yield begin
    for process in running:
        process.kill()
        process.communicate()


def events(trace: Path, event: str) -> list[dict[str, Any]]:
    lines = trace.read_text().splitlines() if trace.exists() else []
    return [e for e in (json.loads(line) for line in lines if line.endswith("}")) if e["event"] == event]


def wait_for(seen: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE_S
    while not seen():
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.05)


def test_its_receipt_reaches_the_trace_and_it_stops_in_order(start: Start) -> None:
    process, trace = start("silent-leader")
    wait_for(lambda: any(e["dropped"] > 0 for e in events(trace, "behaviour")))
    last = events(trace, "behaviour")[-1]
    assert (last["id"], last["name"], last["node"]) == (7, "silent-leader", "n0")
    process.send_signal(signal.SIGTERM)
    assert process.wait(PATIENCE_S) == 0


def test_an_attack_that_raises_ends_the_process_with_its_traceback_in_the_trace(start: Start, tmp_path: Path) -> None:
    attack = tmp_path / "mine.py"
    attack.write_text(
        "from faults.byzantine.port import Behaviour\n"
        "class Mine(Behaviour):\n"
        "    def act(self, node):\n"
        "        return 1 // 0\n"
    )
    process, trace = start(f"{attack}:Mine")
    assert process.wait(PATIENCE_S) == 1
    reason = events(trace, "halt")[0]["reason"]
    assert "mine.py" in reason and "ZeroDivisionError" in reason


@pytest.mark.parametrize(
    ("use", "parameters", "seed", "words"),
    [
        ("silent-leeder", {}, "n0", "silent-leader"),
        ("vote-withholder", {"kinds": ["x"]}, "n0", "kinds = ['x']"),
        ("silent-leader", {}, "n1", "does not match its key"),
    ],
)
def test_a_bad_attack_is_refused(start: Start, use: str, parameters: dict[str, Any], seed: str, words: str) -> None:
    process, _ = start(use, parameters, seed)
    _, error = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 3 and words in error and "Traceback" not in error
