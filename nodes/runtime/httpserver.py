"""uvicorn inside the node's own event loop, with the limits it lacks."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any

import uvicorn
from starlette.applications import Starlette
from uvicorn.protocols.http.h11_impl import H11Protocol

MAX_CONNECTIONS = 512
REQUEST_S = 10.0  # a client that has not sent a whole request line and headers by then is closed

Reject = Callable[[str, str], None]


class HttpServer:
    """Serves an ASGI application on a bound socket until `close`."""

    def __init__(self, app: Starlette, listener: socket.socket, reject: Reject) -> None:
        guard = _Guard(reject)

        def protocol(*arguments: Any, **keywords: Any) -> _Guarded:
            return _Guarded(guard, *arguments, **keywords)

        config = uvicorn.Config(
            app,
            http=protocol,  # type: ignore[arg-type]  # uvicorn calls it, a factory will do
            ws="none",
            lifespan="off",
            access_log=False,
            log_config=None,
            timeout_keep_alive=30,
            timeout_graceful_shutdown=1,
            h11_max_incomplete_event_size=16 * 1024,
            server_header=False,
            proxy_headers=False,
        )
        logging.getLogger("uvicorn.error").setLevel(logging.ERROR)  # garbage is counted below; no line for each
        self._server = _Server(config)
        self._listener = listener
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Serve; returns when the port answers."""
        self._task = asyncio.create_task(self._server.serve(sockets=[self._listener]), name="http")
        ready = asyncio.create_task(self._server.ready.wait())
        await asyncio.wait((ready, self._task), return_when=asyncio.FIRST_COMPLETED)
        ready.cancel()

    async def close(self) -> None:
        """Stop serving; requests in flight get a second."""
        self._server.should_exit = True
        if self._task is not None:
            with contextlib.suppress(asyncio.CancelledError):
                await self._task


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.ready.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals are the node's business, not uvicorn's."""
        yield


class _Guard:
    """Connections in the order of arrival; the oldest that has no request running goes when there are too many."""

    def __init__(self, reject: Reject) -> None:
        self.reject = reject
        self._open: OrderedDict[_Guarded, None] = OrderedDict()

    def admit(self, connection: _Guarded) -> None:
        if len(self._open) >= MAX_CONNECTIONS:
            idle = next((c for c in self._open if not c.busy()), connection)
            idle.refuse("http: too many connections")
        self._open[connection] = None

    def forget(self, connection: _Guarded) -> None:
        self._open.pop(connection, None)


class _Guarded(H11Protocol):
    """H11Protocol that does not wait for ever for a request, counts garbage, and lets no connections pile up."""

    def __init__(self, guard: _Guard, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self._guard = guard
        self._deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._guard.admit(self)
        self._wait_for_request()

    def connection_lost(self, exc: Exception | None) -> None:
        self._cancel()
        self._guard.forget(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.busy():
            self._cancel()
        elif self._deadline is None:  # a further request has begun and is not complete
            self._wait_for_request()

    def send_400_response(self, msg: str) -> None:
        self._count(f"http: {msg}")
        super().send_400_response(msg)

    def busy(self) -> bool:
        """Is a request being served?"""
        return self.cycle is not None and not self.cycle.response_complete

    def refuse(self, reason: str) -> None:
        """Count and close."""
        self._count(reason)
        self.transport.abort()

    def _wait_for_request(self) -> None:
        self._deadline = self.loop.call_later(REQUEST_S, self.refuse, "http: no whole request in time")

    def _cancel(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _count(self, reason: str) -> None:
        host, port = self.client or ("?", 0)
        self._guard.reject(reason, f"{host}:{port}")
