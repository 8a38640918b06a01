"""What is inside the evidence of an accusation: signed objects, decoded from the wire layout alone.

Evidence is a msgpack array of objects, each a msgpack array with its tag first: VOTE [kind, view, block, voter,
signature], CMT [view, block, voter, signature], OPT [block, signature], NRM and FBK [block, certificate, signature], AV
[clan, proposer, seq, batch, tx_count, byte_length, created_ms, voter, signature], DAQC [epoch, cycle, clan, proposer,
seq, batch, tx_count, byte_length, created_ms, bitmap, signatures]; a batch has no tag: [header, transactions,
signature]. A block is [chain, epoch, view, height, parent, proposer, timestamp_ms, payload].
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from checkers.arithmetic import clan_majority
from checkers.culprits import contradiction
from checkers.evidence import EvidenceError, sha256
from checkers.index import Index
from results.evidence import Statement

_pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder(list[Any]).decode
_PROPOSALS = {"OPT": "optimistic", "NRM": "normal", "FBK": "fallback"}
_VOTES = {"VOTE": 6, "CMT": 5}  # tag -> length
MOST_OPTIMISTIC = 2

Slot = tuple[Any, ...]  # (clan, proposer, seq)


@dataclass(frozen=True)
class Signed:
    """One object. `what`: vote | proposal | availability | batch | certificate; `identity` is what it is for."""

    what: str
    author: str
    kind: str  # of a vote or proposal
    place: Slot  # (view,) of consensus objects, else the batch's slot
    identity: str
    parent: str  # of a proposal
    statement: tuple[Any, ...]  # kind of the statement, then its fields
    signature: bytes
    bitmap: bytes = b""
    many: tuple[bytes, ...] = ()

    def signatures(self, index: Index) -> Iterator[tuple[str, bytes, bytes]]:
        """(signer, statement, signature) of all that must hold."""
        statement = index.notary.statement(*self.statement)
        if self.what != "certificate":
            yield self.author, statement, self.signature
            return
        for signer, signature in zip(self._voters(index), self.many, strict=False):
            yield signer, statement, signature

    def fault(self, index: Index) -> str:
        """What is wrong beside signatures, or ""."""
        if self.what != "certificate":
            return ""
        voters = self._voters(index)
        members = self._members(index)
        if self.author not in members or len(voters) != len(self.many) or len(voters) < clan_majority(len(members)):
            return f"holds a certificate of {len(voters)} voters, which is none of clan {self.place[0]}"
        return ""

    def _members(self, index: Index) -> Sequence[str]:
        clan = self.place[0]
        return index.info.clans[clan] if 0 <= clan < len(index.info.clans) else ()

    def _voters(self, index: Index) -> list[str]:
        bits = int.from_bytes(self.bitmap, "little")
        return [node for number, node in enumerate(self._members(index)) if bits >> number & 1]


def signed_words(data: bytes) -> list[Signed]:
    """The objects in the evidence. Raises EvidenceError on anything that is none of them."""
    try:
        return [_decoded(parts) for parts in _unpack(data)]
    except (msgspec.MsgspecError, ValueError, TypeError, IndexError, AttributeError) as error:
        raise EvidenceError(f"not an array of signed objects: {error}") from error


def _decoded(parts: list[Any]) -> Signed:
    tag = parts[0]
    if isinstance(tag, list):
        header, _, signature = parts
        _, _, _, clan, proposer, seq, *_ = header
        batch = sha256(b"BATCH", _pack(header))
        return Signed("batch", proposer, "", (clan, proposer, seq), batch.hex(), "", ("batch", batch), signature)
    if tag in _VOTES:
        kind, view, block, voter, signature = parts[1:] if tag == "VOTE" else ["commit", *parts[1:]]
        statement = ("commit", view, block) if tag == "CMT" else ("vote", kind, view, block)
        return Signed("vote", voter, kind, (view,), block.hex(), "", statement, signature)
    if tag in _PROPOSALS:
        block, signature = parts[1], parts[-1]
        _, _, view, _, parent, proposer, _, _ = block
        identity, kind = sha256(b"BLOCK", _pack(block)), _PROPOSALS[tag]
        statement = ("proposal", kind, view, identity)
        return Signed("proposal", proposer, kind, (view,), identity.hex(), parent.hex(), statement, signature)
    if tag == "AV":
        clan, proposer, seq, batch, *_, voter, signature = parts[1:]
        slot = (clan, proposer, seq)
        return Signed("availability", voter, "", slot, batch.hex(), "", ("available", *parts[1:8]), signature)
    if tag == "DAQC":
        _, _, clan, proposer, seq, batch, *_, bitmap, many = parts[1:]
        facts = ("available", *parts[3:10])
        return Signed(
            "certificate", proposer, "", (clan, proposer, seq), batch.hex(), "", facts, b"", bitmap, tuple(many)
        )
    raise ValueError(f"an object tagged {tag!r:.40}")


def guilt(words: Sequence[Signed]) -> bool:
    """Do these objects of one author, all of one kind and one place, contradict each other?"""
    if len(words) < 2 or len({(word.what, word.place) for word in words}) != 1:
        return False
    if words[0].what == "vote":
        first, *others = (Statement(word.kind, word.place[0], "", word.identity) for word in words)
        return any(contradiction(first, other) for other in others)
    if words[0].what == "proposal":
        return _illegal(words)
    return len({word.identity for word in words}) > 1


def _illegal(proposals: Sequence[Signed]) -> bool:
    """More than one honest leader proposes in a view (protocol.md 1.4)."""
    on: dict[str, set[str]] = {}
    for word in proposals:
        on.setdefault(word.parent, set()).add(word.identity)
    main = {(word.kind, word.identity) for word in proposals if word.kind != "optimistic"}
    optimistic = {word.parent for word in proposals if word.kind == "optimistic"}
    return any(len(blocks) > 1 for blocks in on.values()) or len(main) > 1 or len(optimistic) > MOST_OPTIMISTIC
