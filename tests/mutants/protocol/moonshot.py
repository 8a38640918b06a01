"""MM1..MM10 of protocol.md 1.13: consensus with one rule removed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

from harness.mutants import Function, Mutant, Patch
from nodes.committee import Committee
from nodes.crypto import assemble
from nodes.messages import Block, BlockCertificate, NodeId, Vote
from nodes.moonshot.core import MoonshotCore
from nodes.moonshot.proposals import Candidate, ProposalBook
from nodes.moonshot.state import Replica

RULES = "nodes.moonshot.rules:"
CORE = "nodes.moonshot.core:MoonshotCore."
UNIQUE = ("two-certificates", "fork", "invalid-certificate")
UNIQUE_OR_VOTE = (*UNIQUE, "double-vote", "contradicting-votes", "normal-and-fallback", "vote-after-timeout")


def rule(name: str, replacement: Function) -> Patch:
    """A predicate of `rules` replaced as a whole."""
    return Patch(RULES + name, lambda original: replacement, predicate=True)


def core(name: str, wrap: Callable[[Function], Function]) -> Patch:
    return Patch(CORE + name, wrap)


# ---------------------------------------------------------------- MM1, MM3, MM4: votes
def optimistic_after_timeout(state: Replica, block: Block) -> bool:
    """may_vote_optimistic without t_l < v-1."""
    v = block.view
    unvoted = state.fallback_view < v and state.normal_view < v and state.opt_view < v
    extends = state.lock.view == v - 1 and state.lock.block == block.parent
    return state.view == v and v not in state.timed_out and unvoted and extends


def normal_against_optimistic(state: Replica, block: Block, block_hash: bytes) -> bool:
    """may_vote_normal without a look at d_o."""
    v = block.view
    unvoted = state.normal_view < v and state.fallback_view < v
    return state.view == v and v not in state.timed_out and unvoted and state.timeout_view < v


def fallback_after_normal(state: Replica, block: Block) -> bool:
    """may_vote_fallback without a_n < v."""
    v = block.view
    return state.view == v and v not in state.timed_out and state.fallback_view < v and state.timeout_view < v


_second: WeakKeyDictionary[ProposalBook, dict[int, list[Candidate]]] = WeakKeyDictionary()


def keep_both(original: Function) -> Function:
    """ProposalBook.add keeps a second normal or fallback proposal of a view as well (else the rule is never asked)."""

    def add(self: ProposalBook, candidate: Candidate) -> bool:
        kept: bool = original(self, candidate)
        if not kept and candidate.kind != "optimistic":
            _second.setdefault(self, {}).setdefault(candidate.block.view, []).append(candidate)
            return True
        return kept

    return add


def offer_both(original: Function) -> Function:
    def candidates(self: ProposalBook, view: int) -> list[Candidate]:
        return [*original(self, view), *_second.get(self, {}).get(view, [])]

    return candidates


# ---------------------------------------------------------------- MM2: kinds added up
_mixed: WeakKeyDictionary[MoonshotCore, dict[tuple[int, bytes], dict[NodeId, bytes]]] = WeakKeyDictionary()


def add_up_kinds(original: Function) -> Function:
    """Votes of all kinds for one block fill one quorum."""

    def on_vote(self: MoonshotCore, sender: NodeId, vote: Vote) -> None:
        original(self, sender, vote)
        statement = self.domain.vote(vote.kind, vote.view, vote.block)
        if vote.voter not in self.committee.index or vote.block in self.chain.certified:
            return
        if not self.verifier.verify(self.committee.keys[vote.voter], statement, vote.signature):
            return
        held = _mixed.setdefault(self, {}).setdefault((vote.view, vote.block), {})
        held[vote.voter] = vote.signature
        if len(held) >= self.committee.quorum and vote.view > self.chain.head_view:
            quorum = assemble(self.committee.tribe, held, self.committee.quorum)
            self.on_certificate(BlockCertificate(self.domain.epoch, vote.kind, vote.view, vote.block, *quorum))

    return on_vote


# ---------------------------------------------------------------- MM8, MM9, MM10
def forgetful(original: Function) -> Function:
    """Replica.recover takes the lock and the view out of the log, and no vote and no time-out."""
    return lambda record: Replica(lock=record.lock, view=record.view)


def believing(original: Function) -> Function:
    """MoonshotCore._accept processes a certificate, inside a message or alone, without verifying it."""

    def accept(self: MoonshotCore, sender: NodeId, certificate: BlockCertificate) -> bool:
        self.on_certificate(certificate)
        return True

    return accept


def few_votes(original: Function) -> Function:
    """Committee.quorum is V."""

    def init(self: Committee, *args: Any) -> None:
        original(self, *args)
        self.quorum = self.validity

    return init


_ballots: WeakKeyDictionary[MoonshotCore, dict[tuple[str, int, bytes], list[Vote]]] = WeakKeyDictionary()


def count_messages(original: Function) -> Function:
    """A quorum is Q vote messages, whoever sent them."""

    def on_vote(self: MoonshotCore, sender: NodeId, vote: Vote) -> None:
        if vote.block not in self.chain.certified and vote.view > self.chain.head_view:
            held = _ballots.setdefault(self, {}).setdefault((vote.kind, vote.view, vote.block), [])
            held.append(vote)
            if len(held) >= self.committee.quorum:
                signatures = {each.voter: each.signature for each in held}
                parts = assemble(self.committee.tribe, signatures, len(signatures))
                self.on_certificate(BlockCertificate(self.domain.epoch, vote.kind, vote.view, vote.block, *parts))
        original(self, sender, vote)

    return on_vote


MUTANTS = (
    Mutant(
        "MM1", "MM", "1.4 onOPT", "an optimistic vote in v after a time-out of v-1",
        (rule("may_vote_optimistic", optimistic_after_timeout),), ("fork", "votes"), UNIQUE_OR_VOTE, "mm1",
    ),
    Mutant(
        "MM2", "MM", "1.2 VOTE", "votes of all kinds are added up to one quorum",
        (core("_on_vote", add_up_kinds),), ("fork",), UNIQUE, "mm2",
    ),
    Mutant(
        "MM3", "MM", "1.4 onNRM", "a normal vote may contradict the own optimistic vote",
        (rule("may_vote_normal", normal_against_optimistic),), ("fork", "votes"), UNIQUE_OR_VOTE, "mm3",
    ),
    Mutant(
        "MM4", "MM", "1.4 onFBK", "a fallback vote in a view with an own normal vote",
        (
            rule("may_vote_fallback", fallback_after_normal),
            Patch("nodes.moonshot.proposals:ProposalBook.add", keep_both),
            Patch("nodes.moonshot.proposals:ProposalBook.candidates", offer_both),
        ),
        ("fork", "votes"), UNIQUE_OR_VOTE, "mm4",
    ),
    Mutant(
        "MM5", "MM", "1.4 onFBK", "a fallback block may extend any block, not the highest of its certificate",
        (rule("fallback_fits", lambda block, certificate: certificate.view == block.view - 1),),
        ("fork", "ancestry", "timeouts"), (), "mm5",
    ),
    Mutant(
        "MM6", "MM", "1.4 tryCommit", "a certified child commits its parent across a gap of views",
        (rule("two_chain", lambda parent_view, child_view: child_view > parent_view),), ("fork", "ancestry"), (), "mm6",
    ),
    Mutant(
        "MM7", "MM", "1.4 direct pre-commit", "a commit vote for a view that was timed out",
        (
            rule(
                "may_commit_vote",
                lambda state, certificate: (
                    state.lock.view < certificate.view
                    and state.view <= certificate.view
                    and not any(view == certificate.view for view, _ in state.commit_voted)
                ),
            ),
        ),
        ("ancestry", "fork", "votes"), (), "mm7",
    ),
    Mutant(
        "MM8", "MM", "1.3 DURABLE", "votes and time-outs are forgotten on a restart",
        (Patch("nodes.moonshot.state:Replica.recover", forgetful),), ("fork", "votes"), UNIQUE_OR_VOTE, "mm8",
    ),
    Mutant(
        "MM9", "MM", "0 (4), 1.4 onQC", "certificates inside proposals and timeouts are believed unverified",
        (core("_accept", believing),), ("fork",), ("invalid-certificate",), "mm9",
    ),
    Mutant(
        "MM10", "MM", "0 (3)", "a block certificate takes V = f+1 votes",
        (Patch("nodes.committee:Committee.__init__", few_votes),),
        ("fork",), ("invalid-certificate",), "mm10",
    ),
    Mutant(
        "MM10b", "MM", "0 (2)", "a voter who repeats itself is counted twice",
        (core("_on_vote", count_messages),), ("fork",), ("invalid-certificate",), "mm10",
    ),
)  # fmt: skip
