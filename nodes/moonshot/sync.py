"""Block sync (protocol.md 1.8): pull certified blocks whose body is missing, serve others, both bounded."""

from __future__ import annotations

import msgspec

from nodes.messages import Block, BlockRequest, BlockResponse, NodeId, block_hash
from nodes.moonshot.chain import Chain
from nodes.moonshot.outbox import MS, Outbox
from nodes.port import TRIBE

MAX_ANCESTORS = 64
MAX_WANTED = 256  # missing blocks asked for at a time; the newest ones win, ancestors follow from them
MAX_SERVED = 32  # responses per peer and retry period


class Wanted(msgspec.Struct):
    view: int  # of the block, as its certificate says, or an upper bound of it
    due: int  # ns; ask everybody then


class Synchroniser:
    """Asks one peer first and, every `retry_ms`, everybody. Wants only what a verified certificate leads to."""

    def __init__(self, me: NodeId, chain: Chain, out: Outbox, retry_ms: int) -> None:
        self._me = me
        self._chain = chain
        self._out = out
        self._retry = retry_ms * MS
        self._wanted: dict[bytes, Wanted] = {}
        self._served: dict[NodeId, tuple[int, int]] = {}  # peer -> (period, responses in it)

    def want(self, block: bytes, view: int, first: NodeId) -> None:
        """Pull `block`, which a certificate names; `first` probably has it."""
        if block in self._wanted or self._chain.get(block) is not None or view <= self._chain.head_view:
            return
        self._wanted[block] = Wanted(view, self._out.now + self._retry)
        if len(self._wanted) > MAX_WANTED:
            del self._wanted[min(self._wanted, key=lambda h: (self._wanted[h].view, h))]
        if first == self._me:
            self._out.multicast(TRIBE, self._request(block, view))
        else:
            self._out.send(first, self._request(block, view))
        self._arm()

    def size(self) -> int:
        """How many missing blocks are asked for."""
        return len(self._wanted)

    def got(self, block: bytes) -> None:
        """The body of `block` is held now."""
        if self._wanted.pop(block, None) is not None and not self._wanted:
            self._out.cancel("sync")

    def retry(self) -> None:
        """The retry timer is due: everybody is asked for what is overdue."""
        for block in [h for h, wanted in self._wanted.items() if wanted.view <= self._chain.head_view]:
            del self._wanted[block]
        for block, wanted in self._wanted.items():
            if wanted.due <= self._out.now:
                wanted.due = self._out.now + self._retry
                self._out.multicast(TRIBE, self._request(block, wanted.view))
        self._arm()

    def serve(self, sender: NodeId, request: BlockRequest) -> None:
        """Answer a request from what is held here, at most MAX_SERVED times per peer and period."""
        period = self._out.now // self._retry if self._retry else 0
        last, count = self._served.get(sender, (period, 0))
        count = count + 1 if last == period else 1
        self._served[sender] = (period, count)
        if count > MAX_SERVED:
            if count == MAX_SERVED + 1:
                self._out.reject(sender, "too many block requests")
            return
        response = self._chain.response(request.block, min(request.ancestors, MAX_ANCESTORS))
        if response is not None:
            self._out.send(sender, response)

    def accept(self, sender: NodeId, response: BlockResponse) -> list[tuple[bytes, Block]]:
        """The blocks of a wanted response, newest first, with their hashes; rejects one nobody asked for."""
        blocks = response.blocks
        identity = block_hash(blocks[0])
        if identity not in self._wanted:
            if self._chain.get(identity) is None and blocks[0].view > self._chain.head_view:
                self._out.reject(sender, "block response that was not asked for")
            return []
        accepted = [(identity, blocks[0])]
        for block in blocks[1:]:
            identity = block_hash(block)
            if identity != accepted[-1][1].parent:
                self._out.reject(sender, "block response that is not a chain")
                break
            accepted.append((identity, block))
        return accepted

    def _request(self, block: bytes, view: int) -> BlockRequest:
        """Ask for as many ancestors as the views between leave room for."""
        return BlockRequest(block, max(0, min(MAX_ANCESTORS, view - self._chain.head_view - 1)))

    def _arm(self) -> None:
        if self._wanted:
            self._out.timer("sync", min(wanted.due for wanted in self._wanted.values()))
