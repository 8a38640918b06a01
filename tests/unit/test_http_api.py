"""The gateway's HTTP API: good answers for good requests, clear JSON errors for all others, and bounds."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest

from harness.client import GatewayClient
from harness.http import HttpClient
from nodes.crypto import Domain, Ed25519Signer
from nodes.messages import Transaction, encode, tx_id
from nodes.port import AwaitStatus, QueryBalance, QueryBlock, SubmitTransaction
from nodes.runtime import httpserver
from nodes.runtime.http import MAX_BODY_BYTES, Api
from nodes.runtime.httpserver import HttpServer
from nodes.runtime.shell import BusyError
from nodes.wallet import Wallet
from tests.unit.test_client import Clock

WALLET = Wallet(Ed25519Signer(bytes(32)), Domain("test", 0, 0))
TRANSACTION = WALLET.transfer(0, bytes(32), 5)
TX = tx_id(TRANSACTION).hex()


class Gateway:
    """What a gateway core would reply, and a real HTTP server in front of it."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.listener.getsockname()[1]
        self.rejected: list[str] = []
        self.asked: list[Any] = []
        self.waiting: list[asyncio.Future[Any]] = []
        self.busy = False
        api = Api(self.submit, lambda: 7, lambda reason, _: self.rejected.append(reason))
        self.server = HttpServer(api.app(), self.listener, lambda reason, _: self.rejected.append(reason))
        self.client = HttpClient()

    async def ask(self, path: str, method: str = "GET", body: bytes = b"") -> tuple[int, Any]:
        """(status, decoded JSON) of a request."""
        status, answer = await self.client.request(method, f"http://127.0.0.1:{self.port}", path, body)
        return status, msgspec.json.decode(answer)

    async def post(self, transaction: Transaction) -> tuple[int, Any]:
        return await self.ask("/transactions", "POST", encode(transaction))

    def submit(self, body: Any) -> asyncio.Future[Any]:
        if self.busy:
            raise BusyError("too many requests wait; ask again later")
        self.asked.append(body)
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        if isinstance(body, AwaitStatus) and body.phase:
            self.waiting.append(future)
        elif isinstance(body, AwaitStatus):
            future.set_result({"tx": body.tx.hex(), "phase": "accepted"})
        elif isinstance(body, SubmitTransaction):
            good = body.transaction == TRANSACTION
            future.set_result({"tx": TX, "accepted": good, "error": "" if good else "bad signature"})
        elif isinstance(body, QueryBalance):
            future.set_result({"address": body.address.hex(), "balance": 5, "seq": 1, "height": 7})
        elif isinstance(body, QueryBlock):
            future.set_result({"height": body.height} if body.height <= 7 else {"error": "not final yet"})
        return future


@asynccontextmanager
async def gateway() -> AsyncIterator[Gateway]:
    served = Gateway()
    await served.server.start()
    async with served.client:
        yield served
    await served.server.close()
    served.listener.close()


async def test_a_wallet_asks_for_a_balance_as_in_a_run() -> None:
    async with gateway() as g:
        client = GatewayClient(g.client, {"g0": f"http://127.0.0.1:{g.port}"}, Clock())
        told = await client.balance("g0", "ab" * 32)
        assert (told.kind, told.value) == ("ok", {"address": "ab" * 32, "balance": 5, "seq": 1, "height": 7})
        g.busy = True
        told = await client.balance("g0", "ab" * 32)
        assert (told.kind, told.error) == ("fail", "no balance from g0: too many requests wait; ask again later")


async def test_the_documented_requests() -> None:
    async with gateway() as g:
        assert await g.post(TRANSACTION) == (202, {"tx": TX, "accepted": True, "error": ""})
        status, other = await g.post(WALLET.transfer(1, bytes(32), 5))
        assert (status, other["accepted"]) == (400, False)
        assert await g.ask(f"/transactions/{TX}") == (200, {"tx": TX, "phase": "accepted"})
        assert (await g.ask(f"/accounts/{'ab' * 32}"))[1]["balance"] == 5
        assert await g.ask("/blocks/3") == (200, {"height": 3})
        assert (await g.ask("/blocks/8"))[0] == 404
        assert await g.ask("/health") == (200, {"ok": True, "height": 7})
        assert g.rejected == []


async def test_many_waiters_cost_one_wait_and_a_time_out_tells_the_present_state() -> None:
    async with gateway() as g:
        url = f"/transactions/{TX}?wait=exec&timeout_s=15"
        waiters = [asyncio.create_task(g.ask(url)) for _ in range(5)]
        early = await g.ask(f"/transactions/{TX}?wait=exec&timeout_s=0.05")
        assert early == (200, {"tx": TX, "phase": "accepted"})
        assert len(g.waiting) == 1
        g.waiting[0].set_result({"tx": TX, "phase": "exec"})
        assert [(await w)[1]["phase"] for w in waiters] == ["exec"] * 5


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/transactions", b"garbage", 400),
        ("POST", "/transactions", b"", 400),
        ("POST", "/transactions", bytes(MAX_BODY_BYTES + 1), 413),
        ("GET", "/transactions/zz", b"", 400),
        ("GET", f"/transactions/{'é' * 64}", b"", 400),
        ("GET", f"/transactions/{TX}?wait=maybe", b"", 400),
        ("GET", f"/transactions/{TX}?wait=exec&timeout_s=nan", b"", 400),
        ("GET", f"/transactions/{TX}?wait=exec&timeout_s=1e9", b"", 400),
        ("GET", "/accounts/12", b"", 400),
        ("GET", "/blocks/-1", b"", 400),
        ("GET", "/blocks/1e3", b"", 400),
        ("GET", "/nowhere", b"", 404),
        ("DELETE", "/transactions", b"", 405),
    ],
)
async def test_bad_requests_get_a_json_error_and_are_counted(method: str, path: str, body: bytes, status: int) -> None:
    async with gateway() as g:
        found, answer = await g.ask(path, method, body)
        assert found == status
        assert answer["error"]
        assert len(g.rejected) == 1


async def test_a_busy_gateway_says_so() -> None:
    async with gateway() as g:
        g.busy = True
        status, answer = await g.ask("/blocks/1")
        assert status == 503 and "ask again later" in answer["error"]


async def test_garbage_is_refused_counted_and_harms_nobody() -> None:
    async with gateway() as g:
        reader, writer = await asyncio.open_connection("127.0.0.1", g.port)
        writer.write(b"\x00\xff not http\r\n\r\n")
        assert b"400" in await asyncio.wait_for(reader.read(100), 20)
        writer.close()
        assert (await g.ask("/health"))[0] == 200
        assert len(g.rejected) == 1


async def test_slow_and_many_connections_are_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(httpserver, "REQUEST_S", 0.2)
    monkeypatch.setattr(httpserver, "MAX_CONNECTIONS", 4)
    async with gateway() as g:
        slow = [await asyncio.open_connection("127.0.0.1", g.port) for _ in range(6)]
        for reader, writer in slow:
            writer.write(b"GET /health HT")
            with contextlib.suppress(ConnectionError):
                assert await asyncio.wait_for(reader.read(), 20) == b""
            writer.close()
        assert (await g.ask("/health"))[0] == 200
        assert set(g.rejected) == {"http: no whole request in time", "http: too many connections"}
