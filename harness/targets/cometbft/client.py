"""One client of the key-value store, and what each answer of CometBFT's RPC means for the history.

    way      ok                                        fail                          info
    commit   the answer names a block, code 0          CheckTx or the block said no  no answer in time, or known already
    sync     CheckTx took it, then it was in a block   CheckTx or the block said no  not seen in a block in time
    async    it was in a block                         the block said no             not seen in a block in time

"Accepted" is never ok: a transaction that a mempool took may still be lost with it.
"""

from __future__ import annotations

import asyncio
from itertools import count
from typing import Any

from harness.http import NeverSentError, UnansweredError
from harness.targets.cometbft import rpc
from harness.targets.port import Node, Operation, Outcome

WAYS = ("commit", "sync", "async")
READS = ("ordered", "local")
ANSWER_S = 12.0  # CometBFT itself gives up waiting for a block after ten
RESEND_S = 1.0
LOOK_S = 0.2  # between two looks for a transaction in the blocks
BARRIER = b"barrier"


class Client:
    """Writes by transactions, reads by the state of the node that is asked."""

    def __init__(
        self, way: str, reads: str, resends: int, answer_s: float = ANSWER_S, resend_s: float = RESEND_S
    ) -> None:
        """`reads` ordered: a transaction of its own is put in order first, and the state must hold it; local: whatever
        the node has. `resends`: how often a client that heard nothing for `answer_s` blindly sends the same bytes
        again, `resend_s` later."""
        self._way, self._reads, self._resends = way, reads, resends
        self._answer_s, self._resend_s = answer_s, resend_s
        self._numbers = count(1)

    async def perform(self, operation: Operation, node: Node) -> Outcome:
        """See `harness.targets.port.Target.perform`."""
        if operation.f == "read":
            return await self._read(operation.value[0], node)
        if operation.f != "write":
            return Outcome("fail", error=f"the key-value store has no {operation.f}")
        key, value = operation.value
        return await self._write(transaction(key, value), node)

    async def _write(self, sent: bytes, node: Node) -> Outcome:
        doubt = ""  # what was lost on the way before may have arrived
        for attempt in range(self._resends + 1):
            if attempt:
                await asyncio.sleep(self._resend_s)
            try:
                return await self._send(sent, node)
            except NeverSentError:
                if attempt == self._resends and not doubt:
                    raise
            except (ConnectionError, TimeoutError) as error:
                doubt = str(error) or type(error).__name__
        raise UnansweredError(f"sent {self._resends + 1} times: {doubt}")

    async def _send(self, sent: bytes, node: Node) -> Outcome:
        tx = rpc.identity(sent)
        try:
            answer = await rpc.broadcast(node, self._way, sent, self._answer_s)
        except rpc.RpcError as error:
            refused = any(text in str(error) for text in rpc.NEVER)
            return Outcome("fail" if refused else "info", error=str(error), tx=tx)
        if answer.code:
            return Outcome("fail", error=f"CheckTx: code {answer.code} {answer.log}".strip(), tx=tx)
        if self._way != "commit":
            found = await self._included(node, tx)
            if found is None:
                return Outcome("info", error=f"taken, and in no block after {self._answer_s:g} s", tx=tx)
            answer = found
        if answer.result:
            return Outcome("fail", error=f"in block {answer.height}: code {answer.result} {answer.log}".strip(), tx=tx)
        return Outcome("ok", tx=tx) if answer.height else Outcome("info", error="the answer names no block", tx=tx)

    async def _included(self, node: Node, tx: str) -> rpc.Sent | None:
        try:
            async with asyncio.timeout(self._answer_s):
                while True:
                    found = await rpc.included(node, tx)
                    if found is not None:
                        return found
                    await asyncio.sleep(LOOK_S)
        except TimeoutError:
            return None

    async def _read(self, key: Any, node: Node) -> Outcome:
        least = await self._barrier(node) if self._reads == "ordered" else 0
        height, value = await rpc.query(node, name(key))
        if height < least:
            return Outcome("fail", error=f"the state is of height {height}, the read was put in order at {least}")
        return Outcome("ok", [key, None if value is None else int(value)])

    async def _barrier(self, node: Node) -> int:
        """The height at which a transaction that changes no register was put in order."""
        number = next(self._numbers)
        sent = b"%s-%s-%d=%d" % (BARRIER, node.id.encode(), number, number)
        answer = await rpc.broadcast(node, "commit", sent, self._answer_s)
        if answer.code or not answer.height:
            raise UnansweredError(f"the read was not put in order: {answer.log or 'no block named'}")
        return answer.height


def transaction(key: Any, value: Any) -> bytes:
    """A write as the store reads it. Equal writes are equal bytes: CometBFT takes them for one transaction."""
    return name(key) + b"=" + str(value).encode()


def name(key: Any) -> bytes:
    """The key of a register in the store."""
    return f"r{key}".encode()
