"""Group E of teeth.md section 2: pacemaker, retransmission and synchronisation."""

from __future__ import annotations

from typing import Any

from harness.mutants import Function, Mutant, Patch
from nodes.messages import NodeId, Timeout
from nodes.moonshot.core import MoonshotCore
from nodes.moonshot.engine import Engine

CORE = "nodes.moonshot.core:MoonshotCore."
ENGINE = "nodes.moonshot.engine:Engine."
STALLED = ("stalled", "slow-recovery", "left-behind", "halted")


def once(original: Function) -> Function:
    """Engine.timer_expired says nothing about a view that was timed out before."""

    def timer_expired(self: Engine) -> None:
        if self.state.view not in self.state.timed_out:
            original(self)

    return timer_expired


def all_of_them(original: Function) -> Function:
    """A timeout certificate takes the time-outs of all nodes, so one silent node stops the tribe."""

    def count(self: MoonshotCore, message: Timeout) -> None:
        quorum = self.timeouts._committee.quorum
        self.timeouts._committee.quorum = len(self.committee.tribe)
        original(self, message)
        self.timeouts._committee.quorum = quorum

    return count


def nothing(original: Function) -> Function:
    return lambda self, *args: None


def raises(original: Function) -> Function:
    """Outbox.reject is an assertion."""

    def reject(self: Any, sender: NodeId, reason: str) -> None:
        raise AssertionError(f"{sender}: {reason}")

    return reject


def of_this_view_only(original: Function) -> Function:
    """A vote, or a commit vote, of a view that this node has left is thrown away: a late quorum never completes."""

    def on_vote(self: MoonshotCore, sender: NodeId, vote: Any) -> None:
        if vote.view >= self.state.view:
            original(self, sender, vote)

    return on_vote


def unarmed(original: Function) -> Function:
    """Engine.enter does not set the view timer."""

    def enter(self: Engine, view: int, via: str) -> None:
        original(self, view, via)
        self.out.cancel("view")

    return enter


def after_delta(original: Function) -> Function:
    """Engine.propose waits for Delta from the moment at which the oldest proposal could have been sent."""

    def propose(self: Engine) -> None:
        waiting = self.proposer._pending if self.proposer else []
        due = min((pending.since for pending in waiting), default=0) + self.parameters.delta_ms * 1_000_000
        if waiting and self.out.now < due:
            self.out.timer("propose", due)
        else:
            original(self)

    return propose


MUTANTS = (
    Mutant(
        "E28", "E", "6.3 L-RESP", "a leader waits for Delta before it proposes",
        (Patch(ENGINE + "propose", after_delta),), ("cadence", "message-delays"), (), "e28",
    ),
    Mutant(
        "E2", "E", "1.4 timerExpired", "a time-out is sent once and never again",
        (Patch(ENGINE + "timer_expired", once),), ("liveness",), STALLED, "e2",
    ),
    Mutant(
        "E4", "E", "0 liveness", "a view change waits for the time-outs of all n nodes",
        (Patch(CORE + "_count_timeout", all_of_them),), ("liveness",), STALLED, "mm5",
    ),
    Mutant(
        "E5", "E", "1.8 sync_retry", "a missing block is asked for once and never again",
        (Patch("nodes.moonshot.sync:Synchroniser.retry", nothing),), ("liveness",), STALLED, "e5",
    ),
    Mutant(
        "E9", "E", "0", "an invalid input ends the process instead of being refused",
        (Patch("nodes.moonshot.outbox:Outbox.reject", raises),), ("liveness",), ("halted", "stalled"), "mm9",
    ),
    Mutant(
        "E16", "E", "1.4 enter", "the view timer is not set when a view is entered",
        (Patch(ENGINE + "enter", unarmed),), ("liveness",), STALLED, "mm5",
    ),
    Mutant(
        "E17", "E", "2.3 fetch", "a batch that is missing is never fetched",
        (Patch("nodes.xrbc.retrieval:Retrieval.begin", nothing),),
        ("availability", "liveness", "finality-bounds"), (), "e17",
    ),
    Mutant(
        "B13", "B", "1.4 advance", "votes and commit votes of a view that was left are thrown away",
        (Patch(CORE + "_on_vote", of_this_view_only), Patch(CORE + "_on_commit_vote", of_this_view_only)),
        ("liveness",), STALLED, "b13",
    ),
    Mutant(
        "E19", "E", "1.8", "nobody serves blocks to those who miss them",
        (Patch("nodes.moonshot.sync:Synchroniser.serve", nothing),), ("liveness",), STALLED, "e5",
    ),
)  # fmt: skip
