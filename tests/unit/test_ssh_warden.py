"""The warden on this machine, over pipes instead of SSH: its lease, its words, and what it leaves behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.backends.processes import process_start
from harness.backends.ssh import payload
from harness.backends.ssh.host import warden
from harness.backends.ssh.host.inforce import InForce

LIMIT_S = 60.0
SLEEPER = ["-c", "import time; time.sleep(600)"]


class Talk:
    """A warden and our end of its pipes."""

    def __init__(self, directory: Path, lease_s: float) -> None:
        command = [sys.executable, "-m", warden.__name__, str(directory), "r1", str(lease_s), "1"]
        self.directory = directory
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=payload.ROOT
        )

    def ask(self, op: str, **words: Any) -> dict[str, Any]:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(json.dumps({"id": 7, "op": op, **words}).encode() + b"\n")
        self.process.stdin.flush()
        answer: dict[str, Any] = json.loads(self.process.stdout.readline())
        assert answer["id"] == 7
        return answer

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            assert pipe is not None
            pipe.close()

    def sleeper(self, name: str = "n0") -> int:
        """Start a process as if it were a node; its pid."""
        files = {"node.json": '{"home": "{home}"}'}
        answer = self.ask("node", node=name, uid=-1, gid=-1, control=0, arguments=SLEEPER, files=files, disk=0)
        assert answer == {"id": 7}
        return int(self.ask("spawn", node=name)["pid"])


@pytest.fixture
def talk(tmp_path: Path) -> Iterator[Talk]:
    made = Talk(tmp_path / "run", 600.0)
    yield made
    made.close()


def letter(pid: int) -> str:
    try:
        return (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "gone"


def until(what: Any, told: str) -> None:
    deadline = time.monotonic() + LIMIT_S
    while not what():
        assert time.monotonic() < deadline, told
        time.sleep(0.02)


def test_a_nodes_life(talk: Talk) -> None:
    pid = talk.sleeper()
    home = talk.directory / "nodes" / "n0"
    assert json.loads((home / "node.json").read_text()) == {"home": str(home)}
    assert (home / "node.json").stat().st_mode & 0o777 == 0o600
    assert talk.ask("look", node="n0")["running"]
    assert talk.ask("signal", node="n0", name="STOP") == {"id": 7}
    until(lambda: letter(pid) == "T", "it is stopped")
    assert talk.ask("signal", node="n0", name="CONT") == {"id": 7}
    assert "is running" in talk.ask("wipe", node="n0")["error"]
    assert talk.ask("signal", node="n0", name="KILL") == {"id": 7}
    assert not talk.ask("look", node="n0")["running"]
    (home / "data" / "wal.log").write_text("x")
    (home / "data" / "trace.jsonl").write_text("{}\n")
    assert talk.ask("wipe", node="n0") == {"id": 7}
    assert [path.name for path in (home / "data").iterdir()] == ["trace.jsonl"]
    assert talk.ask("ask", nodes=["n0"], request={"op": "status"}, limit_s=1)["replies"] == {"n0": None}


def test_mistakes_are_answers_and_not_the_end(talk: Talk) -> None:
    assert "no such op 'dance'" in talk.ask("dance")["error"]
    assert "no node 'nobody' on this host" in talk.ask("spawn", node="nobody")["error"]
    talk.sleeper()
    talk.ask("signal", node="n0", name="KILL")
    assert "is not running" in talk.ask("signal", node="n0", name="CONT")["error"]
    assert len(talk.ask("ports", count=3, address="127.0.0.1")["ports"]) == 3
    assert talk.ask("clock")["monotonic_ns"] > 0


def test_finishing_ends_everything_in_order(talk: Talk) -> None:
    pid = talk.sleeper()
    talk.ask("signal", node="n0", name="STOP")
    assert talk.ask("finish")["undone"] == ["n0 runs"]
    assert talk.process.wait(LIMIT_S) == 0
    assert letter(pid) in ("gone", "Z")
    assert InForce.load(talk.directory).closed


def test_a_lease_that_is_over_thaws_nodes_and_refuses_new_faults(tmp_path: Path) -> None:
    talk = Talk(tmp_path / "run", 2.0)
    try:
        pid = talk.sleeper()
        talk.ask("signal", node="n0", name="STOP")
        until(lambda: letter(pid) == "S", "the host thaws it when it hears nothing")
        answer = talk.ask("renew")
        assert "the lease is 2 s" in answer["lapsed"]
        assert "healed itself" in talk.ask("cut", add=[], delete=[])["error"]
        assert "healed itself" in talk.ask("shape", links=[])["error"]
        assert "healed itself" in talk.ask("signal", node="n0", name="STOP")["error"]
        assert talk.ask("look", node="n0")["running"]  # its harness may still collect and stop it in order
        assert talk.ask("finish")["undone"] == ["n0 runs"]
    finally:
        talk.close()


def test_a_closed_connection_ends_the_nodes_and_keeps_their_files(talk: Talk) -> None:
    pid = talk.sleeper()
    talk.ask("signal", node="n0", name="STOP")
    assert talk.process.stdin is not None
    talk.process.stdin.close()
    assert talk.process.wait(LIMIT_S) == 0
    assert letter(pid) in ("gone", "Z")
    assert "the connection was closed: n0 runs" in (talk.directory / warden.LOG).read_text()
    assert (talk.directory / "nodes" / "n0" / "data").is_dir()


def test_nodes_do_not_outlive_a_warden_that_is_killed(talk: Talk) -> None:
    pid = talk.sleeper()
    talk.process.send_signal(signal.SIGKILL)
    until(lambda: letter(pid) in ("gone", "Z"), "the kernel kills it")
    until(lambda: (talk.directory / "guardian.log").exists(), "the guardian looks after the rest")


def test_a_guardian_that_is_killed_is_replaced(talk: Talk) -> None:
    def guardians() -> list[int]:
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if os.fsencode(talk.directory) in words and b"harness.backends.ssh.host.guardian" in words:
                found.append(int(entry.name))
        return [pid for pid in found if process_start(pid)]

    until(lambda: len(guardians()) == 1, "the first one")
    first = guardians()
    os.kill(first[0], signal.SIGKILL)
    until(lambda: guardians() and guardians() != first, "the next one")
    assert talk.ask("renew")["lapsed"] == ""
