"""The control port answers status and stop, streams whole trace lines from an offset, and survives hostile bytes."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from nodes.runtime import control as control_module
from nodes.runtime.control import MAX_LINE, Control
from nodes.runtime.trace import TraceWriter


class Served:
    """A control port with a trace, and what it was told."""

    def __init__(self, path: Path) -> None:
        self.trace = TraceWriter(path, "n0", 1)
        self.rejected: list[str] = []
        self.stopped = asyncio.Event()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address: tuple[str, int] = self.listener.getsockname()
        self.control = Control(
            lambda: {"node": "n0"}, self.stopped.set, self.trace, lambda reason, _: self.rejected.append(reason)
        )

    async def ask(self, line: bytes) -> bytes:
        """Everything that comes back for one line, until the first newline or the end."""
        reader, writer = await asyncio.open_connection(*self.address)
        writer.write(line)
        async with asyncio.timeout(20):
            answer = await reader.readline()
        writer.close()
        return answer


@asynccontextmanager
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    port = Served(tmp_path / "trace.jsonl")
    await port.control.start(port.listener)
    yield port
    await port.control.close()
    port.trace.close()


async def test_status_stop_and_several_requests_on_one_connection(tmp_path: Path) -> None:
    async with served(tmp_path) as port:
        reader, writer = await asyncio.open_connection(*port.address)
        for _ in range(2):
            writer.write(b'{"op":"status"}\n')
            assert json.loads(await reader.readline()) == {"node": "n0"}
        writer.write(b'{"op":"stop"}\n')
        assert json.loads(await reader.readline()) == {"ok": True}
        await asyncio.wait_for(port.stopped.wait(), 20)
        writer.close()


async def test_trace_streams_from_an_offset_and_follows(tmp_path: Path) -> None:
    async with served(tmp_path) as port:
        port.trace.add(1, "first", {})
        port.trace.flush()
        offset = port.trace.size
        port.trace.add(2, "second", {})
        port.trace.flush()
        reader, writer = await asyncio.open_connection(*port.address)
        writer.write(json.dumps({"op": "trace", "from": offset}).encode() + b"\n")
        assert json.loads(await reader.readline())["event"] == "second"
        port.trace.add(3, "third", {"n": 1})
        port.trace.flush()
        line = json.loads(await asyncio.wait_for(reader.readline(), 20))
        assert line == {"time": 3, "node": "n0", "incarnation": 1, "event": "third", "n": 1}
        writer.close()


@pytest.mark.parametrize(
    "line",
    [
        b'{"op":"dance"}\n',
        b'{"op":"trace","from":-1}\n',
        b"garbage\n",
        b"\x00\xff\xfe\n",
        b"[" * 3000 + b"\n",
        b'{"op":"status"' + b" " * (2 * MAX_LINE),
    ],
)
async def test_bad_requests_get_an_error_are_counted_and_closed(tmp_path: Path, line: bytes) -> None:
    async with served(tmp_path) as port:
        assert "error" in json.loads(await port.ask(line))
        assert len(port.rejected) == 1
        assert json.loads(await port.ask(b'{"op":"status"}\n')) == {"node": "n0"}


async def test_connections_are_bounded_the_oldest_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control_module, "MAX_CONNECTIONS", 3)
    async with served(tmp_path) as port:
        silent = []
        for _ in range(3):
            reader, writer = await asyncio.open_connection(*port.address)
            writer.write(b'{"op":"status"}\n')
            await reader.readline()  # it is being served
            silent.append((reader, writer))
        assert json.loads(await port.ask(b'{"op":"status"}\n')) == {"node": "n0"}
        assert await asyncio.wait_for(silent[0][0].read(), 20) == b""
        assert any("too many connections" in reason for reason in port.rejected)
        for _, writer in silent:
            writer.close()


def test_a_half_line_of_a_killed_process_is_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl"
    first = TraceWriter(path, "n0", 1)
    first.add(1, "whole", {"pad": "x" * 100_000})
    first.flush()
    first.close()
    with path.open("ab") as file:
        file.write(b'{"time":2,"node":"n0","ev')
    second = TraceWriter(path, "n0", 2)
    second.add(3, "restart", {"recovered": 0})
    second.flush()
    second.close()
    events = [json.loads(line) for line in path.read_bytes().splitlines()]
    assert [(e["event"], e["incarnation"]) for e in events] == [("whole", 1), ("restart", 2)]
