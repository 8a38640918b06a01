"""Replica that tries at random whatever its keys allow: any proposal, vote, timeout and certificate, to anybody.

The adversary of the random walk in protocol.md 1.13, which combines P1, P2, P4, P5 and P17 of 5.1: it hears everything
first, forms every certificate that it can, and shows it to whom it likes. Smallest breaking count f+1; below it no
choice may break I-U, I-D or I-PFX, which is what a random search with it asks. What it does is drawn from the node's
seed. `pace_ms` is the least time between two acts, `hold` the share of the honest core's messages that it keeps back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, ClassVar

from faults.byzantine.overheard import KINDS, Overheard
from faults.byzantine.port import Behaviour, CorruptedNode
from faults.byzantine.primitives import MS, commit_vote, timeout, vote
from nodes.crypto import bitmap_of
from nodes.messages import (
    Block,
    BlockCertificate,
    FallbackProposal,
    Message,
    NodeId,
    NormalProposal,
    OptimisticProposal,
    TimeoutCertificate,
    VoteKind,
    block_hash,
)

CONSENSUS = ("OPT", "NRM", "FBK", "VOTE", "CMT", "TMO", "QC", "CQC", "TC")
DEPTH = 3  # views back from the current one in which it still acts
MOST = 10  # moves at a time
SENSIBLE = 0.7  # share of the choices that could be legal; the rest is anything


class Improviser(Behaviour):
    name: ClassVar[str] = "improviser"
    attacks: ClassVar[tuple[str, ...]] = ("C1", "C2", "C3", "C4", "C5", "C6", "C7", "C13", "C14", "C15")
    breaks_at: ClassVar[str] = "f+1 in the tribe"
    aims_at: ClassVar[str] = "I-U, I-D, I-PFX: fork, ancestry, prefix"

    def __init__(self, pace_ms: Any = 20, hold: Any = 0.3) -> None:
        super().__init__()
        for key, value, most in (("pace_ms", pace_ms, 10_000), ("hold", hold, 1)):
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= most:
                raise ValueError(f"{key} = {value!r}: a number from 0 to {most}")
        self._pace = int(pace_ms * MS)
        self._hold = float(hold)
        self._heard = Overheard()
        self._due = 0
        self._moves: tuple[Callable[[CorruptedNode], Message | None], ...] = ()
        self._leads: set[int] = set()  # views that the own core proposed for

    def receive(self, node: CorruptedNode, sender: NodeId, message: Message) -> Message | None:
        self._heard.learn(message)
        return message

    def send(self, node: CorruptedNode, to: NodeId, message: Message) -> Iterable[tuple[NodeId, Message]]:
        self._heard.learn(message)
        if isinstance(message, OptimisticProposal | NormalProposal | FallbackProposal):
            self._leads.add(message.block.view)
        self.receipt.matched += 1
        if str(message.__struct_config__.tag) in CONSENSUS and node.rng.random() < self._hold:
            self.receipt.dropped += 1
            return
        yield to, message

    def act(self, node: CorruptedNode) -> Iterable[tuple[NodeId, Message]]:
        others = [member for member in node.committee.tribe if member not in node.coalition]
        if not self._moves:  # a random part of all there is, so that no kind of move always spoils another
            every = (self._propose, self._vote, self._timeout, self._certificate)
            self._moves = tuple(node.rng.choices(every, k=node.rng.randint(2, 6)))
        for _ in range(MOST):  # what is due since the last call: nothing may have happened here for a while
            if node.now < self._due:
                return
            self._due = max(self._due + self._pace, node.now - MOST * self._pace)
            message = node.rng.choice(self._moves)(node)
            if message is not None:
                self._heard.learn(message)
                targets = node.rng.sample(others, node.rng.randint(1, len(others)))
                self.receipt.injected += len(targets)
                yield from ((to, message) for to in targets)

    # ------------------------------------------------------------ moves
    def _view(self, node: CorruptedNode) -> int:
        """Mostly the current one: that of its own core, or the one that it left last."""
        if node.rng.random() < SENSIBLE:
            return max(1, node.view - node.rng.randint(0, 1))
        return max(1, node.view + node.rng.randint(-DEPTH + 1, 1))

    def _blocks(self, node: CorruptedNode, low: int, high: int) -> list[bytes]:
        """Known blocks of these views, in the order in which they were heard of."""
        return [identity for identity, block in self._heard.blocks.items() if low <= block.view <= high]

    def _propose(self, node: CorruptedNode) -> Message | None:
        """For a view that it leads: a new block on a recent one, in any kind that can be justified."""
        order = node.committee.config.leaders.order
        view = self._view(node)
        if view not in self._leads and not (order and order[view % len(order)] == node.id):
            return None
        sensible, kind = node.rng.random() < SENSIBLE, node.rng.choice(KINDS)
        parents = self._blocks(node, view - (1 if sensible and kind != "fallback" else DEPTH), view - 1)
        if not parents:
            return None
        parent = node.rng.choice(parents)
        justification = self._timeouts(node, view - 1) if kind == "fallback" else None
        if sensible and justification is not None and justification.high.block in self._heard.blocks:
            parent = justification.high.block
        block = self._block(node, view, parent)
        signature = node.sign(node.domain.proposal(kind, view, block_hash(block)))
        if kind == "optimistic":
            return OptimisticProposal(block, signature)
        if kind == "fallback":
            return None if justification is None else FallbackProposal(block, justification, signature)
        certificate = self._heard.certificate(node, parent)
        return None if certificate is None else NormalProposal(block, certificate, signature)

    def _block(self, node: CorruptedNode, view: int, parent: bytes) -> Block:
        """One of the blocks that were proposed for the view on this parent, or a new one."""
        known = [b for b in self._heard.blocks.values() if (b.view, b.parent, b.proposer) == (view, parent, node.id)]
        if known and node.rng.random() < 0.5:
            return node.rng.choice(known)
        above = self._heard.blocks[parent]
        time_ms = max(above.timestamp_ms, node.now // MS) + len(known)
        return Block(above.chain, above.epoch, view, above.height + 1, parent, node.id, time_ms, ())

    def _vote(self, node: CorruptedNode) -> Message | None:
        blocks = self._blocks(node, node.view - 1, node.view + 1)
        if not blocks:
            return None
        block = node.rng.choice(blocks)
        view = self._heard.blocks[block].view
        kind = node.rng.choice((*KINDS, "commit"))
        if kind == "commit":
            return commit_vote(node, view, block)
        return vote(node, kind, view, block)  # type: ignore[arg-type]

    def _timeout(self, node: CorruptedNode) -> Message | None:
        """A time-out of a recent view, with any older certificate as its lock."""
        view = self._view(node)
        locks = [qc for qc in self._heard.certificates.values() if view - 2 * DEPTH <= qc.view < view]
        if not locks:
            return None
        lock = node.rng.choice(locks)
        return timeout(node, view, lock)

    def _certificate(self, node: CorruptedNode) -> Message | None:
        """Any certificate that can be formed, block or time-out; at times one that cannot."""
        chance = node.rng.random()
        if chance < 0.3:
            return self._timeouts(node, self._view(node))
        blocks = self._blocks(node, node.view - 1, node.view + 1)
        if not blocks:
            return None
        block, kind = node.rng.choice(blocks), node.rng.choice(KINDS)
        return self._forged(node, block, kind) if chance < 0.4 else self._heard.certificate(node, block, kind)

    def _forged(self, node: CorruptedNode, block: bytes, kind: VoteKind) -> BlockCertificate:
        """Signed by itself, and in the name of others."""
        tribe, view = node.committee.tribe, self._heard.blocks[block].view
        signers = [m for m in tribe if m == node.id or node.rng.random() < SENSIBLE]
        own = node.sign(node.domain.vote(kind, view, block))
        signatures = tuple(own if member == node.id else bytes(64) for member in signers)
        return BlockCertificate(node.domain.epoch, kind, view, block, bitmap_of(tribe, signers), signatures)

    def _timeouts(self, node: CorruptedNode, view: int) -> TimeoutCertificate | None:
        """A timeout certificate of a random quorum of those who timed out."""
        who = [member for member in node.committee.tribe if self._heard.said("TMO", view, (member,))]
        quorum = node.committee.quorum
        if len(who) < quorum:
            return None
        return self._heard.timeout_certificate(node, view, node.rng.sample(who, quorum))
