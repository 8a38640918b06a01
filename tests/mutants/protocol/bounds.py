"""More of groups C, E, F and H: rules for whose sake there is a checker that no other mutant tries."""

from __future__ import annotations

from typing import Any

from harness.mutants import Function, Mutant, Patch
from nodes.messages import CommitCertificate, VoteKind
from nodes.moonshot.engine import Engine
from nodes.moonshot.evidence import Evidence
from nodes.moonshot.state import Replica
from nodes.xrbc.pool import Pool

NEVER_MS = 10**12


def seen_only(original: Function) -> Function:
    """Engine.on_commit_certificate commits nothing: what is left is two certified blocks in consecutive views."""

    def on_commit_certificate(self: Engine, certificate: CommitCertificate) -> None:
        self.sighted(certificate, "commit")

    return on_commit_certificate


def from_the_view_before(state: Replica, certified_view: int) -> bool:
    """enters, but only a replica that is in that very view."""
    return state.view == certified_view


def immortal(original: Function) -> Function:
    """Pool.__init__: a batch never expires."""

    def init(self: Pool, *args: Any, **more: Any) -> None:
        original(self, *args, **more)
        self._ttl = NEVER_MS

    return init


def suspicious(original: Function) -> Function:
    """Evidence.compare: an optimistic and a normal vote for one block, too, are a contradiction."""

    def compare(self: Evidence, place: int, view: int, kind: VoteKind) -> None:
        original(self, place, view, kind)
        first, normal = (self._firsts[kind].first(view, place) for kind in ("optimistic", "normal"))
        if first is not None and normal is not None:
            self._conflict(normal.voter, "optimistic-normal-mismatch", first, normal)

    return compare


MUTANTS = (
    Mutant(
        "C22", "C", "1.4 alternative direct commit", "commit votes of a quorum commit nothing",
        (Patch("nodes.moonshot.engine:Engine.on_commit_certificate", seen_only),),
        ("commit-bound", "liveness"), ("late-commit", "stalled"), "c22",
    ),
    Mutant(
        "E27", "E", "1.4 onQC, onTC", "a certificate moves only those who are in its own view, nobody further behind",
        (Patch("nodes.moonshot.rules:enters", lambda original: from_the_view_before, predicate=True),),
        ("view-sync", "liveness"), ("stuck-view", "never-together", "left-behind"), "e27",
    ),
    Mutant(
        "F16", "F", "2.6 valid(block)", "batches never expire",
        (Patch("nodes.xrbc.pool:Pool.__init__", immortal),), ("payload",), ("expired-batch",), "f16",
    ),
    Mutant(
        "H9", "H", "1.4 evidence", "an optimistic and a normal vote for the same block pass for a contradiction",
        (Patch("nodes.moonshot.evidence:Evidence.compare", suspicious),),
        ("accusations", "votes"), ("honest-accused", "worthless-evidence"), "h9",
    ),
)  # fmt: skip
