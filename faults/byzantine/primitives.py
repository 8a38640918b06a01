"""The fault primitives of protocol.md 5.1 as building blocks: what an attack says, to whom, and when.

Whatever is made here is signed with keys that the coalition holds (P17: one brain may sign for each member). P1
equivocate: `sibling`, `child` and `halves.victims`. P2 withhold and P16 just in time: `Held`. P4 replay: `under`, and
`msgspec.structs.replace` on what was heard. P6 bad share: `spoiled`. P7 re-encoded: `malleated`. P11 old keys: `under`
an earlier epoch. Forged certificates (P5) are in forgery.py, what was overheard in overheard.py, batches in sealing.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from msgspec.structs import replace

from faults.byzantine.port import CorruptedNode
from faults.byzantine.sealing import Proposal
from nodes.committee import Committee, LeaderSchedule
from nodes.crypto import Domain
from nodes.messages import (
    Block,
    BlockCertificate,
    CommitVote,
    FallbackProposal,
    Message,
    NodeId,
    NormalProposal,
    OptimisticProposal,
    Timeout,
    TimeoutCertificate,
    Vote,
    VoteKind,
    block_hash,
)

MS = 1_000_000  # ns
NEVER = 2**62  # ns
PROPOSALS = (OptimisticProposal, NormalProposal, FallbackProposal)
ORDER = 2**252 + 27742317777372353535851937790883648493  # of the Ed25519 group


# ---------------------------------------------------------------- signed statements of the coalition
def vote(node: CorruptedNode, kind: VoteKind, view: int, block: bytes, voter: NodeId | None = None) -> Vote:
    """VOTE(kind, view, block) by this node, or by another member of the coalition (KeyError for anybody else)."""
    signer = voter or node.id
    return Vote(kind, view, block, signer, node.sign(node.domain.vote(kind, view, block), signer))


def commit_vote(node: CorruptedNode, view: int, block: bytes, voter: NodeId | None = None) -> CommitVote:
    """CMT(view, block), as `vote`; nobody asks whether the block is certified."""
    signer = voter or node.id
    return CommitVote(view, block, signer, node.sign(node.domain.commit(view, block), signer))


def timeout(node: CorruptedNode, view: int, lock: BlockCertificate, voter: NodeId | None = None) -> Timeout:
    """TMO(view, lock), as `vote`, with any certificate as the lock."""
    signer = voter or node.id
    return Timeout(view, lock, signer, node.sign(node.domain.timeout(view, lock.view), signer))


def proposal(
    node: CorruptedNode, block: Block, justification: BlockCertificate | TimeoutCertificate | None = None
) -> Proposal:
    """The proposal of a block by its proposer, whose key the coalition must hold (else KeyError): fallback with a
    timeout certificate, normal with a block certificate, optimistic with neither. Nothing is checked."""

    def signature(kind: VoteKind) -> bytes:
        return node.sign(node.domain.proposal(kind, block.view, block_hash(block)), block.proposer)

    if isinstance(justification, BlockCertificate):
        return NormalProposal(block, justification, signature("normal"))
    if isinstance(justification, TimeoutCertificate):
        return FallbackProposal(block, justification, signature("fallback"))
    return OptimisticProposal(block, signature("optimistic"))


# ---------------------------------------------------------------- P1: more than one block
def sibling(block: Block, number: int = 1, **changes: Any) -> Block:
    """Another valid block of the same view, proposer and parent: `number` ms later, without its first batch, or with
    other `changes` of its fields."""
    fields = {"timestamp_ms": block.timestamp_ms + number, "payload": block.payload[1:], **changes}
    return replace(block, **fields)


def child(node: CorruptedNode, parent: Block, view: int, number: int = 0) -> Block:
    """An empty block of `view` on `parent`; `number` tells several apart. Its proposer is the view's leader."""
    time_ms = max(parent.timestamp_ms, node.now // MS) + number
    proposer = leader_of(node.committee, view)
    return Block(parent.chain, parent.epoch, view, parent.height + 1, block_hash(parent), proposer, time_ms, ())


def genesis_certificate(node: CorruptedNode) -> BlockCertificate:
    """The certificate of view 0, which every replica takes: the lowest lock that there is."""
    genesis = Block(node.domain.chain, node.domain.epoch, 0, 0, bytes(32), "genesis", 0, ())
    return BlockCertificate(node.domain.epoch, "normal", 0, block_hash(genesis), b"", ())


# ---------------------------------------------------------------- P4, P6, P7, P11: signatures out of place
def under(node: CorruptedNode, epoch: int | None = None, chain: str | None = None) -> Domain:
    """The domain of another epoch (old keys, P11) or chain, to sign statements of."""
    return replace(
        node.domain,
        epoch=node.domain.epoch if epoch is None else epoch,
        chain=node.domain.chain if chain is None else chain,
    )


def spoiled(signature: bytes) -> bytes:
    """The signature with one bit flipped: it looks like a good one, and is none."""
    return signature[:-1] + bytes([signature[-1] ^ 1])


def malleated(signature: bytes) -> bytes:
    """The same Ed25519 signature written as (R, s + L): a verifier that does not check s < L takes both for good."""
    s = int.from_bytes(signature[32:], "little") + ORDER
    return signature[:32] + (s % 2**256).to_bytes(32, "little")


# ---------------------------------------------------------------- P2, P16: not now
class Held:
    """Messages that are kept back, and when they go."""

    def __init__(self) -> None:
        self._queue: list[tuple[int, NodeId, Message]] = []

    def __len__(self) -> int:
        return len(self._queue)

    def keep(self, to: NodeId, message: Message, until: int = NEVER) -> None:
        """Hold (to, message) back until the time `until` (ns, as `node.now`), or until `release`."""
        self._queue.append((until, to, message))

    def due(self, now: int) -> list[tuple[NodeId, Message]]:
        """What goes now, oldest first."""
        ready = [(to, message) for until, to, message in self._queue if until <= now]
        self._queue = [entry for entry in self._queue if entry[0] > now]
        return ready

    def release(self) -> list[tuple[NodeId, Message]]:
        """Everything, at once."""
        return self.due(NEVER)


# ---------------------------------------------------------------- who
def honest(node: CorruptedNode) -> tuple[NodeId, ...]:
    """The tribe without the coalition, in committee order."""
    return tuple(member for member in node.committee.tribe if member not in node.coalition)


def to_all(
    node: CorruptedNode, message: Message, targets: Sequence[NodeId] | None = None
) -> list[tuple[NodeId, Message]]:
    """The message to each of the targets; by default to the honest tribe."""
    return [(to, message) for to in (honest(node) if targets is None else targets)]


def enough(node: CorruptedNode) -> tuple[NodeId, ...]:
    """As many honest nodes as make a quorum together with the coalition; every quorum needs at least these."""
    return honest(node)[: max(1, node.committee.quorum - len(node.coalition))]


def leader_of(committee: Committee, view: int) -> NodeId:
    """leader(v) of protocol.md 1.7."""
    cycle = _cycle(committee.tribe, committee.config.leaders)
    return cycle[view % len(cycle)]


def leads(node: CorruptedNode, view: int) -> bool:
    """Does a member of the coalition lead the view?"""
    return leader_of(node.committee, view) in node.coalition


@lru_cache(maxsize=4)
def _cycle(tribe: tuple[NodeId, ...], schedule: LeaderSchedule) -> tuple[NodeId, ...]:
    if schedule.kind == "fixed" and schedule.order:
        return schedule.order
    if schedule.kind == "round-robin":
        return tribe
    n = len(tribe)
    left = [[(i + step) % n for step in range(1, n)] for i in range(n)]  # successors not yet had
    cycle, at = [0], 0
    while left[at]:
        at = left[at].pop(0)
        cycle.append(at)
    return tuple(tribe[i] for i in cycle[:-1]) or tribe
