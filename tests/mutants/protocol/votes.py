"""Groups A, B and C of teeth.md section 2: quorums and certificates, voting and locking, the commit rule."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from weakref import WeakKeyDictionary

from harness.mutants import Function, Mutant, Patch
from nodes.committee import Committee
from nodes.crypto import Domain, assemble, bitmap_of
from nodes.messages import (
    Block,
    BlockCertificate,
    CommitCertificate,
    CommitVote,
    NodeId,
    Timeout,
    TimeoutCertificate,
)
from nodes.moonshot.core import MoonshotCore
from nodes.moonshot.state import Replica, genesis_certificate

RULES = "nodes.moonshot.rules:"
CORE = "nodes.moonshot.core:MoonshotCore."
ENGINE = "nodes.moonshot.engine:Engine."
CERTIFIED = ("invalid-certificate", "two-certificates", "fork")


def rule(name: str, replacement: Function) -> Patch:
    """A predicate of `rules` replaced as a whole."""
    return Patch(RULES + name, lambda original: replacement, predicate=True)


def quorum(size: Any) -> Patch:
    """Committee.quorum is `size` of the number of nodes and faults."""

    def wrap(original: Function) -> Function:
        def init(self: Committee, *args: Any) -> None:
            original(self, *args)
            self.quorum = size(len(self.tribe), self.faults)

        return init

    return Patch("nodes.committee:Committee.__init__", wrap)


# ---------------------------------------------------------------- A: quorums and certificates
_timeouts: WeakKeyDictionary[MoonshotCore, dict[int, list[Timeout]]] = WeakKeyDictionary()


def count_timeouts(original: Function) -> Function:
    """A timeout certificate takes Q timeout messages, whoever sent them."""

    def count(self: MoonshotCore, message: Timeout) -> None:
        held = _timeouts.setdefault(self, {}).setdefault(message.view, [])
        held.append(message)
        if len(held) >= self.committee.quorum and self.state.view == message.view:
            by_voter = {each.voter: each for each in held}
            chosen = [by_voter[node] for node in self.committee.tribe if node in by_voter]
            high = max((each.lock for each in chosen), key=lambda lock: lock.view)
            signers = bitmap_of(self.committee.tribe, by_voter)
            views, signatures = tuple(e.lock.view for e in chosen), tuple(e.signature for e in chosen)
            epoch = self.domain.epoch
            self.on_timeout_certificate(TimeoutCertificate(epoch, message.view, high, signers, views, signatures))
            return
        original(self, message)

    return count


def no_repeat_filter(original: Function) -> Function:
    """TimeoutTally.known lets repeated timeouts through to the count."""
    return lambda self, timeout: False


def unverified_signatures(original: Function) -> Function:
    """certificate_fault counts the bits of the signers and looks at no signature."""

    def fault(
        members: Sequence[NodeId], keys: Any, threshold: int, bitmap: bytes, signatures: Sequence[bytes], *_: Any
    ) -> str | None:
        bits = int.from_bytes(bitmap, "little").bit_count()
        return None if bits == len(signatures) >= threshold else "too few signers"

    return fault


def without_view(original: Function) -> Function:
    """The view is not under the signature of a vote."""
    return lambda self, kind, view, block: original(self, kind, 0, block)


def without_chain(original: Function) -> Function:
    """Neither chain nor epoch is under any signature."""

    def statement(self: Domain, kind: str, *fields: Any) -> Any:
        return original(Domain("", 0, 0), kind, *fields)

    return statement


def lowest_lock(original: Function) -> Function:
    """The high certificate of a timeout certificate is the lowest lock."""

    def certificate(self: Any, view: int, epoch: int) -> TimeoutCertificate | None:
        found: TimeoutCertificate | None = original(self, view, epoch)
        if found is None:
            return None
        chosen = [t for t in self._views.get(view, {}).values() if t.signature in found.signatures]
        low = min((timeout.lock for timeout in chosen), key=lambda lock: lock.view)
        return TimeoutCertificate(epoch, view, low, found.signers, found.lock_views, found.signatures)

    return certificate


# ---------------------------------------------------------------- B: voting and locking
def normal_again(state: Replica, block: Block, block_hash: bytes) -> bool:
    """may_vote_normal without a_n < v."""
    v = block.view
    unvoted = state.fallback_view < v and (state.opt_view < v or state.opt_block == block_hash)
    return state.view == v and v not in state.timed_out and state.timeout_view < v and unvoted


def optimistic_off_the_lock(state: Replica, block: Block) -> bool:
    """may_vote_optimistic without a look at the lock."""
    v = block.view
    unvoted = state.fallback_view < v and state.normal_view < v and state.opt_view < v
    return state.view == v and v not in state.timed_out and unvoted and state.timeout_view < v - 1


def normal_after_timeout(state: Replica, block: Block, block_hash: bytes) -> bool:
    """may_vote_normal without v not in E and t_l < v."""
    v = block.view
    unvoted = state.normal_view < v and state.fallback_view < v
    return state.view == v and unvoted and (state.opt_view < v or state.opt_block == block_hash)


def fallback_after_timeout(state: Replica, block: Block) -> bool:
    """may_vote_fallback without v not in E and t_l < v."""
    v = block.view
    return state.view == v and state.normal_view < v and state.fallback_view < v


def amnesic(original: Function) -> Function:
    """Engine.enter clears the lock when a view is entered through a time-out."""

    def enter(self: MoonshotCore, view: int, via: str) -> None:
        original(self, view, via)
        if via == "timeout":
            self.state.lock = genesis_certificate(self.domain)

    return enter


# ---------------------------------------------------------------- C: the commit rule
def commit_at_once(original: Function) -> Function:
    """A certified block is committed."""

    def on_certificate(self: MoonshotCore, qc: BlockCertificate) -> None:
        original(self, qc)
        if qc.view > self.chain.head_view and self.chain.get(qc.block) is not None:
            self.commit(qc.view, qc.block, "two-chain")

    return on_certificate


_commits: WeakKeyDictionary[MoonshotCore, dict[int, dict[NodeId, CommitVote]]] = WeakKeyDictionary()


def tally_by_view(original: Function) -> Function:
    """Commit votes are counted by view, and the last one names the block."""

    def on_commit_vote(self: MoonshotCore, sender: NodeId, vote: CommitVote) -> None:
        held = _commits.setdefault(self, {}).setdefault(vote.view, {})
        held[vote.voter] = vote
        if len(held) >= self.committee.quorum and vote.view > self.chain.head_view:
            parts = assemble(self.committee.tribe, {n: v.signature for n, v in held.items()}, self.committee.quorum)
            self.on_commit_certificate(CommitCertificate(self.domain.epoch, vote.view, vote.block, *parts))
        original(self, sender, vote)

    return on_commit_vote


MUTANTS = (
    Mutant(
        "A1", "A", "0 Q", "a quorum is 2f", (quorum(lambda n, f: 2 * f),),
        ("fork",), ("invalid-certificate",), "fault-free-7",
    ),
    Mutant(
        "A2", "A", "0 Q", "a quorum is 2f+1, also where n is not 3f+1", (quorum(lambda n, f: 2 * f + 1),),
        ("fork",), ("invalid-certificate",), "fault-free-6",
    ),
    Mutant(
        "A4", "A", "0 (2)", "a node that repeats its time-out is counted twice",
        (
            Patch(CORE + "_count_timeout", count_timeouts),
            Patch("nodes.moonshot.tallies:TimeoutTally.known", no_repeat_filter),
        ),
        ("timeouts", "fork"), ("invalid-timeout-certificate", "invalid-certificate"), "a4",
    ),
    Mutant(
        "A5", "A", "0 (4)", "signatures inside certificates are not looked at",
        (Patch("nodes.moonshot.certificates:certificate_fault", unverified_signatures),),
        ("fork",), ("invalid-certificate",), "mm9",
    ),
    Mutant(
        "A7", "A", "0 (4)", "the view is not under the signature of a vote",
        (Patch("nodes.crypto:Domain.vote", without_view),), ("fork",), ("invalid-certificate",), "fault-free-4",
    ),
    Mutant(
        "A8", "A", "0 (1)", "chain and epoch are under no signature",
        (Patch("nodes.crypto:Domain.statement", without_chain),), ("fork",), ("invalid-certificate",), "fault-free-4",
    ),
    Mutant(
        "A9", "A", "1.4 onNRM", "a normal proposal need not extend the block of its certificate",
        (rule("normal_fits", lambda block, certificate: certificate.view == block.view - 1),),
        ("fork", "ancestry"), (), "a9",
    ),
    Mutant(
        "A11", "A", "1.2 TC", "a timeout certificate carries the lowest lock, not the highest",
        (
            Patch("nodes.moonshot.tallies:TimeoutTally.certificate", lowest_lock),
            rule("well_formed", lambda view, lock_views, high: bool(lock_views) and high.view < view),
        ),
        ("fork", "ancestry", "timeouts"), (), "a11",
    ),
    Mutant(
        "A12", "A", "1.4 onFBK", "an old timeout certificate justifies a fallback proposal of any later view",
        (rule("fallback_fits", lambda block, certificate: block.parent == certificate.high.block),),
        ("fork", "ancestry"), (), "a12",
    ),
    Mutant(
        "B1", "B", "1.4 onNRM", "a second normal vote in one view",
        (rule("may_vote_normal", normal_again),), ("votes", "fork"), ("double-vote", *CERTIFIED), "mm8",
    ),
    Mutant(
        "B2", "B", "1.4 onOPT", "an optimistic vote for a block that does not extend the lock",
        (rule("may_vote_optimistic", optimistic_off_the_lock),), ("fork", "ancestry"), (), "b2",
    ),
    Mutant(
        "B6", "B", "1.4 onNRM", "a normal vote in a view that was timed out",
        (rule("may_vote_normal", normal_after_timeout),), ("votes",), ("vote-after-timeout",), "b6",
    ),
    Mutant(
        "B6f", "B", "1.4 onFBK", "a fallback vote in a view that was timed out",
        (rule("may_vote_fallback", fallback_after_timeout),), ("votes",), ("vote-after-timeout",), "b6f",
    ),
    Mutant(
        "B9", "B", "1.2 TC", "the highest certificate of a timeout certificate may be below a lock view in it",
        (rule("well_formed", lambda view, lock_views, high: bool(lock_views) and high.view < view),),
        ("fork", "ancestry", "timeouts"), (), "b9",
    ),
    Mutant(
        "B14", "B", "1.3 lock", "the lock is forgotten when a view is entered through a time-out",
        (Patch(ENGINE + "enter", amnesic),), ("locks",), ("stale-timeout", "lock-fell", "vote-above-lock"), "mm5",
    ),
    Mutant(
        "C3", "C", "1.4 tryCommit", "one certificate commits",
        (Patch(ENGINE + "on_certificate", commit_at_once),), ("fork", "ancestry"), (), "c3",
    ),
    Mutant(
        "C7", "C", "1.4 direct commit", "commit votes are counted by view, not by view and block",
        (Patch(CORE + "_on_commit_vote", tally_by_view),),
        ("fork",), ("invalid-certificate", "unjustified", "fork"), "c7",
    ),
)  # fmt: skip
