"""The real command line on real processes: a run, Ctrl-C, and kill -9 of the harness in mid-run."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from results.history import read_history
from results.store import Run

pytestmark = pytest.mark.live
LIMIT_S = 120.0


def start(place: Path, *words: str) -> subprocess.Popen[bytes]:
    """`moonquake WORDS` in its own session, its output in files."""
    with (place / "out").open("wb") as out, (place / "err").open("wb") as err:
        return subprocess.Popen(
            [sys.executable, "-m", "harness.cli", *words], stdout=out, stderr=err, start_new_session=True
        )


def until(what: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    """Poll until it holds; the process must still be running."""
    deadline = time.monotonic() + LIMIT_S
    while not what():
        assert process.poll() is None, "the harness ended too early"
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.1)


def operations(runs: Path) -> int:
    """Lines of the history of the only run so far."""
    return sum(path.read_bytes().count(b"\n") for path in runs.glob("*/*/history.jsonl"))


def nodes_of(runs: Path) -> list[int]:
    """Processes that mention this test's run directory on their command line, the harness itself excepted."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            words = (entry / "cmdline").read_bytes()
        except OSError:
            continue
        if os.fsencode(runs) in words and b"harness.cli" not in words:
            found.append(int(entry.name))
    return found


def test_a_run_from_the_command_line(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    words = ("run", "fault-free", "--nodes", "4", "--time", "4s", "--backend", "process", "--json", "--runs", str(runs))
    process = start(tmp_path, *words)
    assert process.wait(LIMIT_S) == 0, (tmp_path / "err").read_text()
    document = json.loads((tmp_path / "out").read_text())
    assert document["as_expected"] is True
    assert all(v["status"] == "PASS" and v["examined"] > 0 for v in document["verdicts"])
    assert Path(document["report"]).stat().st_size > 1000
    assert nodes_of(runs) == []


def test_ctrl_c_heals_stops_and_keeps_the_records(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    words = ("run", "bridge-partition", "--time", "300s", "--backend", "process", "--runs", str(runs))
    process = start(tmp_path, *words)
    until(lambda: operations(runs) > 20, process)
    assert nodes_of(runs)
    process.send_signal(signal.SIGINT)
    assert process.wait(LIMIT_S) == 2
    run = Run((runs / "latest").resolve())
    assert run.info.interrupted
    assert len(list(read_history(run.directory / "history.jsonl"))) > 20
    assert run.trace
    assert nodes_of(runs) == []
    assert "interrupted: faults healed, nodes stopped" in (tmp_path / "err").read_text()


def test_the_next_command_removes_what_a_killed_harness_left(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    process = start(
        tmp_path, "run", "fault-free", "--nodes", "4", "--time", "300s", "--backend", "process", "--runs", str(runs)
    )
    until(lambda: operations(runs) > 5, process)
    assert nodes_of(runs)
    process.kill()
    process.wait(LIMIT_S)
    assert start(tmp_path, "list", "targets").wait(LIMIT_S) == 0
    assert nodes_of(runs) == []
