"""E12 of teeth.md section 2, twice: a store without its cap, which a flood fills (L-MEM)."""

from __future__ import annotations

from harness.mutants import Function, Mutant, Patch
from nodes.messages import CommitVote, NodeId, Vote
from nodes.moonshot.core import MoonshotCore

CORE = "nodes.moonshot.core:MoonshotCore."
FULL = ("beyond-cap",)


def anywhere(original: Function) -> Function:
    """MoonshotCore._place takes votes for views however far ahead."""

    def place(self: MoonshotCore, sender: NodeId, vote: Vote | CommitVote) -> int | None:
        if vote.voter in self.committee.index and vote.view > self.state.view:
            return self.committee.index[vote.voter]
        found: int | None = original(self, sender, vote)
        return found

    return place


def never(original: Function) -> Function:
    return lambda *args: False


MUTANTS = (
    Mutant(
        "E12", "E", "1.4 message recency bound", "votes and time-outs of views however far ahead are kept",
        (Patch(CORE + "_place", anywhere), Patch(CORE + "_too_far", never, predicate=True)), ("memory",), FULL, "e12",
    ),
    Mutant(
        "E12q", "E", "2.3", "a proposer may have any number of batches open",
        (Patch("nodes.xrbc.voted:Voted._full", never, predicate=True),), ("memory",), FULL, "e12q",
    ),
)  # fmt: skip
