"""The control port: JSON lines over TCP. status, trace (streams), clock, stop."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Callable
from typing import Annotated, Any, Literal

import msgspec

from nodes.runtime.trace import TraceWriter

MAX_LINE = 4096
MAX_CONNECTIONS = 64
IDLE_S = 30.0
_CHUNK = 256 * 1024


class Request(msgspec.Struct, frozen=True):
    """One line; unknown fields are ignored, an unknown op is an error."""

    op: Literal["status", "trace", "clock", "stop"]
    offset: Annotated[int, msgspec.Meta(ge=0, le=2**62)] = msgspec.field(default=0, name="from")
    skew_ms: Annotated[int, msgspec.Meta(ge=-(10**6), le=10**6)] | None = None  # clock: set it; without: only read it
    drift_ppm: Annotated[int, msgspec.Meta(ge=-500_000, le=10**6)] = 0


_decoder = msgspec.json.Decoder(Request)


class Control:
    """Serves the port. `status()` gives the reply to the op of that name, so does `clock(skew_ms, drift_ppm)`, where a
    skew of None changes nothing; `stop()` is called once, after its reply."""

    def __init__(
        self,
        status: Callable[[], dict[str, Any]],
        stop: Callable[[], None],
        trace: TraceWriter,
        reject: Callable[[str, str], None],
        clock: Callable[[int | None, int], dict[str, Any]] | None = None,
    ) -> None:
        self._clock = clock
        self._status = status
        self._stop = stop
        self._trace = trace
        self._reject = reject
        self._server: asyncio.Server | None = None
        self._open: dict[asyncio.Task[None], None] = {}  # in the order of arrival

    async def start(self, listener: socket.socket) -> None:
        """Serve a bound socket."""
        self._server = await asyncio.start_server(self._accept, sock=listener, limit=MAX_LINE)

    async def close(self) -> None:
        """Stop serving; streams get what the trace file holds by now."""
        if self._server is not None:
            self._server.close()
        tasks = list(self._open)
        if tasks:
            await asyncio.wait(tasks, timeout=0.2)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        host, port = (writer.get_extra_info("peername") or ("?", 0))[:2]
        sender = f"{host}:{port}"
        if len(self._open) >= MAX_CONNECTIONS:
            oldest = next(iter(self._open))
            del self._open[oldest]
            oldest.cancel()
            self._reject("control port: too many connections, the oldest is closed", sender)
        self._open[task] = None
        try:
            await self._serve(reader, writer, sender)
        except asyncio.CancelledError:
            pass  # evicted or shut down; asyncio's stream server wants no exception here
        finally:
            self._open.pop(task, None)
            writer.transport.abort() if writer.transport.get_write_buffer_size() > _CHUNK else writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, sender: str) -> None:
        with contextlib.suppress(ConnectionError):
            while True:
                try:
                    line = await asyncio.wait_for(reader.readuntil(b"\n"), IDLE_S)
                except asyncio.IncompleteReadError as end:
                    if end.partial:
                        self._reject("control port: connection closed in the middle of a line", sender)
                    return
                except asyncio.LimitOverrunError:
                    self._fault(writer, sender, f"a line of more than {MAX_LINE} bytes")
                    return
                except TimeoutError:
                    return
                try:
                    request = _decoder.decode(line)
                except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
                    self._fault(
                        writer, sender, f"{error}; send {{'op': 'status' | 'trace' | 'clock' | 'stop'}} as JSON"
                    )
                    return
                await self._answer(request, reader, writer)

    async def _answer(self, request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if request.op == "status":
            self._write(writer, self._status())
        elif request.op == "clock":
            answer = self._clock(request.skew_ms, request.drift_ppm) if self._clock else {"error": "no clock to set"}
            self._write(writer, answer)
        elif request.op == "stop":
            self._write(writer, {"ok": True})
            await writer.drain()
            self._stop()
        else:
            await self._stream(request.offset, reader, writer)
        await writer.drain()

    async def _stream(self, offset: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Everything in the trace file from `offset`, whole lines only, then what is appended, until the peer goes."""
        changed = asyncio.Event()
        gone = asyncio.ensure_future(reader.read(1))  # the peer closes, or says something: the stream is over
        gone.add_done_callback(lambda _: changed.set())
        self._trace.watchers.add(changed.set)
        try:
            with self._trace.path.open("rb") as file:
                while not gone.done():
                    changed.clear()
                    at = offset
                    offset = await self._copy(file.fileno(), offset, writer)
                    if offset == at and not gone.done():
                        await changed.wait()
        finally:
            self._trace.watchers.discard(changed.set)
            gone.cancel()

    async def _copy(self, descriptor: int, offset: int, writer: asyncio.StreamWriter) -> int:
        data = os.pread(descriptor, _CHUNK, offset)
        whole = data[: data.rfind(b"\n") + 1]
        if not whole and len(data) == _CHUNK:
            whole = data  # one line longer than a chunk
        writer.write(whole)
        await writer.drain()
        return offset + len(whole)

    def _fault(self, writer: asyncio.StreamWriter, sender: str, reason: str) -> None:
        self._reject(f"control port: {reason}", sender)
        self._write(writer, {"error": reason})

    def _write(self, writer: asyncio.StreamWriter, value: dict[str, Any]) -> None:
        writer.write(msgspec.json.encode(value) + b"\n")
