"""The block tree: bodies, certificates by block, ancestors, and the finalised chain (protocol.md 1.4, 1.8)."""

from __future__ import annotations

from typing import Any

import msgspec

from nodes.byobject import ByObject
from nodes.crypto import Domain
from nodes.messages import Block, BlockCertificate, BlockResponse, block_hash
from nodes.moonshot.state import genesis_block, genesis_certificate

RESPONSE_BYTES = 4 * 1024 * 1024  # a BlockResponse stops growing here (a frame is at most 8 MiB)


class Path(msgspec.Struct):
    """Blocks from just above the finalised head up to some block, oldest first, as far as they are held here."""

    blocks: list[Block]
    missing: bytes | None = None  # first ancestor (or the block itself) without a body
    conflict: bool = False  # the branch leaves the finalised chain below its head


class Chain:
    """Bodies above the finalised head are bounded by the caller (certified, or few a view); the finalised chain is
    kept whole, because it is what a late node asks for."""

    __slots__ = ("_bodies", "_children", "_finalised", "_open", "certified", "head", "head_view")

    def __init__(self, domain: Domain) -> None:
        genesis = genesis_block(domain)
        self.head = block_hash(genesis)
        self.head_view = 0
        self._finalised: list[bytes] = [self.head]  # by height
        self._bodies: dict[bytes, Block] = {self.head: genesis}
        self._children: dict[bytes, list[bytes]] = {}  # of blocks not below the head
        self._open: dict[bytes, Block] = {}  # bodies that are not final
        self.certified: dict[bytes, BlockCertificate] = {self.head: genesis_certificate(domain)}

    @property
    def height(self) -> int:
        return len(self._finalised) - 1

    def get(self, block: bytes) -> Block | None:
        return self._bodies.get(block)

    def insert(self, block: Block, identity: bytes) -> bool:
        """Keep a body; False if it is known or can no longer matter (at or below the finalised view)."""
        if identity in self._bodies or block.view <= self.head_view:
            return False
        self._bodies[identity] = self._open[identity] = block
        self._children.setdefault(block.parent, []).append(identity)
        return True

    def certified_children(self, block: bytes) -> list[bytes]:
        """Children with a body whose certificate has been processed."""
        return [child for child in self._children.get(block, ()) if child in self.certified]

    def extends(self, descendant: bytes, ancestor: bytes, ancestor_view: int) -> bool:
        """Is `ancestor` a proper ancestor of `descendant`, as far as bodies are held?"""
        block = self._bodies.get(descendant)
        while block is not None and block.view > ancestor_view:
            if block.parent == ancestor:
                return True
            block = self._bodies.get(block.parent)
        return False

    def connected(self, block: bytes) -> bool:
        """Is `block` the finalised head or, as nearly always, a child of it that is held here?"""
        body = self._bodies.get(block)
        return body is not None and (block == self.head or (body.parent == self.head and body.view > self.head_view))

    def path(self, block: bytes) -> Path:
        """The path from the finalised head to `block`; empty if it is the head."""
        blocks: list[Block] = []
        head_view = self.head_view
        while block != self.head:
            body = self._bodies.get(block)
            if body is None:
                return Path(blocks[::-1], missing=block)
            if body.view <= head_view:
                return Path(blocks[::-1], conflict=True)
            blocks.append(body)
            block = body.parent
        return Path(blocks[::-1])

    def is_final(self, block: bytes) -> bool:
        return block in self._bodies and block not in self._open

    def finalise(self, block: Block, identity: bytes) -> None:
        """Append the child of the head to the finalised chain; `trim` follows once all of a commit are appended."""
        self._finalised.append(identity)
        self._bodies[identity] = block
        self._open.pop(identity, None)
        self.head, self.head_view = identity, block.view

    def trim(self) -> None:
        """Drop the branches that can no longer matter: bodies at or below the head's view that are not final."""
        view = self.head_view
        for stale in [h for h, body in self._open.items() if body.view <= view]:
            del self._open[stale]
            del self._bodies[stale]
        self._children = {}
        for identity, body in self._open.items():
            self._children.setdefault(body.parent, []).append(identity)
        for stale in [h for h, qc in self.certified.items() if qc.view < view]:
            del self.certified[stale]

    def open_bodies(self) -> int:
        """How many bodies are held that are not final."""
        return len(self._open)

    def response(self, block: bytes, ancestors: int) -> BlockResponse | None:
        """`block` and up to `ancestors` blocks below it (genesis is never sent), or None if it is not held here."""
        blocks: list[Block] = []
        size = 0
        body = self._bodies.get(block)
        while body is not None and body.view > 0 and len(blocks) <= ancestors and size < RESPONSE_BYTES:
            blocks.append(body)
            size += 256 + sum(256 + 66 * len(c.signatures) for c in body.payload)
            body = self._bodies.get(body.parent)
        return BlockResponse(tuple(blocks)) if blocks else None


_finals: ByObject[dict[str, dict[str, Any]]] = ByObject(256)  # by block


def final_event(block: Block, identity: bytes, rule: str) -> dict[str, Any]:
    """The fields of a `finalise` event, which all nodes of a process share: in a long run most of a trace is these."""
    by_rule = _finals.get(block)
    if by_rule is None:
        by_rule = {}
        _finals.put(block, by_rule)
    if rule not in by_rule:
        by_rule[rule] = {
            "height": block.height,
            "view": block.view,
            "block": identity.hex(),
            "parent": block.parent.hex(),
            "proposer": block.proposer,
            "batches": [c.batch.hex() for c in block.payload],
            "rule": rule,
            "timestamp_ms": block.timestamp_ms,
        }
    return by_rule[rule]
