"""Executor that signs the true root of every block on top of another past.

Attack E7 of protocol.md 5.8: state certificates for a height that do not chain to the one below. Smallest breaking
count: f_c+1 in the clan. Aimed at I-ROOT: votes count together only if block, previous root and root are all equal.
"""

from __future__ import annotations

from typing import ClassVar

from msgspec.structs import replace

from faults.byzantine.lying_executor import LyingExecutor
from faults.byzantine.port import CorruptedNode
from nodes.messages import StateVote, sha256


class GappedRoot(LyingExecutor):
    name: ClassVar[str] = "gapped-root"
    attacks: ClassVar[tuple[str, ...]] = ("E7",)

    def __init__(self) -> None:
        super().__init__()

    def _lie(self, node: CorruptedNode, vote: StateVote) -> StateVote:
        past = sha256(b"GAP", vote.previous_root)
        statement = node.domain.root(vote.clan, vote.height, vote.block, past, vote.root)
        return replace(vote, previous_root=past, signature=node.sign(statement))
