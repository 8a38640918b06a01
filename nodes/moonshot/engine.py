"""What a replica does with verified objects: certificates, views, votes, timeouts, finalisation (protocol.md 1.4).

`MoonshotCore` (core.py) verifies what arrives and calls in here; whether something is allowed is asked of `rules`.
"""

from __future__ import annotations

from functools import partial

from nodes.committee import Committee
from nodes.crypto import Domain, Signer, Verifier, hex_of, signers_of
from nodes.messages import (
    Block,
    BlockCertificate,
    CommitCertificate,
    CommitVote,
    NodeId,
    Timeout,
    TimeoutCertificate,
    Vote,
    VoteKind,
)
from nodes.moonshot import rules
from nodes.moonshot.certificates import Certificates, traced
from nodes.moonshot.chain import Chain, final_event
from nodes.moonshot.evidence import Evidence
from nodes.moonshot.leaders import Leaders
from nodes.moonshot.outbox import MS, Outbox
from nodes.moonshot.proposals import Candidate, ProposalBook
from nodes.moonshot.proposer import Proposer
from nodes.moonshot.state import Replica, genesis_certificate
from nodes.moonshot.sync import Synchroniser
from nodes.moonshot.tallies import TimeoutTally, VoteTally
from nodes.moonshot.window import ByView
from nodes.port import EVERYONE, TRIBE, Emit, Finalised, PayloadSource
from nodes.records import BlockRecord, FinalisedRecord
from nodes.remember import noting, remembering

PRUNE_EVERY = 4  # views: what is outside the window is ignored anyhow, so it may stay a little longer
VOTE_KINDS: tuple[VoteKind, ...] = ("optimistic", "normal", "fallback")


