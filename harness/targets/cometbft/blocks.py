"""Blocks of a CometBFT node read back into its trace, whole, so that checkers can verify every hash and signature."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from harness.targets.cometbft import rpc
from harness.targets.port import Node, finalised

AT_ONCE = 50  # blocks that one look reads at most
LOOK_S = 1.0  # and for so long at most: on a slow machine a look must end before the observer loses patience


class Reader:
    """What of one chain was read from each node. Sets of validators are told once a life of the node."""

    def __init__(self, names: Mapping[str, str]) -> None:
        """`names`: validator address (upper case) -> the node that votes with its key."""
        self._names = names
        self._told: dict[str, set[str]] = {}  # node -> hashes of validator sets

    async def events(self, node: Node, since: int, top: int) -> tuple[list[dict[str, Any]], str]:
        """The trace events of the blocks above `since`, and the node that proposed the last one."""
        if since == 0:
            self._told.pop(node.id, None)
        events: list[dict[str, Any]] = []
        leader, enough = "", asyncio.get_running_loop().time() + LOOK_S
        for height in range(since + 1, min(top, since + AT_ONCE) + 1):
            found = await rpc.get(node, f"/block?height={height}")
            codes = await self._codes(node, height, found["block"]["data"].get("txs") or [])
            if codes is None:
                break  # in the store, but not executed yet: the next look tells it
            events += await self._validators(node, height, found["block"]["header"])
            events += self._block(found, codes)
            leader = self._names.get(found["block"]["header"]["proposer_address"].upper(), "")
            if asyncio.get_running_loop().time() > enough:
                break
        if events and events[-1]["height"] == top:
            commit = (await rpc.get(node, f"/commit?height={top}"))["signed_header"]["commit"]
            events.append({"event": "tendermint-commit", "height": top, "commit": commit})
        return events, leader

    async def _codes(self, node: Node, height: int, txs: list[str]) -> list[int] | None:
        """The result codes of a block's transactions; None while it is not executed."""
        if not txs:
            return []
        try:
            results = (await rpc.get(node, f"/block_results?height={height}"))["txs_results"]
        except rpc.RpcError:
            return None
        return [int(one.get("code", 0)) for one in results]

    async def _validators(self, node: Node, height: int, header: Mapping[str, Any]) -> list[dict[str, Any]]:
        known = self._told.setdefault(node.id, set())
        if header["validators_hash"] in known:
            return []
        told = await rpc.validators(node, height)
        known.add(header["validators_hash"])
        return [{"event": "tendermint-validators", "height": height, "validators": told}]

    def _block(self, found: Mapping[str, Any], codes: list[int]) -> list[dict[str, Any]]:
        block, header = found["block"], found["block"]["header"]
        height, identity = int(header["height"]), found["block_id"]["hash"].lower()
        txs = block["data"].get("txs") or []
        ids = [rpc.identity(base64.b64decode(tx)) for tx in txs]
        applied = [tx for tx, code in zip(ids, codes, strict=True) if code == 0]
        aborted = [[tx, f"code {code}"] for tx, code in zip(ids, codes, strict=True) if code]
        return [
            {
                "event": "tendermint-block", "height": height, "block": identity, "header": header, "txs": txs,
                "evidence": block["evidence"].get("evidence") or [], "last_commit": block["last_commit"],
            },
            finalised(
                height, identity, header["last_block_id"]["hash"].lower(), view=height,
                proposer=self._names.get(header["proposer_address"].upper(), ""), transactions=ids,
                timestamp_ms=milliseconds(header["time"]),
            ),
            {
                "event": "execute", "height": height, "clan": 0, "root": header["app_hash"].lower(), "applied": applied,
                "aborted": aborted,
            },
        ]  # fmt: skip


def milliseconds(time: str) -> int:
    """An RFC 3339 time as milliseconds since 1970; what is finer is cut off."""
    whole, _, fraction = time.removesuffix("Z").partition(".")
    seconds = int(datetime.fromisoformat(f"{whole}+00:00").timestamp())
    return seconds * 1000 + int(fraction.ljust(3, "0")[:3])
