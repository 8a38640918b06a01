"""CometBFT's RPC, as far as the lab needs it: blocks read back, transactions sent, and what each answer means."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

import msgspec

from harness.targets.port import OPERATION_S, Node

RPC = "rpc"  # the port
KNOWN = "tx already exists in cache"
NEVER = ("max_subscription", "failed to subscribe", "mempool is full", "Tx too large")  # refused before it was taken


class RpcError(RuntimeError):
    """The node answered, and said no; the text is the node's."""


class Sent(msgspec.Struct, frozen=True):
    """What became of a broadcast: `code` of CheckTx; `height` of its block and `result`, its code there (commit)."""

    code: int = 0
    log: str = ""
    height: int = 0
    result: int = 0


async def get(node: Node, path: str, timeout_s: float = OPERATION_S) -> Any:
    """`result` of a GET. Raises RpcError, NeverSentError, UnansweredError."""
    return _result((await node.ask(RPC, path, timeout_s=timeout_s))[1])


async def call(node: Node, method: str, timeout_s: float, **parameters: Any) -> Any:
    """`result` of a JSON-RPC call. Raises as `get`."""
    body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": parameters}
    return _result((await node.ask(RPC, "/", body, timeout_s))[1])


def _result(answer: dict[str, Any]) -> Any:
    error = answer.get("error")
    if error:
        raise RpcError(f"{error.get('message', '')}: {error.get('data', '')}".strip(": "))
    return answer.get("result") or {}


def identity(transaction: bytes) -> str:
    """How blocks name a transaction: SHA-256 in lower-case hex."""
    return hashlib.sha256(transaction).hexdigest()


async def broadcast(node: Node, mode: str, transaction: bytes, timeout_s: float) -> Sent:
    """Send a transaction: `async` answers before it is checked, `sync` after, `commit` when it is in a block.

    Raises RpcError as the node words it, NeverSentError, UnansweredError.
    """
    answer = await call(node, f"broadcast_tx_{mode}", timeout_s, tx=base64.b64encode(transaction).decode())
    if mode != "commit":
        return Sent(int(answer.get("code", 0)), str(answer.get("log", "")))
    checked, applied = answer.get("check_tx") or {}, answer.get("tx_result") or {}
    log = str(checked.get("log") or applied.get("log") or "")
    return Sent(int(checked.get("code", 0)), log, int(answer.get("height", 0)), int(applied.get("code", 0)))


async def included(node: Node, tx: str) -> Sent | None:
    """Where a transaction is in the chain, None while the node's index has none. Raises as `get`."""
    try:
        found = await get(node, f"/tx?hash=0x{tx}")
    except RpcError as error:
        if "not found" in str(error):
            return None
        raise
    applied = found.get("tx_result") or {}
    return Sent(height=int(found.get("height", 0)), result=int(applied.get("code", 0)), log=str(applied.get("log", "")))


async def query(node: Node, key: bytes) -> tuple[int, bytes | None]:
    """(height of the state that answered, value of the key or None). The node answers from its own state, however old
    that is. Raises as `get`."""
    response = (await get(node, f"/abci_query?data=0x{key.hex()}")).get("response") or {}
    value = response.get("value")
    return int(response.get("height", 0)), base64.b64decode(value) if value else None


async def height(node: Node) -> int:
    """The newest block of the node's store, 0 if it has none. Raises as `get`."""
    return int((await get(node, "/status"))["sync_info"]["latest_block_height"])


async def validators(node: Node, at: int) -> list[list[Any]]:
    """[public key in hex, power] of each validator that votes on that height. Raises as `get`."""
    answer = await get(node, f"/validators?height={at}&per_page=100")
    return [[base64.b64decode(one["pub_key"]["value"]).hex(), int(one["voting_power"])] for one in answer["validators"]]
