"""Structured mutations of consensus messages (ByzzFuzz): one field changed, everything re-signed by the sender.

Small scope: an integer one up or down, a value seen a little earlier, another kind, nothing at all. Any scope: the same
field with any value, out of all that was seen or none. An operator returns the message changed, None for "say nothing",
or the message itself where it has nothing to change.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any, TypeAlias

from msgspec.structs import replace

from faults.byzantine.port import CorruptedNode
from faults.byzantine.sealing import Proposal, reseal
from nodes.messages import (
    Block,
    BlockCertificate,
    CommitCertificate,
    CommitVote,
    FallbackProposal,
    Message,
    NormalProposal,
    OptimisticProposal,
    Timeout,
    TimeoutCertificate,
    Vote,
    VoteKind,
    block_hash,
)

Rewrite: TypeAlias = Message | None
Operator: TypeAlias = "Callable[[Rewriting, Any], Rewrite]"
KINDS: tuple[VoteKind, ...] = ("optimistic", "normal", "fallback")
PROPOSALS = (OptimisticProposal, NormalProposal, FallbackProposal)
KEPT = 64
FAR = 20  # how far away an arbitrary view or height may lie


class Seen:
    """What a node saw lately, newest last, for repeating it."""

    def __init__(self) -> None:
        self.blocks: list[Block] = []
        self.certificates: list[BlockCertificate] = []
        self.timeout_certificates: list[TimeoutCertificate] = []

    def take(self, message: Message) -> None:
        """Remember what the message holds."""
        if isinstance(message, PROPOSALS):
            _keep(self.blocks, message.block)
        if isinstance(message, NormalProposal):
            _keep(self.certificates, message.certificate)
        if isinstance(message, FallbackProposal):
            _keep(self.timeout_certificates, message.certificate)
        if isinstance(message, BlockCertificate):
            _keep(self.certificates, message)
        if isinstance(message, Timeout):
            _keep(self.certificates, message.lock)
        if isinstance(message, TimeoutCertificate):
            _keep(self.timeout_certificates, message)


def _keep(values: list[Any], value: Any) -> None:
    if value not in values[-8:]:
        values.append(value)
        del values[:-KEPT]


class Rewriting:
    """One mutation: who signs, what was seen, and the draws. `near`: small scope."""

    def __init__(self, node: CorruptedNode, seen: Seen, rng: Random, near: bool) -> None:
        self.node = node
        self.seen = seen
        self.rng = rng
        self.near = near

    def number(self, value: int) -> int:
        """Another integer."""
        if self.near:
            return max(0, value + self.rng.choice((-1, 1)))
        return max(0, value + self.rng.choice([d for d in range(-FAR, FAR + 1) if d]))

    def hash(self, value: bytes) -> bytes:
        """Another block's hash: one of the two before it, or any, or one that nobody made."""
        seen = [block_hash(block) for block in self.seen.blocks]
        others = [digest for digest in seen if digest != value]
        if self.near:
            return others[-1 - self.rng.randrange(min(2, len(others)))] if others else value
        return self.rng.choice([*others, self.rng.randbytes(32)])

    def certificate(self, value: BlockCertificate) -> BlockCertificate:
        """Another certificate: one that is a little older, or any."""
        others = [c for c in self.seen.certificates if c.view < value.view or (not self.near and c != value)]
        if not others:
            return value
        return max(others, key=lambda c: c.view) if self.near else self.rng.choice(others)


def rewrite(rewriting: Rewriting, message: Message, operator: str = "") -> Rewrite:
    """The message as one operator that applies changes it, chosen by chance or by name; itself where none does."""
    known = OPERATORS.get(type(message), {})
    names = [operator] if operator else rewriting.rng.sample(sorted(known), len(known))
    for name in names:
        changed = known[name](rewriting, message) if name in known else message
        if changed != message:
            return changed
    return message


# ---------------------------------------------------------------- proposals
def _of_block(change: Callable[[Rewriting, Block], Block]) -> Operator:
    def operator(r: Rewriting, proposal: Proposal) -> Rewrite:
        block = change(r, proposal.block)
        return proposal if block == proposal.block else reseal(r.node, proposal, block)

    return operator


def _other_payload(r: Rewriting, block: Block) -> Block:
    others = [b.payload for b in r.seen.blocks if b.payload != block.payload]
    return replace(block, payload=(others[-1] if r.near else r.rng.choice(others))) if others else block


def _drop_batch(r: Rewriting, block: Block) -> Block:
    return replace(block, payload=block.payload[1:])


def _repeat_batch(r: Rewriting, block: Block) -> Block:
    return replace(block, payload=(*block.payload, *block.payload[:1]))


