"""The gateway's HTTP API: submit, status by phase, balance, block, health. Bad input gets a JSON error, never a trace.

POST /transactions                          body: msgpack Transaction -> 202 or 400 {"tx", "accepted", "error"}
GET  /transactions/{hex}?wait=exec&timeout_s=10   status, at the latest after timeout_s (then as it is by now)
GET  /accounts/{hex}   GET /blocks/{height}   GET /health
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from nodes.messages import Transaction
from nodes.messages import tx_id as transaction_id
from nodes.port import AwaitStatus, QueryBalance, QueryBlock, SubmitTransaction
from nodes.runtime.shell import BusyError, StoppingError

MAX_BODY_BYTES = 256 * 1024
PHASES = ("accepted", "pre", "ord", "exec")
MAX_WAIT_S = 120.0
_REPLY_S = 5.0  # a core answers within one step; only a stopping node does not
_BODY_S = 10.0

Submit = Callable[[Any], "asyncio.Future[Any]"]
RejectInput = Callable[[str, str], None]

_transactions = msgspec.msgpack.Decoder(Transaction)


class Api:
    """Routes of one gateway. `submit` is Shell.submit, `height` the last final height, `reject` counts bad input."""

    def __init__(self, submit: Submit, height: Callable[[], int], reject: RejectInput) -> None:
        self._submit = submit
        self._height = height
        self._reject = reject
        self._waits: dict[tuple[bytes, str], asyncio.Future[Any]] = {}

    def app(self) -> Starlette:
        """The ASGI application."""
        routes = [
            Route("/transactions", self._post_transaction, methods=["POST"]),
            Route("/transactions/{tx}", self._get_transaction, methods=["GET"]),
            Route("/accounts/{address}", self._get_account, methods=["GET"]),
            Route("/blocks/{height}", self._get_block, methods=["GET"]),
            Route("/health", self._get_health, methods=["GET"]),
        ]
        handlers: dict[Any, Callable[[Request, Exception], Awaitable[Response]]] = {
            HTTPException: self._http_error,
            BusyError: self._busy,
            TimeoutError: self._silent,
            StoppingError: self._busy,
            ClientDisconnect: self._silent,
        }
        return Starlette(routes=routes, exception_handlers=handlers)

    # ---------------------------------------------------------------- routes
    async def _post_transaction(self, request: Request) -> Response:
        async with asyncio.timeout(_BODY_S):
            data = await self._body(request)
        try:
            transaction = _transactions.decode(data)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            reason = f"not a msgpack transaction: {error}"
            self._count(request, reason)
            return _json({"tx": "", "accepted": False, "error": reason}, 400)
        answer = await self._ask(SubmitTransaction(transaction))
        if "tx" not in answer:
            answer = {"tx": transaction_id(transaction).hex(), **answer}
        return _json(answer, 202 if answer.get("accepted") else 400)

    async def _get_transaction(self, request: Request) -> Response:
        tx = self._hash(request, "tx")
        phase = request.query_params.get("wait", "")
        if not phase:
            return _json(await self._ask(AwaitStatus(tx)))
        if phase not in PHASES:
            raise self._bad(request, f"wait={phase[:20]!r}: must be one of {', '.join(PHASES)}")
        try:
            timeout_s = float(request.query_params.get("timeout_s", "10"))
        except ValueError:
            timeout_s = -1.0
        if not 0 < timeout_s <= MAX_WAIT_S:
            raise self._bad(request, f"timeout_s must be a number above 0 and at most {MAX_WAIT_S:.0f}")
        done, _ = await asyncio.wait([self._wait(tx, phase)], timeout=timeout_s)
        return _json(done.pop().result() if done else await self._ask(AwaitStatus(tx)))

    async def _get_account(self, request: Request) -> Response:
        return _json(await self._ask(QueryBalance(self._hash(request, "address"))))

    async def _get_block(self, request: Request) -> Response:
        text = request.path_params["height"]
        if not (text.isascii() and text.isdigit() and len(text) <= 18):
            raise self._bad(request, f"height {text[:20]!r} is not a whole number")
        answer = await self._ask(QueryBlock(int(text)))
        return _json(answer, 404 if "error" in answer else 200)

    async def _get_health(self, request: Request) -> Response:
        return _json({"ok": True, "height": self._height()})

    # ---------------------------------------------------------------- helpers
    def _wait(self, tx: bytes, phase: str) -> asyncio.Future[Any]:
        """One wait of the core per (transaction, phase), however many clients ask: clients that go leave nothing."""
        future = self._waits.get((tx, phase))
        if future is None:
            future = self._waits[tx, phase] = self._submit(AwaitStatus(tx, phase))
            future.add_done_callback(lambda _: self._waits.pop((tx, phase), None))
        return future

    async def _ask(self, body: Any) -> dict[str, Any]:
        answer: dict[str, Any] = await asyncio.wait_for(self._submit(body), _REPLY_S)
        return answer

    async def _body(self, request: Request) -> bytes:
        data = bytearray()
        async for chunk in request.stream():
            data += chunk
            if len(data) > MAX_BODY_BYTES:
                self._count(request, f"body of more than {MAX_BODY_BYTES} bytes")
                raise HTTPException(413, f"the body exceeds {MAX_BODY_BYTES} bytes")
        return bytes(data)

    def _hash(self, request: Request, name: str) -> bytes:
        text = request.path_params[name]
        try:
            value = bytes.fromhex(text) if len(text) == 64 and text.isascii() and text.isalnum() else b""
        except ValueError:
            value = b""
        if len(value) != 32:
            raise self._bad(request, f"{name} must be 64 hexadecimal digits, not {text[:70]!r}")
        return value

    def _bad(self, request: Request, reason: str) -> HTTPException:
        self._count(request, reason)
        return HTTPException(400, reason)

    def _count(self, request: Request, reason: str) -> None:
        client = request.client
        self._reject(f"http: {reason}", f"{client.host}:{client.port}" if client else "?")

    async def _http_error(self, request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        if error.status_code in (404, 405):
            self._count(request, f"{request.method} of an unknown route")
        return _json({"error": error.detail}, error.status_code)

    async def _busy(self, request: Request, error: Exception) -> Response:
        return _json({"error": str(error)}, 503)

    async def _silent(self, request: Request, error: Exception) -> Response:
        return _json({"error": "the node gave no answer in time"}, 504)


def _json(value: Any, status: int = 200) -> Response:
    return Response(msgspec.json.encode(value), status, media_type="application/json")
