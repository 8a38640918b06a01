"""Proposals received, by view: at most two optimistic ones and one normal or fallback one (protocol.md 1.4)."""

from __future__ import annotations

from typing import Any

import msgspec

from nodes.messages import Block, FallbackProposal, NormalProposal, OptimisticProposal, VoteKind
from nodes.moonshot.evidence import Evidence
from nodes.moonshot.window import ByView

Main = NormalProposal | FallbackProposal
KIND: dict[type[object], VoteKind] = {
    OptimisticProposal: "optimistic",
    NormalProposal: "normal",
    FallbackProposal: "fallback",
}


class Candidate(msgspec.Struct):
    """A proposal that may still get a vote."""

    kind: VoteKind
    identity: bytes  # block hash
    block: Block
    message: OptimisticProposal | Main

    def traced(self) -> dict[str, Any]:
        """The fields of the `vote` event of a vote for it."""
        block = self.block
        fields: dict[str, Any] = {
            "view": block.view,
            "kind": self.kind,
            "block": self.identity.hex(),
            "parent": block.parent.hex(),
            "proposer": block.proposer,
        }
        if isinstance(self.message, FallbackProposal):
            fields["high"] = self.message.certificate.high.block.hex()
        return fields


class Slot(msgspec.Struct):
    """What the leader of one view has proposed, as seen here."""

    optimistic: list[Candidate] = msgspec.field(default_factory=list)
    main: Candidate | None = None


class ProposalBook:
    """Keeps the leader's proposals of the views in the window and accuses the leader of what no honest one does."""

    def __init__(self, evidence: Evidence) -> None:
        self._evidence = evidence
        self._slots: ByView[Slot] = ByView()

    def known(self, kind: VoteKind, view: int, identity: bytes) -> bool:
        """Has this proposal been kept already?"""
        slot = self._slots.get(view)
        if slot is None:
            return False
        if kind == "optimistic":
            return any(c.identity == identity for c in slot.optimistic)
        return slot.main is not None and slot.main.kind == kind and slot.main.identity == identity

    def add(self, candidate: Candidate) -> bool:
        """Keep a proposal with a verified signature; False if the view has its fill (the leader is accused then)."""
        view = candidate.block.view
        slot = self._slots.get(view)
        if slot is None:
            slot = self._slots[view] = Slot()
        if candidate.kind == "optimistic":
            return self._add_optimistic(slot, candidate)
        self._same_parent(candidate, slot.optimistic)
        held = slot.main
        if held is None:
            slot.main = candidate
            return True
        kind = f"two-{held.kind}" if held.kind == candidate.kind else "normal-and-fallback"
        self._evidence.accuse(candidate.block.proposer, view, kind, held.message, candidate.message)
        return False

    def _same_parent(self, candidate: Candidate, others: list[Candidate]) -> None:
        """On one parent in one view an honest leader always proposes the same block, whatever the kind."""
        for held in others:
            if held.block.parent == candidate.block.parent and held.identity != candidate.identity:
                kind = "two-optimistic" if held.kind == candidate.kind else "two-blocks-on-one-parent"
                block = candidate.block
                self._evidence.accuse(block.proposer, block.view, kind, held.message, candidate.message)

    def _add_optimistic(self, slot: Slot, candidate: Candidate) -> bool:
        block = candidate.block
        self._same_parent(candidate, slot.optimistic if slot.main is None else [*slot.optimistic, slot.main])
        if any(held.block.parent == block.parent for held in slot.optimistic):
            return False
        if len(slot.optimistic) == 2:
            messages = [held.message for held in slot.optimistic]
            self._evidence.accuse(block.proposer, block.view, "three-optimistic", *messages, candidate.message)
            return False
        slot.optimistic.append(candidate)
        return True

    def candidates(self, view: int) -> list[Candidate]:
        """What may be voted for in `view`, in order; an accepted fallback proposal shuts out the optimistic ones."""
        slot = self._slots.get(view)
        if slot is None:
            return []
        if slot.main is None:
            return list(slot.optimistic)
        return [slot.main] if slot.main.kind == "fallback" else [*slot.optimistic, slot.main]

    def size(self) -> int:
        """Proposals that are held."""
        return sum(len(slot.optimistic) + (slot.main is not None) for slot in self._slots.values())

    def prune(self, below: int) -> None:
        """Forget views under `below`."""
        self._slots.prune(below)
