"""A small HTTP/1.1 client for the gateway API: keep-alive connections, bodies with a length, time-outs.

General clients cost 2-4 ms of CPU a request here, on cores that the nodes under test need; this one costs 0.2 ms.
"""

from __future__ import annotations

import asyncio
from types import TracebackType
from urllib.parse import urlsplit

MAX_HEADER_BYTES = 64 * 1024
MAX_BODY_BYTES = 16 * 1024 * 1024
CONNECT_S = 5.0


class NeverSentError(ConnectionError):
    """No connection could be made: the request has certainly not arrived."""


class UnansweredError(ConnectionError):
    """The request may have arrived, but no answer came back."""


Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class HttpClient:
    """Requests to any number of servers; connections are kept and reused per server."""

    def __init__(self) -> None:
        self._idle: dict[str, list[Connection]] = {}
        self._open: set[asyncio.StreamWriter] = set()

    async def request(
        self, method: str, base: str, path: str, body: bytes = b"", timeout_s: float = 20.0
    ) -> tuple[int, bytes]:
        """(status, body) of `method base+path`. Raises NeverSentError or UnansweredError."""
        connection = await self._connection(base)
        host = urlsplit(base).netloc
        head = f"{method} {path} HTTP/1.1\r\nhost: {host}\r\ncontent-length: {len(body)}\r\n\r\n"
        try:
            async with asyncio.timeout(timeout_s):
                status, answer = await _exchange(connection, head.encode() + body)
        except BaseException as error:
            self._drop(connection[1])
            if isinstance(error, OSError | EOFError | ValueError | asyncio.LimitOverrunError):
                raise UnansweredError(f"{host}: {type(error).__name__} {error}".strip()) from error
            raise
        self._idle.setdefault(base, []).append(connection)
        return status, answer

    async def _connection(self, base: str) -> Connection:
        """An idle connection that the server has not closed, or a new one."""
        idle = self._idle.setdefault(base, [])
        while idle:
            reader, writer = idle.pop()
            if not reader.at_eof() and not writer.is_closing():
                return reader, writer
            self._drop(writer)
        place = urlsplit(base)
        try:
            async with asyncio.timeout(CONNECT_S):
                connection = await asyncio.open_connection(place.hostname, place.port, limit=MAX_HEADER_BYTES)
        except OSError as error:  # a time-out is one too
            raise NeverSentError(f"{place.netloc}: {error or 'no connection'}") from error
        self._open.add(connection[1])
        return connection

    def _drop(self, writer: asyncio.StreamWriter) -> None:
        self._open.discard(writer)
        writer.close()

    async def __aenter__(self) -> HttpClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for writer in list(self._open):
            self._drop(writer)


async def _exchange(connection: Connection, request: bytes) -> tuple[int, bytes]:
    """Send one request and read its answer; ValueError for an answer that this client does not speak."""
    reader, writer = connection
    writer.write(request)
    await writer.drain()
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    version, _, rest = head[0].partition(" ")
    if not version.startswith("HTTP/1.1") or not rest[:3].isdigit():
        raise ValueError(f"not an HTTP/1.1 answer: {head[0][:80]!r}")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:])}
    length = headers.get("content-length", "")
    if not length.isdigit() or int(length) > MAX_BODY_BYTES:
        raise ValueError(f"content-length: {length[:20]!r}")
    body = await reader.readexactly(int(length))
    if headers.get("connection", "").lower() == "close":
        writer.close()
    return int(rest[:3]), body
