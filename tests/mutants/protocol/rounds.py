"""More of groups B, C and E of teeth.md section 2, and of protocol.md 5.3: rules of votes, certificates and views."""

from __future__ import annotations

from typing import Any

from harness.mutants import Function, Mutant, Patch
from nodes.committee import Committee
from nodes.messages import Block, NodeId, TimeoutCertificate
from nodes.moonshot.core import MoonshotCore
from nodes.moonshot.engine import Engine
from nodes.moonshot.evidence import Proposal
from nodes.moonshot.proposer import Proposer
from nodes.moonshot.state import Replica
from nodes.moonshot.tallies import TimeoutTally, VoteTally

RULES = "nodes.moonshot.rules:"
CORE = "nodes.moonshot.core:MoonshotCore."
ENGINE = "nodes.moonshot.engine:Engine."
PROPOSER = "nodes.moonshot.proposer:Proposer."
STALLED = ("stalled", "slow-recovery", "left-behind", "halted")
VOTED = ("double-vote", "contradicting-votes", "normal-and-fallback", "two-certificates", "fork")


def rule(name: str, replacement: Function) -> Patch:
    """A predicate of `rules` replaced as a whole."""
    return Patch(RULES + name, lambda original: replacement, predicate=True)


# ---------------------------------------------------------------- B: voting
def timed_out_just_before(state: Replica, block: Block) -> bool:
    """may_vote_optimistic with t_l <= v-1 where t_l < v-1 is due."""
    v = block.view
    unvoted = state.fallback_view < v and state.normal_view < v and state.opt_view < v
    extends = state.lock.view == v - 1 and state.lock.block == block.parent
    return state.view == v and v not in state.timed_out and unvoted and extends and state.timeout_view <= v - 1


def any_parent(state: Replica, block: Block) -> bool:
    """may_vote_optimistic with a look at the view of the lock, not at its block."""
    v = block.view
    unvoted = state.fallback_view < v and state.normal_view < v and state.opt_view < v
    timely = state.view == v and v not in state.timed_out and state.timeout_view < v - 1
    return timely and unvoted and state.lock.view == v - 1


def any_leader(original: Function) -> Function:
    """A proposal counts, whoever of the tribe made and signed it."""

    def on_proposal(self: MoonshotCore, sender: NodeId, message: Proposal) -> None:
        leaders, view = self.leaders, message.block.view
        self.leaders = lambda asked: message.block.proposer if asked == view else leaders(asked)  # type: ignore[assignment]
        try:
            original(self, sender, message)
        finally:
            self.leaders = leaders

    return on_proposal


# ---------------------------------------------------------------- C: certificates and commits
def one_timeout_less(original: Function) -> Function:
    """A timeout certificate takes Q-1 time-outs."""

    def certificate(self: TimeoutTally, view: int, epoch: int) -> TimeoutCertificate | None:
        quorum = self._committee.quorum
        self._committee.quorum = quorum - 1
        found: TimeoutCertificate | None = original(self, view, epoch)
        self._committee.quorum = quorum
        return found

    return certificate


def without_lock(original: Function) -> Function:
    """The view of the lock is not under the signature of a time-out."""
    return lambda self, view, lock_view: original(self, view, 0)


def without_view(original: Function) -> Function:
    """The view is not under the signature of a time-out."""
    return lambda self, view, lock_view: original(self, 0, lock_view)


def heedless(original: Function) -> Function:
    """Certificates.timeout_fault is asked, and the answer thrown away."""

    def fault(self: Any, certificate: TimeoutCertificate) -> None:
        original(self, certificate)

    return fault


def few_commits(original: Function) -> Function:
    """V commit votes commit."""

    def init(self: MoonshotCore, me: NodeId, committee: Committee, *rest: Any) -> None:
        original(self, me, committee, *rest)
        self.commit_votes._quorum = committee.validity

    return init


