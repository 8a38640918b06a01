"""Real node processes with a fake core: hostile bytes on every port, kill -9, full disks, reconnects, exit codes."""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from nodes.records import BatchKeyRecord, decode_record
from nodes.runtime.config import NodeConfig
from nodes.runtime.wal import scan
from tests.live.clusterfiles import genesis, write_nodes

pytestmark = pytest.mark.live
ROOT = Path(__file__).resolve().parents[2]


class Lab:
    """Processes of one test."""

    def __init__(self, directory: Path, tribe: int, gateways: int = 0) -> None:
        self.nodes = write_nodes(directory, genesis(tribe, gateways))
        self.processes: dict[str, subprocess.Popen[str]] = {}

    def config(self, name: str) -> NodeConfig:
        return self.nodes[name][1]

    def start(self, name: str, wait: bool = True, limit_bytes: int = 0, **environment: str) -> subprocess.Popen[str]:
        def limit() -> None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, limit_bytes))

        process = subprocess.Popen(
            [sys.executable, "-m", "tests.live.fakenode", str(self.nodes[name][0])],
            cwd=ROOT,
            env={**os.environ, **environment},
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=limit if limit_bytes else None,
        )
        self.processes[name] = process
        if wait:
            until(lambda: process.poll() is not None or self.status(name) is not None)
        return process

    def status(self, name: str) -> dict[str, Any] | None:
        try:
            with socket.create_connection(self.config(name).control, 5) as connection:
                connection.sendall(b'{"op":"status"}\n')
                answer: dict[str, Any] = json.loads(connection.makefile().readline())
                return answer
        except (OSError, ValueError):
            return None

    def figure(self, name: str, key: str) -> int:
        status = self.status(name)
        return int(status[key]) if status else -1

    def trace(self, name: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (Path(self.config(name).data) / "trace.jsonl").read_bytes().splitlines()]

    def kept(self, name: str) -> set[tuple[str, int]]:
        records, _ = scan((Path(self.config(name).data) / "wal.log").read_bytes(), "wal.log")
        found = [decode_record(r) for r in records]
        return {(r.proposer, r.seq) for r in found if isinstance(r, BatchKeyRecord)}

    def close(self) -> None:
        for process in self.processes.values():
            process.kill()
            process.wait()
            if process.stderr is not None:
                process.stderr.close()


def until(condition: Callable[[], bool], timeout_s: float = 60.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.05)


def memory_mb(pid: int) -> float:
    lines = (Path("/proc") / str(pid) / "status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS"))


@pytest.fixture
def lab_of(tmp_path: Path) -> Iterator[Callable[..., Lab]]:
    labs: list[Lab] = []

    def make(tribe: int, gateways: int = 0) -> Lab:
        labs.append(Lab(tmp_path, tribe, gateways))
        return labs[-1]

    yield make
    for lab in labs:
        lab.close()


def hostile(address: tuple[str, int], data: bytes, patient: bool = False) -> None:
    """Connect, say something rude, and maybe wait for the door to close."""
    try:
        with socket.create_connection(address, 10) as connection:
            connection.settimeout(1)  # half a request may be left open for longer: that is what time-outs are for
            connection.sendall(data)
            while patient and connection.recv(65536):
                continue
    except OSError:
        return


def test_hostile_bytes_on_every_port_are_counted_traced_and_harm_nobody(lab_of: Callable[..., Lab]) -> None:
    lab = lab_of(1, 1)
    processes = [lab.start("n0"), lab.start("g0")]
    until(lambda: lab.figure("n0", "height") > 0 and lab.figure("g0", "height") > 0)
    before = memory_mb(processes[1].pid)
    gateway = lab.config("g0")
    assert gateway.http is not None
    for address in (gateway.listen, gateway.control, gateway.http):
        for data in (
            b"\x00\x00\x00\x05hello",
            b"\xff" * 100_000,
            b"GET / HTTP/1.1\r\n" + b"X" * 100_000,
            (2**31 - 1).to_bytes(4, "big") + bytes(100_000),
            b'{"op":"sudo"}\n',
            b"{" * 4000 + b"\n",
        ):
            hostile(address, data, patient=True)
        silent = [socket.create_connection(address, 10) for _ in range(150)]
        assert lab.status("g0") is not None
        for connection in silent:
            connection.close()
        for _ in range(300):
            hostile(address, os.urandom(200))
    assert [p.poll() for p in processes] == [None, None]
    assert lab.figure("g0", "rejected") > 300
    rejects = [e for e in lab.trace("g0") if e["event"] == "reject"]
    assert rejects and all(e["reason"] and e["sender"] for e in rejects)
    assert memory_mb(processes[1].pid) < before + 30
    height = lab.figure("g0", "height")
    until(lambda: lab.figure("g0", "height") > height)