def _grandparent(r: Rewriting, block: Block) -> Block:
    parent = next((b for b in r.seen.blocks if block_hash(b) == block.parent), None)
    return replace(block, parent=parent.parent) if parent else block


def _as_optimistic(r: Rewriting, proposal: Proposal) -> Rewrite:
    """Leave the justification out."""
    return reseal(r.node, OptimisticProposal(proposal.block, bytes(64)), proposal.block)


def _older_justification(r: Rewriting, proposal: NormalProposal) -> Rewrite:
    return replace(proposal, certificate=r.certificate(proposal.certificate))


def _older_timeouts(r: Rewriting, proposal: FallbackProposal) -> Rewrite:
    others = [c for c in r.seen.timeout_certificates if c != proposal.certificate]
    return replace(proposal, certificate=others[-1] if r.near else r.rng.choice(others)) if others else proposal


# ---------------------------------------------------------------- votes
def _sign_vote(r: Rewriting, kind: VoteKind, view: int, block: bytes) -> Vote:
    node = r.node
    return Vote(kind, view, block, node.id, node.sign(node.domain.vote(kind, view, block)))


def _vote_kind(r: Rewriting, vote: Vote) -> Rewrite:
    return _sign_vote(r, r.rng.choice([k for k in KINDS if k != vote.kind]), vote.view, vote.block)


def _sign_commit(r: Rewriting, view: int, block: bytes) -> CommitVote:
    node = r.node
    return CommitVote(view, block, node.id, node.sign(node.domain.commit(view, block)))


def _sign_timeout(r: Rewriting, view: int, lock: BlockCertificate) -> Timeout:
    node = r.node
    return Timeout(view, lock, node.id, node.sign(node.domain.timeout(view, lock.view)))


# ---------------------------------------------------------------- certificates
def _flip_signer(r: Rewriting, certificate: Any) -> Rewrite:
    if not certificate.signers:
        return certificate  # type: ignore[no-any-return]
    bits = bytearray(certificate.signers)
    bits[r.rng.randrange(len(bits))] ^= 1 << r.rng.randrange(8)
    return replace(certificate, signers=bytes(bits))  # type: ignore[no-any-return]


def _view_of_certificate(r: Rewriting, certificate: Any) -> Rewrite:
    return replace(certificate, view=r.number(certificate.view))  # type: ignore[no-any-return]


def _kind_of_certificate(r: Rewriting, certificate: BlockCertificate) -> Rewrite:
    return replace(certificate, kind=r.rng.choice([k for k in KINDS if k != certificate.kind]))


def _omit(r: Rewriting, message: Message) -> Rewrite:
    return None


_BLOCK: dict[str, Operator] = {
    "view": _of_block(lambda r, b: replace(b, view=r.number(b.view))),
    "height": _of_block(lambda r, b: replace(b, height=r.number(b.height))),
    "parent": _of_block(lambda r, b: replace(b, parent=r.hash(b.parent))),
    "grandparent": _of_block(_grandparent),
    "timestamp": _of_block(lambda r, b: replace(b, timestamp_ms=r.number(b.timestamp_ms))),
    "payload": _of_block(_other_payload),
    "drop-batch": _of_block(_drop_batch),
    "repeat-batch": _of_block(_repeat_batch),
    "omit": _omit,
}
_CERTIFICATE: dict[str, Operator] = {"signer": _flip_signer, "view": _view_of_certificate, "omit": _omit}
OPERATORS: dict[type, dict[str, Operator]] = {
    OptimisticProposal: _BLOCK,
    NormalProposal: {**_BLOCK, "justification": _older_justification, "unjustified": _as_optimistic},
    FallbackProposal: {**_BLOCK, "justification": _older_timeouts, "unjustified": _as_optimistic},
    Vote: {
        "view": lambda r, m: _sign_vote(r, m.kind, r.number(m.view), m.block),
        "block": lambda r, m: _sign_vote(r, m.kind, m.view, r.hash(m.block)),
        "kind": _vote_kind,
        "omit": _omit,
    },
    CommitVote: {
        "view": lambda r, m: _sign_commit(r, r.number(m.view), m.block),
        "block": lambda r, m: _sign_commit(r, m.view, r.hash(m.block)),
        "omit": _omit,
    },
    Timeout: {
        "view": lambda r, m: _sign_timeout(r, r.number(m.view), m.lock),
        "lock": lambda r, m: _sign_timeout(r, m.view, r.certificate(m.lock)),
        "omit": _omit,
    },
    BlockCertificate: {**_CERTIFICATE, "kind": _kind_of_certificate},
    CommitCertificate: _CERTIFICATE,
    TimeoutCertificate: _CERTIFICATE,
}
