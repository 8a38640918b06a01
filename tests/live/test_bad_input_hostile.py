"""Strangers at every port of a real cluster in the middle of a run: it goes on, counts them, and is judged as ever."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path
from typing import Any

import msgspec
import pytest

from nodes.runtime.config import NodeConfig
from results.store import Run
from tests.live.command import start_run

pytestmark = pytest.mark.live
GROWTH_MB = 60  # a node under load grows by itself; a kept hostile input would be a gigabyte
RUDE = (
    b"\x00\x00\x00\x05hello",
    b"\xff" * 100_000,
    (2**31 - 1).to_bytes(4, "big") + bytes(100_000),
    b"POST /transactions HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n" + bytes(100_000),
    b"POST /transactions HTTP/1.1\r\nHost: x\r\nContent-Length: 20\r\n\r\n" + bytes(20),
    b"GET /blocks/" + b"9" * 5000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    b'{"op":"trace","from":-1}\n',
    b"[" * 4000 + b"\n",
    b'{"op":"\xff\xfe"}\n',
)


def attack(address: tuple[str, int]) -> list[socket.socket]:
    """Rude and random bytes; what is returned is half-open: silent, or in the middle of a sentence (slow loris)."""
    for data in (*RUDE, *(os.urandom(500) for _ in range(20))):
        try:
            with socket.create_connection(address, 5) as connection:
                connection.sendall(data)
        except OSError:
            continue  # the door was shut in our face, which is what it is for
    lingering = [socket.create_connection(address, 5) for _ in range(40)]
    for connection in lingering[::2]:
        connection.sendall(b"\x00\x00")
    return lingering


def status(config: NodeConfig) -> dict[str, Any]:
    with socket.create_connection(config.control, 10) as connection:
        connection.sendall(b'{"op":"status"}\n')
        answer: dict[str, Any] = json.loads(connection.makefile().readline())
        return answer


def memory_mb(pid: int) -> float:
    lines = (Path("/proc") / str(pid) / "status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS"))


def test_hostile_bytes_at_every_port_of_a_live_cluster(tmp_path: Path, toxiproxy_server: Path) -> None:
    command = start_run(tmp_path, "process", "8s", "", toxiproxy=toxiproxy_server)
    command.until(lambda: command.history().count("\n") > 4)
    files = sorted(command.directory().glob("nodes/*/node.json"))
    configs = [msgspec.json.decode(file.read_bytes(), type=NodeConfig) for file in files]
    assert len(configs) == 5
    before = {config.id: status(config) for config in configs}
    memory = {config.id: memory_mb(before[config.id]["pid"]) for config in configs}
    lingering = []
    for config in configs:
        for address in (config.listen, config.control, *([config.http] if config.http else [])):
            lingering += attack(address)
    for config in configs:
        after = status(config)
        assert (after["pid"], after["incarnation"]) == (before[config.id]["pid"], before[config.id]["incarnation"])
        assert after["rejected"] >= before[config.id]["rejected"] + 40
        assert memory_mb(after["pid"]) < memory[config.id] + GROWTH_MB
    code = command.ended()
    for connection in lingering:
        connection.close()
    document = command.document()
    assert code in (0, 2), document  # a slow machine may leave something unknown; nothing may fail
    assert not [v for v in document["verdicts"] if v["status"] == "FAIL"]
    rejects = [e for e in Run(command.directory()).trace if e["event"] == "reject"]
    assert {e["node"] for e in rejects} == {config.id for config in configs}
    assert all(e["reason"] and e["sender"] for e in rejects)