def test_kill_9_keeps_every_acknowledged_record_and_the_peer_reconnects(lab_of: Callable[..., Lab]) -> None:
    lab = lab_of(2)
    lab.start("n1")
    for incarnation in range(1, 4):
        lab.start("n0")
        acked = lab.figure("n1", "executed")
        until(lambda wanted=acked + 30: lab.figure("n1", "executed") >= wanted)  # type: ignore[misc]
        status = lab.status("n0")
        assert status is not None and status["incarnation"] == incarnation
        lab.processes["n0"].send_signal(signal.SIGKILL)
        lab.processes["n0"].wait()
    acknowledged = {("n1", e["seq"]) for e in lab.trace("n1") if e["event"] == "acked"}
    assert acknowledged <= lab.kept("n0")
    assert {("n1", e["seq"]) for e in lab.trace("n0") if e["event"] == "kept"} <= lab.kept("n0")
    lab.start("n0")
    starts = [e for e in lab.trace("n0") if e["event"] in ("start", "restart")]
    assert [e["event"] for e in starts] == ["start", "restart", "restart", "restart"]
    assert starts[-1]["recovered"] == len(lab.kept("n0")) or lab.figure("n0", "height") >= starts[-1]["recovered"] > 0


def test_a_disk_that_takes_no_more_stops_the_node_and_loses_nothing(lab_of: Callable[..., Lab]) -> None:
    lab = lab_of(2)
    lab.start("n1")
    full = lab.start("n0", limit_bytes=20_000)
    assert full.wait(120) == 4
    _, errors = full.communicate()
    assert "cannot be written" in errors and "Traceback" not in errors and len(errors.splitlines()) <= 3
    acknowledged = {("n1", e["seq"]) for e in lab.trace("n1") if e["event"] == "acked"}
    assert acknowledged and acknowledged <= lab.kept("n0")
    lab.start("n0")
    height = lab.figure("n0", "height")
    assert height >= len(acknowledged)
    until(lambda: lab.figure("n0", "height") > height)


def test_a_core_that_raises_is_a_visible_crash(lab_of: Callable[..., Lab]) -> None:
    lab = lab_of(2)
    lab.start("n1")
    crashing = lab.start("n0", wait=False, FAKE_CRASH_AT="5")
    assert crashing.wait(60) == 1
    _, errors = crashing.communicate()
    assert "RuntimeError: told to crash" in errors and "Traceback" in errors
    assert lab.trace("n0")[-1]["event"] == "halt" and "told to crash" in lab.trace("n0")[-1]["reason"]


def test_sigterm_and_the_stop_request_end_in_order(lab_of: Callable[..., Lab]) -> None:
    lab = lab_of(2)
    first, second = lab.start("n0"), lab.start("n1")
    first.send_signal(signal.SIGTERM)
    hostile(lab.config("n1").control, b'{"op":"stop"}\n')
    assert (first.wait(30), second.wait(30)) == (0, 0)
    assert first.communicate()[1] == second.communicate()[1] == ""
    assert lab.trace("n0")[0]["event"] == "start"


def test_a_port_in_use_is_one_clear_line_and_code_4(lab_of: Callable[..., Lab]) -> None:
    lab = lab_of(2)
    with socket.create_server(lab.config("n0").control):
        process = lab.start("n0", wait=False)
        assert process.wait(60) == 4
    _, errors = process.communicate()
    assert len(errors.splitlines()) == 1
    assert "control port" in errors and str(lab.config("n0").control[1]) in errors and "another port" in errors


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (None, "n0.json"),
        ({"colour": "blue"}, "colour"),
        ({"secret_key": "00"}, "secret_key"),
        ({"secret_key": "11" * 32}, "does not belong to the public key"),
        ({"id": "n9"}, "not in the genesis"),
        ({"peers": {}}, "missing ['n1']"),
        ({"control": ["127.0.0.1", 70000]}, "70000 is not a TCP port"),
        ({"genesis": "nowhere.json"}, "nowhere.json: cannot be read"),
    ],
)
def test_a_bad_configuration_is_one_clear_line_and_code_3(
    lab_of: Callable[..., Lab], change: dict[str, Any] | None, said: str
) -> None:
    lab = lab_of(2)
    path = lab.nodes["n0"][0]
    path.write_text("{" if change is None else json.dumps({**json.loads(path.read_bytes()), **change}))
    process = lab.start("n0", wait=False)
    assert process.wait(60) == 3
    _, errors = process.communicate()
    assert len(errors.splitlines()) == 1 and said in errors