def without_ancestors(original: Function) -> Function:
    """Engine.commit finalises the block, and not the ancestors that are not final yet."""

    def commit(self: Engine, view: int, block: bytes, name: str) -> None:
        path = self.chain.path(block)
        if len(path.blocks) > 1 and path.missing is None and not path.conflict:
            self._finalise(path.blocks[-1], block, name)
            self.chain.trim()
        else:
            original(self, view, block, name)

    return commit


def overwrites(original: Function) -> Function:
    """Engine.commit of a block that contradicts the final chain replaces the end of that chain."""

    def commit(self: Engine, view: int, block: bytes, name: str) -> None:
        chain = self.chain
        if chain.path(block).conflict and (body := chain.get(block)) is not None:
            at = next((i for i, final in enumerate(chain._finalised) if final == body.parent), None)
            if at is not None:
                del chain._finalised[at + 1 :]
                chain._finalised.append(block)
                chain.head, chain.head_view = block, body.view
                self._finalise(body, block, name)
                return
        original(self, view, block, name)

    return commit


# ---------------------------------------------------------------- E: views
def silent_after_timeout(original: Function) -> Function:
    """Proposer.fallback: a leader who enters its view through a time-out proposes nothing."""
    return lambda self, certificate: None


def never_empty(original: Function) -> Function:
    """Proposer._due: a leader with nothing to order proposes nothing."""

    def due(self: Proposer, pending: Any, taken: frozenset[bytes]) -> int | None:
        if not self._payload.collect(self._out.now, taken):
            return None
        found: int | None = original(self, pending, taken)
        return found

    return due


def wedged(original: Function) -> Function:
    """Proposer._send: a leader that proposes its block in a second kind, as it must, takes that for an equivocation of
    its own, and never proposes again."""

    def send(self: Proposer, own: Any, block: Block, pending: Any) -> None:
        if own.optimistic and pending.certificate is not None:
            vars(self)["_stopped"] = True
        if not vars(self).get("_stopped"):
            original(self, own, block, pending)

    return send


# ---------------------------------------------------------------- under the attacks of harness/scenarios/attacks/
def drops_all(original: Function) -> Function:
    """VoteTally.quorum: one bad signature, and all votes of the quorum are gone."""

    def quorum(self: VoteTally, view: int, block: bytes) -> tuple[bytes, tuple[bytes, ...]] | None:
        before = len(self.evicted)
        found: tuple[bytes, tuple[bytes, ...]] | None = original(self, view, block)
        if len(self.evicted) > before:
            ballots = self._views[view].blocks[block]
            ballots.pending, ballots.verified = {}, {}
            return None
        return found

    return quorum


def without_kind(original: Function) -> Function:
    """What a signature is for (vote, time-out, batch ...) is not under it."""
    return lambda self, kind, *fields: original(self, "any", *fields)


def to_the_leader_only(original: Function) -> Function:
    """Engine.time_out tells the next leader and nobody else."""

    def time_out(self: Engine, view: int) -> None:
        multicast = self.out.multicast
        self.out.multicast = lambda group, message: self.out.send(self.leaders(view + 1), message)  # type: ignore[method-assign]
        try:
            original(self, view)
        finally:
            self.out.multicast = multicast  # type: ignore[method-assign]

    return time_out


def any_payload(original: Function) -> Function:
    """XrbcCore.fault: a block may order anything."""
    return lambda self, block, taken: None


