"""The leader's side: builds, keeps and sends own proposals (protocol.md 1.4), never two that contradict each other."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from nodes.crypto import Domain
from nodes.messages import (
    Block,
    BlockCertificate,
    FallbackProposal,
    NodeId,
    NormalProposal,
    OptimisticProposal,
    TimeoutCertificate,
    VoteKind,
    block_hash,
)
from nodes.moonshot.chain import Chain
from nodes.moonshot.outbox import MS, Outbox
from nodes.moonshot.state import Replica
from nodes.moonshot.window import ByView
from nodes.port import EVERYONE, PayloadSource
from nodes.records import ProposedRecord


class OwnView(msgspec.Struct):
    """What this leader has proposed for one view, across restarts."""

    blocks: dict[bytes, Block] = msgspec.field(default_factory=dict)  # by parent: the same block again, always
    optimistic: list[bytes] = msgspec.field(default_factory=list)  # parents
    main: tuple[VoteKind, bytes] | None = None  # normal or fallback, and its parent


class Pending(msgspec.Struct):
    """A proposal that waits for its parent's body, its parent's timestamp, or something to order."""

    view: int
    parent: bytes
    since: int  # ns
    certificate: BlockCertificate | TimeoutCertificate | None = None  # None: optimistic


class Proposer:
    """Everything a leader may send, and when."""

    def __init__(
        self,
        me: NodeId,
        domain: Domain,
        sign: Callable[[bytes], bytes],
        chain: Chain,
        out: Outbox,
        payload: PayloadSource,
        idle_delay_ms: int,
    ) -> None:
        self._me = me
        self._domain = domain
        self._sign = sign
        self._chain = chain
        self._out = out
        self._payload = payload
        self._idle = idle_delay_ms * MS
        self._own: ByView[OwnView] = ByView()
        self._pending: list[Pending] = []

    def recover(self, record: ProposedRecord) -> None:
        """Take back an own proposal of an earlier incarnation."""
        own = self._own.setdefault(record.block.view, OwnView())
        own.blocks[record.block.parent] = record.block
        self._remember(own, record.kind, record.block.parent)

    def optimistic(self, parent: bytes, view: int) -> None:
        """OPT(new block on `parent`, view): at once, or never if it would have to wait for something to order."""
        self._pending.append(Pending(view, parent, self._out.now))

    def normal(self, certificate: BlockCertificate) -> None:
        """NRM on the block that `certificate` certifies, for the view after it."""
        view = certificate.view + 1
        self._pending.append(Pending(view, certificate.block, self._out.now, certificate))

    def fallback(self, certificate: TimeoutCertificate) -> None:
        """FBK on the highest block of `certificate`, for the view after it."""
        view = certificate.view + 1
        self._pending.append(Pending(view, certificate.high.block, self._out.now, certificate))

    def attempt(self, state: Replica, taken_too: frozenset[bytes]) -> None:
        """Send what can be sent now, drop what is stale, and set the timer for what waits for the clock.

        `taken_too`: batches finalised in this step, of which the payload source has not heard yet.
        """
        if not self._pending:
            return
        waiting: list[Pending] = []
        wake: int | None = None
        for pending in self._pending:
            if pending.view < state.view or not self._allowed(pending):
                continue
            due = self._due(pending, taken_too)
            if due is None:
                continue
            waiting.append(pending)
            if due > 0:
                wake = due if wake is None else min(wake, due)
        self._pending = waiting
        if wake is not None:
            self._out.timer("propose", wake)

    def prune(self, below: int) -> None:
        """Forget own proposals of views under `below`."""
        self._own.prune(below)

    def _allowed(self, pending: Pending) -> bool:
        """The legal shape of a view (1.4): at most two OPT with different parents, and one of NRM or FBK."""
        own = self._own.get(pending.view)
        if own is None:
            return True
        if pending.certificate is None:
            return own.main is None and pending.parent not in own.optimistic and len(own.optimistic) < 2
        return own.main is None or own.main == (_kind(pending), pending.parent)

    def _due(self, pending: Pending, taken_too: frozenset[bytes]) -> int | None:
        """None: sent, or given up. 0: waits for a body. Otherwise the time (ns) at which to try again."""
        parent = self._chain.get(pending.parent)
        path = self._chain.path(pending.parent)
        if path.conflict:
            return None
        if parent is None or path.missing is not None:
            return 0
        if parent.timestamp_ms > self._out.now_ms:
            return parent.timestamp_ms * MS
        own = self._own.setdefault(pending.view, OwnView())
        block = own.blocks.get(pending.parent)
        if block is None:
            taken = taken_too.union(c.batch for b in path.blocks for c in b.payload)
            payload = self._payload.collect(self._out.now, taken)
            if not payload and not any(b.payload for b in path.blocks):
                if pending.certificate is None and self._idle:
                    return None  # nothing to order: leave it to the normal proposal, which waits
                idle_until = pending.since + self._idle
                if isinstance(pending.certificate, BlockCertificate) and self._out.now < idle_until:
                    return idle_until
            block = Block(
                chain=self._domain.chain,
                epoch=self._domain.epoch,
                view=pending.view,
                height=parent.height + 1,
                parent=pending.parent,
                proposer=self._me,
                timestamp_ms=self._out.now_ms,
                payload=payload,
            )
            own.blocks[pending.parent] = block
        self._send(own, block, pending)
        return None

    def _send(self, own: OwnView, block: Block, pending: Pending) -> None:
        kind = _kind(pending)
        identity = block_hash(block)
        signature = self._sign(self._domain.proposal(kind, block.view, identity))
        message: OptimisticProposal | NormalProposal | FallbackProposal
        match pending.certificate:
            case None:
                message = OptimisticProposal(block, signature)
            case BlockCertificate() as certificate:
                message = NormalProposal(block, certificate, signature)
            case certificate:
                message = FallbackProposal(block, certificate, signature)
        self._remember(own, kind, block.parent)
        self._out.persist(ProposedRecord(kind, block))
        self._out.multicast(EVERYONE, message)
        self._out.own.append(message)
        self._out.emit(
            "propose",
            view=block.view,
            height=block.height,
            block=identity.hex(),
            parent=block.parent.hex(),
            kind=kind,
            payload_bytes=sum(c.byte_length for c in block.payload),
            batches=[c.batch.hex() for c in block.payload],
        )

    @staticmethod
    def _remember(own: OwnView, kind: VoteKind, parent: bytes) -> None:
        if kind == "optimistic":
            if parent not in own.optimistic:
                own.optimistic.append(parent)
        else:
            own.main = (kind, parent)


def _kind(pending: Pending) -> VoteKind:
    match pending.certificate:
        case None:
            return "optimistic"
        case BlockCertificate():
            return "normal"
        case _:
            return "fallback"
