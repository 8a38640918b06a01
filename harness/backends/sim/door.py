"""The gateways' HTTP API without HTTP: the same requests and answers (nodes/runtime/http.py), straight into the node.

A gateway that is down refuses the connection; one that is frozen, or dies, leaves the caller without an answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec

from harness.backends.sim.node import SimNode
from harness.http import NeverSentError, UnansweredError
from nodes.messages import NodeId, Transaction
from nodes.messages import tx_id as transaction_id
from nodes.port import AwaitStatus, QueryBalance, SubmitTransaction

_transactions = msgspec.msgpack.Decoder(Transaction)


class Door:
    """Requests to simulated gateways, by node id."""

    def __init__(self, nodes: Mapping[NodeId, SimNode]) -> None:
        self._nodes = nodes

    async def request(
        self, method: str, base: str, path: str, body: bytes = b"", timeout_s: float = 20.0
    ) -> tuple[int, bytes]:
        """As harness.http.HttpClient.request; `base` is what `SimCluster.gateways` holds."""
        name = base.removeprefix("sim://")
        node = self._nodes[name]
        if not node.up:
            raise NeverSentError(f"{name} is down")
        route = urlsplit(path)
        if method == "POST" and route.path == "/transactions":
            return await self._submit(node, body, timeout_s)
        head, _, tail = route.path.removeprefix("/").partition("/")
        if method == "GET" and head == "transactions" and len(tail) == 64:
            query = {key: values[-1] for key, values in parse_qs(route.query).items()}
            return await self._status(node, bytes.fromhex(tail), query, timeout_s)
        if method == "GET" and head == "accounts" and len(tail) == 64:
            answer = await self._ask(node, QueryBalance(bytes.fromhex(tail)), timeout_s)
            return 200, msgspec.json.encode(answer)
        return 404, b'{"error":"no such route in the simulator"}'

    async def _submit(self, node: SimNode, body: bytes, timeout_s: float) -> tuple[int, bytes]:
        try:
            transaction = _transactions.decode(body)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            return 400, msgspec.json.encode({"tx": "", "accepted": False, "error": f"not a transaction: {error}"})
        answer = await self._ask(node, SubmitTransaction(transaction), timeout_s)
        if "tx" not in answer:
            answer = {"tx": transaction_id(transaction).hex(), **answer}
        return 202 if answer.get("accepted") else 400, msgspec.json.encode(answer)

    async def _status(self, node: SimNode, tx: bytes, query: Mapping[str, str], timeout_s: float) -> tuple[int, bytes]:
        phase = query.get("wait", "")
        if phase:
            waiting = node.submit(AwaitStatus(tx, phase))
            done, _ = await asyncio.wait([waiting], timeout=min(float(query.get("timeout_s", "10")), timeout_s))
            if done:
                return 200, msgspec.json.encode(self._value(node, waiting.result))
        return 200, msgspec.json.encode(await self._ask(node, AwaitStatus(tx), timeout_s))

    async def _ask(self, node: SimNode, body: Any, timeout_s: float) -> dict[str, Any]:
        future = node.submit(body)
        if not future.done():  # the disk is slow, or the node frozen
            await asyncio.wait([future], timeout=timeout_s)
            if not future.done():
                raise UnansweredError(f"{node.name} gave no answer within {timeout_s:g} s")
        return self._value(node, future.result)

    def _value(self, node: SimNode, result: Callable[[], Any]) -> dict[str, Any]:
        try:
            value: dict[str, Any] = result()
        except ConnectionResetError as error:
            raise UnansweredError(f"{node.name}: {error}") from error
        return value

    async def __aenter__(self) -> Door:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing to close."""