MUTANTS = (
    Mutant(
        "A13", "A", "0 (4), R8", "what a signature is for is not under it",
        (Patch("nodes.crypto:Domain.statement", without_kind),), ("fork",), ("invalid-certificate",), "fault-free-4",
    ),
    Mutant(
        "B10", "B", "1.7", "a proposal counts, whoever made it",
        (Patch(CORE + "_on_proposal", any_leader),), ("proposals",), ("wrong-leader",), "b10",
    ),
    Mutant(
        "B11", "B", "2.6 valid(block)", "a block may order batches that are not certified, or twice",
        (Patch("nodes.xrbc.core:XrbcCore.fault", any_payload),),
        ("availability", "fork", "prefix", "dedup", "conservation", "state-root", "votes", "liveness"), (), "b11",
    ),
    Mutant(
        "C18", "C", "5.3 C18", "one bad signature, and a whole quorum is dropped",
        (Patch("nodes.moonshot.tallies:VoteTally.quorum", drops_all),), ("liveness",), STALLED, "c18",
    ),
    Mutant(
        "E26", "E", "1.4 sendTimeout", "a time-out goes to the next leader only",
        (Patch(ENGINE + "time_out", to_the_leader_only),), ("liveness",), STALLED, "l10-certificate-swallower-at",
    ),
    Mutant(
        "B3", "B", "1.4 onOPT", "an optimistic vote in v after a time-out of v-1: <= where < is due",
        (rule("may_vote_optimistic", timed_out_just_before),), ("fork", "votes"), (*VOTED, "vote-after-timeout"), "mm1",
    ),
    Mutant(
        "B8", "B", "1.4 onOPT", "an optimistic vote for a block that is not on the lock's",
        (rule("may_vote_optimistic", any_parent),), ("fork", "ancestry"), (), "b2",
    ),
    Mutant(
        "C4", "C", "1.4 direct commit", "V commit votes commit",
        (Patch(CORE + "__init__", few_commits),), ("fork",), ("invalid-certificate",), "fault-free-4",
    ),
    Mutant(
        "C5", "C", "I-PFX", "the end of the final chain may be overwritten (beside MM6)",
        (rule("two_chain", lambda parent, child: child > parent), Patch(ENGINE + "commit", overwrites)),
        ("prefix",), (), "mm6",
    ),
    Mutant(
        "C8", "C", "1.4 tryCommit", "a commit leaves out the ancestors that are not final yet",
        (Patch(ENGINE + "commit", without_ancestors),), ("prefix", "ancestry"), (), "mm5",
    ),
    Mutant(
        "C13", "C", "1.2 TC", "a timeout certificate takes Q-1 time-outs",
        (Patch("nodes.moonshot.tallies:TimeoutTally.certificate", one_timeout_less),),
        ("timeouts", "fork"), ("invalid-timeout-certificate", "invalid-certificate"), "mm5",
    ),
    Mutant(
        "C13l", "C", "1.2 TMO", "the view of the lock is not under the signature of a time-out",
        (Patch("nodes.crypto:Domain.timeout", without_lock),), ("timeouts",), ("invalid-timeout-certificate",), "mm5",
    ),
    Mutant(
        "C13v", "C", "1.2 TMO", "the view is not under the signature of a time-out",
        (Patch("nodes.crypto:Domain.timeout", without_view),), ("timeouts",), ("invalid-timeout-certificate",), "mm5",
    ),
    Mutant(
        "C17", "C", "0 (4)", "what is wrong with a timeout certificate is found out, and not heeded",
        (Patch("nodes.moonshot.certificates:Certificates.timeout_fault", heedless),),
        ("fork", "ancestry", "timeouts"), (), "b9",
    ),
    Mutant(
        "E11", "E", "1.4", "a leader takes its own second proposal for an equivocation and falls silent",
        (Patch(PROPOSER + "_send", wedged),), ("liveness",), STALLED, "fault-free-4",
    ),
    Mutant(
        "E22", "E", "1.4", "a leader with nothing to order never proposes",
        (Patch(PROPOSER + "_due", never_empty),), ("liveness",), STALLED, "e22",
    ),
    Mutant(
        "E23", "E", "1.4 onTC", "a leader that enters its view through a time-out proposes nothing",
        (Patch(PROPOSER + "fallback", silent_after_timeout),), ("liveness",), STALLED, "mm5",
    ),
)  # fmt: skip
