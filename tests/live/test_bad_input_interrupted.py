"""Ctrl-C and kill -9 of a real `moonquake run`, in every phase of its life, on both backends (issue 3, "Bad input")."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from results.history import read_history
from results.store import Run
from tests.live.command import LIMIT_S, Command, finish, gone, left_by, start_run

pytestmark = pytest.mark.live
BACKENDS = ["process", pytest.param("docker", marks=pytest.mark.docker)]
Start = Callable[..., Command]


@pytest.fixture
def start(request: pytest.FixtureRequest, tmp_path: Path, toxiproxy_server: Path) -> Start:
    """Starts a run on a backend; `docker` has its engine and image then."""

    def run(backend: str, load: str = "300s") -> Command:
        if backend == "docker":
            request.getfixturevalue("docker_backend")
        return start_run(tmp_path, backend, load, toxiproxy=toxiproxy_server)

    return run


def nothing_is_left(command: Command, children: list[str]) -> None:
    """Neither processes nor anything else of the run, and its list of leftovers is empty."""
    deadline = time.monotonic() + LIMIT_S
    while not gone(children):
        assert time.monotonic() < deadline, children
        time.sleep(0.02)
    assert left_by(command.process.pid) == []
    assert list((command.place / "state" / "leftovers").glob("*")) == []


@pytest.mark.parametrize("backend", BACKENDS)
def test_ctrl_c_while_nodes_start(start: Start, backend: str) -> None:
    command = start(backend)
    command.until(lambda: "starting 5 nodes" in command.said and bool(command.children()))
    children = command.children()
    command.interrupt()
    command.interrupt()  # people press it twice
    assert command.ended() == 2
    document = command.document()
    assert (
        document["exit"] == 2 and "interrupted" in document["error"] and str(command.directory()) in document["error"]
    )
    nothing_is_left(command, children)
    assert Run(command.directory()).info.interrupted
    code, document = finish(command.place / "again", "check", str(command.directory()))
    assert code == 3
    assert "interrupted while its nodes started" in document["error"] and "--backend" in document["error"]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("times", [1, 3])
def test_ctrl_c_while_a_fault_is_active(start: Start, backend: str, times: int) -> None:
    command = start(backend)
    command.until(lambda: '"use":"partition"' in command.history())
    children = command.children()
    for _ in range(times):
        command.interrupt()
    assert command.ended() == 2
    assert "faults healed, nodes stopped" in command.document()["error"]
    nothing_is_left(command, children)
    run = Run(command.directory())
    assert run.info.interrupted and not run.info.incomplete
    stop = next(o for o in read_history(run.directory / "history.jsonl") if o.process == "nemesis" and o.f == "stop")
    assert stop.value["receipt"]["healed"] > 0
    code, document = finish(command.place / "check", "check", str(run.directory))
    found = {v["property"]: v["status"] for v in document["verdicts"]}
    assert code == 2 and found["fork"] == "PASS" and found["liveness"] == "UNKNOWN" and "FAIL" not in found.values()
    code, document = finish(command.place / "report", "report", str(run.directory))
    assert code == 0 and "INTERRUPTED" in Path(document["report"]).read_text()
    assert finish(command.place / "export", "export", str(run.directory), "--edn")[0] == 0


def test_ctrl_c_in_the_quiet_phase(start: Start) -> None:
    command = start("process", "3s")
    command.until(lambda: "quiet:" in command.said)
    children = command.children()
    command.interrupt()
    assert command.ended() == 2
    nothing_is_left(command, children)
    assert Run(command.directory()).info.interrupted
    assert finish(command.place / "check", "check", str(command.directory()))[0] in (0, 2)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_while_judging(start: Start, number: int) -> None:
    command = start("process", "3s")
    command.until(lambda: "judging" in command.said)
    command.interrupt(number)
    assert command.ended() == 2, command.said
    error = command.document()["error"]
    assert f"moonquake check {command.directory()}" in error
    assert not (command.directory() / "verdicts.json").exists()
    code, document = finish(command.place / "check", "check", str(command.directory()))
    assert code in (0, 2) and document["verdicts"]  # the records are complete
    assert finish(command.place / "report", "report", str(command.directory()))[0] == 0


@pytest.mark.parametrize("backend", BACKENDS)
def test_kill_9_and_then_any_command(start: Start, backend: str) -> None:
    command = start(backend)
    command.until(lambda: '"use":"partition"' in command.history())
    children = command.children()
    command.process.kill()
    command.process.wait(LIMIT_S)
    assert (
        finish(
            command.place / "next", "list", "targets", environment={"MOONQUAKE_STATE": str(command.place / "state")}
        )[0]
        == 0
    )
    nothing_is_left(command, children)
    whole = command.history().splitlines()
    assert len(whole) > 5 and all(json.loads(line) for line in whole)
    code, document = finish(command.place / "check", "check", str(command.directory()))
    assert code == 3
    assert "no trace.jsonl" in document["error"] and "killed" in document["error"]
    assert list(command.directory().glob("nodes/*/data/trace.jsonl"))