class Engine:
    """State of one replica, or of an observer (no signer: it follows certificates and never signs)."""

    def __init__(
        self,
        me: NodeId,
        committee: Committee,
        domain: Domain,
        signer: Signer | None,
        verifier: Verifier,
        payload: PayloadSource,
    ) -> None:
        parameters = committee.parameters
        self.me = me
        self.committee = committee
        self.parameters = parameters
        self.domain = domain
        self.verifier = remembering(verifier)
        self.signer = noting(signer, self.verifier) if signer else None  # own votes come back in certificates
        self.payload = payload
        self.certificates = Certificates(committee, domain, self.verifier)
        self.leaders = Leaders(committee.tribe, committee.config.leaders)
        self.state = Replica(lock=genesis_certificate(domain))
        self.out = Outbox()
        self.chain = Chain(domain)
        self.sync = Synchroniser(me, self.chain, self.out, parameters.sync_retry_ms)
        self.votes = {kind: VoteTally(committee, self.verifier, partial(domain.vote, kind)) for kind in VOTE_KINDS}
        self.evidence = Evidence(self.out, self._authentic, self.votes)
        self.book = ProposalBook(self.evidence)
        self.commit_votes = VoteTally(committee, self.verifier, domain.commit)
        self.timeouts = TimeoutTally(committee)
        self.proposer: Proposer | None = None
        if signer:
            idle = parameters.idle_delay_ms
            self.proposer = Proposer(me, domain, self.sign, self.chain, self.out, payload, idle)
        self.halted = False
        self.reconsider = False  # the current view's proposals deserve another look before the step ends
        self.fresh: set[bytes] = set()  # batches finalised in this step: siblings have not heard of them yet
        self.last_timeout_certificate: TimeoutCertificate | None = None
        self._verdicts: ByView[dict[bytes, bool]] = ByView()  # block -> may it be voted for, once judged
        self._durable: ByView[set[bytes]] = ByView()  # blocks whose body is in the log
        self._sighted: dict[int, set[tuple[str, bytes]]] = {}
        self._pruned = 0
        self._goal: tuple[int, bytes, str] | None = None  # highest committed block whose path is not local yet

    # ------------------------------------------------------------ certificates
    def on_certificate(self, qc: BlockCertificate) -> None:
        """1.4 onQC, for a verified certificate."""
        state, chain = self.state, self.chain
        if qc.view <= state.lock.view and (qc.block in chain.certified or qc.view <= chain.head_view):
            return
        chain.certified.setdefault(qc.block, qc)
        self.sighted(qc, qc.kind)
        if self.proposer and rules.enters(state, qc.view) and self.leaders(qc.view + 1) == self.me:
            self.proposer.normal(qc)
            self.propose()
        commit = self._commit_vote_due(qc)
        if rules.advances_lock(state, qc):
            state.lock = qc
            self.out.save()
            self.out.emit("lock", view=qc.view, block=qc.block.hex())
            self.reconsider = True
        if commit:
            self._commit_vote(qc)
        self._two_chain(qc.block)
        for child in chain.certified_children(qc.block):
            self._two_chain(child)
        if self.signer:
            self.out.multicast(EVERYONE, qc)
        self.fetch(qc.block, qc.view, self.leaders(qc.view))
        if rules.enters(state, qc.view):
            self.enter(qc.view + 1, "certificate")

    def on_commit_certificate(self, certificate: CommitCertificate) -> None:
        """1.4 alternative direct commit: Q commit votes for (v, h) commit h and its ancestors, in any view."""
        self.sighted(certificate, "commit")
        self.commit(certificate.view, certificate.block, "commit-votes")

    def on_timeout_certificate(self, tc: TimeoutCertificate) -> None:
        """1.4 onTC, for a verified certificate: the enclosed certificate first, the own timeout before entering."""
        self.on_certificate(tc.high)
        if not self.signer:
            return
        self._sighted_timeouts(tc)
        if not rules.enters(self.state, tc.view):
            return
        self.last_timeout_certificate = tc
        leader = self.leaders(tc.view + 1)
        if leader == self.me and self.proposer:
            self.proposer.fallback(tc)
            self.propose()
        else:
            self.out.send(leader, tc)
        self.time_out(tc.view)
        self.enter(tc.view + 1, "timeout")

    def sightings(self) -> int:
        """How many certificates are remembered as traced."""
        return sum(map(len, self._sighted.values()))

    def _sighted_timeouts(self, tc: TimeoutCertificate) -> None:
        """Trace `timeout_certificate`, once for each view and highest block: also one that is only inside a FBK."""
        seen, what = self._sighted.setdefault(tc.view, set()), ("timeout", tc.high.block)
        if what in seen:
            return
        seen.add(what)
        self.out.emit("timeout_certificate", **traced(tc, self.committee.tribe))

    def sighted(self, certificate: BlockCertificate | CommitCertificate, kind: str) -> None:
        """Trace `certify`, once for each (view, kind, block); what is final and left the window is old news, or else
        whoever repeats old certificates could fill the memory and the trace."""
        view = certificate.view
        if view <= min(self.chain.head_view, self.state.view - self.parameters.recency_bound - 1):
            return
        seen = self._sighted.setdefault(view, set())
        if (kind, certificate.block) in seen or view == 0:
            return
        seen.add((kind, certificate.block))
        self.out.emit(
            "certify",
            view=certificate.view,
            kind=kind,
            block=certificate.block.hex(),
            signers=list(signers_of(self.committee.tribe, certificate.signers) or ()),
            signatures=hex_of(certificate.signatures),
        )

    # ------------------------------------------------------------ views and timeouts
    def enter(self, view: int, via: str) -> None:
        """1.4 enter(v)."""
        self.state.view = view
        self.reconsider = True
        self.out.emit("enter", view=view, via=via)
        if self.signer:
            self.out.timer("view", self.out.now + 3 * self.parameters.delta_ms * MS)
        self._prune(view - self.parameters.recency_bound)

    def time_out(self, view: int) -> None:
        """1.4 sendTimeout(v)."""
        state = self.state
        if not self.signer or not rules.may_time_out(state, view):
            return
        state.timed_out.add(view)
        state.timeout_view = max(state.timeout_view, view)
        self.out.save()
        self.out.emit("timeout", view=view, lock_view=state.lock.view)
        message = self.timeout_message(view)
        self.out.multicast(TRIBE, message)
        self.out.own.append(message)

    def timer_expired(self) -> None:
        """1.4 timerExpired(): the timeout of the current view, repeated (all that are still open) until it is left."""
        fresh = self.state.view not in self.state.timed_out
        self.time_out(self.state.view)
        for view in sorted(self.state.timed_out):
            if view > self.state.view or (view == self.state.view and not fresh):
                message = self.timeout_message(view)
                self.out.multicast(TRIBE, message)
                self.out.own.append(message)  # counts again after a restart
        self.out.timer("view", self.out.now + self.parameters.timeout_resend_ms * MS)

    def timeout_message(self, view: int) -> Timeout:
        """TMO(view) with the lock as it is now, for a view in E."""
        assert self.signer is not None
        statement = self.domain.timeout(view, self.state.lock.view)
        return Timeout(view, self.state.lock, self.me, self.sign(statement))

    # ------------------------------------------------------------ proposals and votes
    def propose(self) -> None:
        """Send what the leader side can send now."""
        if self.proposer:
            self.proposer.attempt(self.state, frozenset(self.fresh))

    def evaluate(self) -> None:
        """Vote for what the current view's proposals and the rules permit."""
        self.reconsider = False
        if not self.signer:
            return
        for candidate in self.book.candidates(self.state.view):
            if self._permitted(candidate) and self._acceptable(candidate):
                self._vote(candidate)

    def _permitted(self, candidate: Candidate) -> bool:
        match candidate.kind:
            case "optimistic":
                return rules.may_vote_optimistic(self.state, candidate.block)
            case "normal":
                return rules.may_vote_normal(self.state, candidate.block, candidate.identity)
            case _:
                return rules.may_vote_fallback(self.state, candidate.block)

    def _acceptable(self, candidate: Candidate) -> bool:
        """Height, time and payload against the ancestors; False also while an ancestor's body is missing (1.8)."""
        block = candidate.block
        verdicts = self._verdicts.setdefault(block.view, {})
        verdict = verdicts.get(candidate.identity)
        if verdict is not None:
            return verdict
        parent = self.chain.get(block.parent)
        path = self.chain.path(block.parent)
        if path.conflict:
            fault: str | None = "branches off below the finalised block"
        elif parent is None or path.missing is not None:
            self.fetch(block.parent, block.view - 1, block.proposer)
            return False
        elif block.height != parent.height + 1:
            fault = f"height {block.height} on a parent of height {parent.height}"
        elif block.timestamp_ms < parent.timestamp_ms:
            fault = f"timestamp {block.timestamp_ms} before the parent's {parent.timestamp_ms}"
        elif block.timestamp_ms > self.out.now_ms + self.parameters.max_clock_skew_ms:
            fault = f"timestamp {block.timestamp_ms} is in the future, here it is {self.out.now_ms}"
        elif block.proposer == self.me:
            fault = None
        else:
            taken = {c.batch for b in path.blocks for c in b.payload}
            fault = self.payload.fault(block, frozenset(taken | self.fresh))
        verdicts[candidate.identity] = fault is None
        if fault is not None:
            self.out.reject(block.proposer, f"proposal of view {block.view}: {fault}")
        return fault is None

    def _vote(self, candidate: Candidate) -> None:
        """proposeOpt(B), then the vote (1.4); the snapshot of the step is durable before either leaves."""
        state, view, identity = self.state, candidate.block.view, candidate.identity
        leads_next = self.leaders(view + 1) == self.me
        if self.proposer and leads_next and rules.may_propose_optimistically(state, identity):
            self.proposer.optimistic(identity, view + 1)
            self.propose()
        durable = self._durable.setdefault(view, set())
        if self.leaders(view) != self.me and identity not in durable:
            durable.add(identity)
            self.out.persist(BlockRecord(candidate.block))
        match candidate.kind:
            case "optimistic":
                state.opt_view, state.opt_block = view, identity
            case "normal":
                state.normal_view = view
            case "fallback":
                state.fallback_view = view
        self.out.save()
        self.out.emit("vote", **candidate.traced())
        signature = self.sign(self.domain.vote(candidate.kind, view, identity))
        vote = Vote(candidate.kind, view, identity, self.me, signature)
        self.out.multicast(TRIBE, vote)
        self.out.own.append(vote)

    def _commit_vote_due(self, qc: BlockCertificate) -> bool:
        """Direct or indirect pre-commit for a certificate that is about to be processed."""
        state = self.state
        if not self.signer or self.parameters.variant != "commit" or qc.view == 0:
            return False
        if rules.may_commit_vote(state, qc):
            return True
        descended = any(
            view > qc.view and self.chain.extends(block, qc.block, qc.view) for view, block in state.commit_voted
        )
        return rules.may_commit_vote_indirectly(state, qc, descended)

    def _commit_vote(self, qc: BlockCertificate) -> None:
        self.state.note_commit_vote(qc.view, qc.block)
        self.out.save()
        self.out.emit("vote", view=qc.view, kind="commit", block=qc.block.hex())
        vote = CommitVote(qc.view, qc.block, self.me, self.sign(self.domain.commit(qc.view, qc.block)))
        self.out.multicast(EVERYONE, vote)
        self.out.own.append(vote)

    # ------------------------------------------------------------ bodies and finalisation
    def body(self, block: Block, identity: bytes) -> None:
        """A body that may be kept (signed by its leader, or wanted) has arrived."""
        self.sync.got(identity)
        if self.chain.insert(block, identity):
            self.reconsider = True
            self._two_chain(identity)

    def settle(self) -> None:
        """After new bodies: what waited for them."""
        if self._goal is not None:
            self.commit(*self._goal)
        self.propose()

    def fetch(self, block: bytes, view: int, first: NodeId) -> None:
        """Pull the first body that is missing between the finalised head and `block`, of view at most `view`."""
        if self.chain.connected(block):
            return
        path = self.chain.path(block)
        if path.missing is not None:
            self.sync.want(path.missing, path.blocks[0].view - 1 if path.blocks else view, first)

    def commit(self, view: int, block: bytes, rule: str) -> None:
        """Finalise `block` (of `view`) and its ancestors, oldest first, as soon as all of them are here (1.8)."""
        chain = self.chain
        if chain.is_final(block):
            return
        path = chain.path(block)
        if path.conflict or view <= chain.head_view:
            self.halted = True
            self.out.emit("halt", reason=f"{rule} commit of {block.hex()} at view {view} contradicts the final chain")
            return
        if path.missing is not None:
            if self._goal is None or self._goal[0] < view:
                self._goal = (view, block, rule)
            self.fetch(block, view, self.leaders(view))
            return
        identities = [*(body.parent for body in path.blocks[1:]), block]
        for body, identity in zip(path.blocks, identities, strict=True):
            self._finalise(body, identity, rule if identity == block else "ancestor")
        chain.trim()
        if self._goal is not None and self._goal[0] <= chain.head_view:
            self._goal = None

    def _finalise(self, block: Block, identity: bytes, rule: str) -> None:
        self.chain.finalise(block, identity)
        self.fresh.update(c.batch for c in block.payload)
        self.out.persist(FinalisedRecord(block))
        self.out.put(Emit("finalise", final_event(block, identity, rule)))
        self.out.put(Finalised(block))

    def _two_chain(self, child: bytes) -> None:
        """1.4 tryCommit for a certified child with a body."""
        body = self.chain.get(child)
        if body is None or child not in self.chain.certified or self.chain.is_final(body.parent):
            return
        parent = self.chain.certified.get(body.parent)
        if parent is not None and rules.two_chain(parent.view, body.view):
            self.commit(parent.view, body.parent, "two-chain")

    # ------------------------------------------------------------ helpers
    def sign(self, statement: bytes) -> bytes:
        """Own signature."""
        assert self.signer is not None
        return self.signer.sign(statement)

    def _authentic(self, vote: Vote | CommitVote) -> bool:
        if isinstance(vote, Vote):
            statement = self.domain.vote(vote.kind, vote.view, vote.block)
        else:
            statement = self.domain.commit(vote.view, vote.block)
        return self.verifier.verify(self.committee.keys[vote.voter], statement, vote.signature)

    def _prune(self, below: int) -> None:
        """Bounded memory: nothing is kept about views under `below` but the chain itself."""
        self.state.prune(below)
        for view in [view for view in self._sighted if view < below]:  # a late certificate may be of any view
            del self._sighted[view]
        if below < self._pruned + PRUNE_EVERY:
            return
        self._pruned = below
        for tally in (*self.votes.values(), self.commit_votes):
            tally.prune(below)
        self.timeouts.prune(below)
        self.evidence.prune(below)
        self.book.prune(below)
        if self.proposer:
            self.proposer.prune(below)
        self._durable.prune(below)
        self._verdicts.prune(below)
