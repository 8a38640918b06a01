"""The harness's HTTP client: what certainly did not arrive, and what may have."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from harness.http import HttpClient, NeverSentError, UnansweredError

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def serving(handler: Handler) -> AsyncIterator[str]:
    server = await asyncio.start_server(handler, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


def answering(*answers: bytes, connections: list[int] | None = None) -> Handler:
    """A server that gives these answers on each connection, then closes it."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if connections is not None:
            connections.append(1)
        for answer in answers:
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            body = await reader.readexactly(length)
            writer.write(answer.replace(b"BODY", body))
        writer.close()

    return handle


OK = b"HTTP/1.1 202 Accepted\r\nContent-Length: 4\r\n\r\nBODY"


async def test_connections_are_reused() -> None:
    connections: list[int] = []
    async with serving(answering(OK, OK, OK, connections=connections)) as base, HttpClient() as http:
        for _ in range(3):
            assert await http.request("POST", base, "/x", b"abcd") == (202, b"abcd")
    assert len(connections) == 1


async def test_a_connection_that_the_server_closed_is_replaced() -> None:
    connections: list[int] = []
    closing = OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    async with serving(answering(closing, connections=connections)) as base, HttpClient() as http:
        for _ in range(3):
            assert await http.request("POST", base, "/x", b"abcd") == (202, b"abcd")
    assert len(connections) == 3


async def test_nobody_there_means_never_sent() -> None:
    async with serving(answering()) as base:
        pass
    async with HttpClient() as http:
        with pytest.raises(NeverSentError):
            await http.request("POST", base, "/x")


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Le",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n",
        b"SMTP ready\r\n\r\n",
        b"x" * 200_000,
    ],
)
async def test_a_broken_answer_means_it_may_have_arrived(answer: bytes) -> None:
    async with serving(answering(answer)) as base, HttpClient() as http:
        with pytest.raises(UnansweredError):
            await http.request("POST", base, "/x", b"abcd")


async def test_silence_times_out() -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async with serving(silent) as base, HttpClient() as http:
        with pytest.raises(UnansweredError, match="TimeoutError"):
            await http.request("GET", base, "/x", timeout_s=0.1)
