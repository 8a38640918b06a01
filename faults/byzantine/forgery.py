"""Certificates that must not be taken (P5 of protocol.md 5.1): each with one flaw, the rest as good as keys allow.

Genuine signatures in them are those of the coalition and those that were heard; `FLAWS` says what is wrong.
"""

from __future__ import annotations

from collections.abc import Mapping

from msgspec.structs import replace

from faults.byzantine.port import CorruptedNode
from faults.byzantine.primitives import spoiled, timeout, under
from nodes.crypto import bitmap_of
from nodes.messages import BlockCertificate, CommitCertificate, NodeId, TimeoutCertificate, VoteKind

FLAWS = {
    "below-threshold": "Q-1 signers",
    "made-up": "Q signers, the signatures of honest ones invented",
    "duplicate-signer": "Q signers, but it is one member's signature over and over",
    "repeated": "fewer signers than signatures: one is in the list several times",
    "outsider": "a signer beyond the end of the tribe",
    "mixed-kind": "signatures of the coalition for another kind of vote than it says",
    "other-view": "signatures for the view before",
    "other-epoch": "signed with the keys of an earlier epoch",
}
_OTHER: dict[str, VoteKind] = {"optimistic": "normal", "normal": "fallback", "fallback": "optimistic"}


def forged(
    node: CorruptedNode,
    flaw: str,
    kind: VoteKind,
    view: int,
    block: bytes,
    heard: Mapping[NodeId, bytes] | None = None,
) -> BlockCertificate:
    """A certificate of `kind` for the block with one of the FLAWS; `heard`: genuine votes of others for the same.

    Raises KeyError for an unknown flaw.
    """
    if flaw not in FLAWS:
        raise KeyError(f"flaw {flaw!r}: out of {', '.join(FLAWS)}")
    domain = under(node, epoch=max(0, node.domain.epoch - 1)) if flaw == "other-epoch" else node.domain
    signed_kind = _OTHER[kind] if flaw == "mixed-kind" else kind
    signed_view = max(0, view - 1) if flaw == "other-view" else view
    statement = domain.vote(signed_kind, signed_view, block)
    known = {} if flaw in ("mixed-kind", "other-view", "other-epoch") else dict(heard or {})
    known |= {member: node.sign(statement, member) for member in node.coalition if member in node.committee.index}
    bits, signatures = _signed(node, flaw, known)
    return BlockCertificate(node.domain.epoch, kind, view, block, bits, signatures)


def forged_commit(node: CorruptedNode, flaw: str, view: int, block: bytes) -> CommitCertificate:
    """A commit certificate for the block, signed by the coalition only, with one of the FLAWS."""
    statement = node.domain.commit(view, block)
    known = {member: node.sign(statement, member) for member in node.coalition if member in node.committee.index}
    bits, signatures = _signed(node, flaw, known)
    return CommitCertificate(node.domain.epoch, view, block, bits, signatures)


def forged_timeouts(node: CorruptedNode, flaw: str, view: int, high: BlockCertificate) -> TimeoutCertificate:
    """A timeout certificate in the name of a quorum, signed by the coalition only, with one of the FLAWS."""
    signed_view = max(0, view - 1) if flaw == "other-view" else view
    known = {
        member: timeout(node, signed_view, high, member).signature
        for member in node.coalition
        if member in node.committee.index
    }
    bits, signatures = _signed(node, flaw, known)
    lock_views = (high.view,) * len(signatures)
    return TimeoutCertificate(node.domain.epoch, view, high, bits, lock_views, signatures)


def understated(certificate: TimeoutCertificate, high: BlockCertificate) -> TimeoutCertificate:
    """A genuine timeout certificate round another high certificate, and with lock views that fit it."""
    return replace(certificate, high=high, lock_views=tuple(min(v, high.view) for v in certificate.lock_views))


def _signed(node: CorruptedNode, flaw: str, known: Mapping[NodeId, bytes]) -> tuple[bytes, tuple[bytes, ...]]:
    """(bitmap, signatures) of Q signers, one fewer below the threshold: who is known first, the rest invented."""
    tribe, quorum = node.committee.tribe, node.committee.quorum
    wanted = quorum - 1 if flaw == "below-threshold" else quorum
    ranked = sorted(tribe, key=lambda member: (member not in known, node.committee.index[member]))
    chosen = [member for member in tribe if member in ranked[:wanted]]
    own = known[ranked[0]]
    rest = own if flaw == "duplicate-signer" else spoiled(own)
    signatures = tuple(known.get(member, rest) for member in chosen)
    if flaw == "repeated":
        held = [member for member in chosen if member in known]
        return bitmap_of(tribe, held), (own,) * quorum
    if flaw == "outsider":
        bits = int.from_bytes(bitmap_of(tribe, chosen[1:]), "little") | 1 << len(tribe)
        return bits.to_bytes(len(tribe) // 8 + 1, "little"), (*signatures[1:], own)
    return bitmap_of(tribe, chosen), signatures
