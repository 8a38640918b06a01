"""MoonshotCore: events in, effects out. Verifies everything that arrives, then lets the engine act on it.

The life of a view: the leader's optimistic proposal comes while the view before is still being voted on; votes make a
block certificate, which enters the next view, draws commit votes and lets the next leader propose normally. Who gets
no certificate in 3 Delta sends a timeout; a quorum of them makes a timeout certificate and a fallback proposal.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from nodes.committee import Committee, ConfigError
from nodes.crypto import Domain, Signer, Verifier
from nodes.messages import (
    BlockCertificate,
    BlockRequest,
    BlockResponse,
    CommitCertificate,
    CommitVote,
    FallbackProposal,
    Message,
    NodeId,
    NormalProposal,
    OptimisticProposal,
    Timeout,
    TimeoutCertificate,
    Vote,
    block_hash,
)
from nodes.moonshot import rules
from nodes.moonshot.engine import Engine
from nodes.moonshot.evidence import Proposal
from nodes.moonshot.outbox import MS
from nodes.moonshot.proposals import KIND, Candidate
from nodes.moonshot.state import Replica
from nodes.moonshot.tallies import VoteTally
from nodes.port import Available, Effect, Event, Expire, Finalised, Notice, PayloadSource, Receive, Start
from nodes.records import BlockRecord, FinalisedRecord, ProposedRecord, Record, VoteState


class MoonshotCore(Engine):
    """Commit Moonshot for one tribe node; with `signer` None an observer that only follows and finalises.

    Emits `Finalised` in height order.
    Raises ConfigError for a tribe of one, which would finalise without end in one step.
    """

    def __init__(
        self,
        me: NodeId,
        committee: Committee,
        domain: Domain,
        signer: Signer | None,
        verifier: Verifier,
        payload: PayloadSource,
    ) -> None:
        if len(committee.tribe) < 2:
            raise ConfigError("a tribe of one node cannot run Moonshot; configure at least two ([cluster] nodes)")
        super().__init__(me, committee, domain, signer, verifier, payload)
        self._timers: dict[str, Callable[[], None]] = {
            "moonshot:view": self.timer_expired,
            "moonshot:propose": self.propose,
            "moonshot:sync": self.sync.retry,
        }
        self._helped: dict[NodeId, int] = {}  # peer -> when (ns) it was last helped to catch up

    @property
    def view(self) -> int:
        """r_c, the current view."""
        return self.state.view

    @property
    def height(self) -> int:
        """Height of the last finalised block."""
        return self.chain.height

    # ------------------------------------------------------------ the port
    def step(self, now: int, event: Event) -> Sequence[Effect]:
        """Digest one event (nodes/port.py). A halted core stays silent."""
        if isinstance(event, Receive):
            return self.receive(now, event.sender, event.message)
        if self.halted:
            return ()
        self._begin(now)
        match event:
            case Expire(timer) if timer in self._timers:
                self._timers[timer]()
            case Start(records):
                self._start(records)
            case _:
                return ()
        return self._finish()

    def receive(self, now: int, sender: NodeId, message: Message) -> Sequence[Effect]:
        """step(now, Receive(sender, message))."""
        handler = _HANDLERS.get(type(message))
        if handler is None or self.halted:
            return ()
        self.out.now = now
        if self.fresh:
            self.fresh.clear()
        if sender in self.committee.keys:
            handler(self, sender, message)
        else:
            self.out.reject(sender, "sender is no member of the cluster")
        return self._finish() if self.reconsider or self.out.own or self.out.effects else ()

    def notify(self, now: int, notice: Notice) -> Sequence[Effect]:
        """A new availability certificate may be what an idle leader waits for."""
        if self.halted or not isinstance(notice, Available):
            return ()
        self._begin(now)
        self.propose()
        return self._finish()

    def _begin(self, now: int) -> None:
        self.out.now = now
        if self.fresh:
            self.fresh.clear()

    def _finish(self) -> Sequence[Effect]:
        """Handle own messages, and look at the view's proposals again, until nothing is left to do."""
        while not self.halted and (self.reconsider or self.out.own):
            if self.reconsider:
                self.evaluate()
            if self.out.own:
                message: Message = self.out.own.popleft()
                _HANDLERS[type(message)](self, self.me, message)
        return self.out.take(self.state)

    # ------------------------------------------------------------ start and restart
    def _start(self, records: Sequence[Record]) -> None:
        """Recover what the log holds, tell the siblings what is final, and go on in a view that contradicts nothing."""
        for record in records:
            match record:
                case VoteState():
                    self.state = Replica.recover(record)
                case ProposedRecord(_, block):
                    self.chain.insert(block, block_hash(block))
                    if self.proposer:
                        self.proposer.recover(record)
                case BlockRecord(block):
                    self.chain.insert(block, block_hash(block))
                case FinalisedRecord(block):
                    self.chain.finalise(block, block_hash(block))
                    self.out.put(Finalised(block))
        state = self.state
        if not self.signer:
            state.view = max(state.view, self.chain.head_view + 1)
        self.chain.trim()
        if state.lock.view > self.chain.head_view:
            self.chain.certified[state.lock.block] = state.lock
            self.fetch(state.lock.block, state.lock.view, self.leaders(state.lock.view))
        if self.proposer and self.leaders(state.view) == self.me and state.lock.view == state.view - 1:
            self.proposer.normal(state.lock)
            self.propose()
        self.enter(state.view, "start")
        if self.signer and state.view in state.timed_out:
            self.timer_expired()

    # ------------------------------------------------------------ proposals
    def _on_proposal(self, sender: NodeId, message: Proposal) -> None:
        block, kind = message.block, KIND[type(message)]
        view = block.view
        fault = None
        if view < self.state.view - self.parameters.recency_bound:
            return
        if block.chain != self.domain.chain or block.epoch != self.domain.epoch:
            fault = f"proposal of chain {block.chain!r}, epoch {block.epoch}"
        elif view < 1 or block.proposer != self.leaders(view):
            fault = f"proposal by {block.proposer}, who does not lead view {view}"
        elif kind == "optimistic" and self._too_far(view):
            fault = f"proposal of view {view} is too far ahead of view {self.view}"
        if fault is None:
            identity = block_hash(block)
            if self.book.known(kind, view, identity):
                return
            statement = self.domain.proposal(kind, view, identity)
            if not self.verifier.verify(self.committee.keys[block.proposer], statement, message.signature):
                fault = f"proposal of view {view} without its leader's signature"
        if fault is not None:
            self.out.reject(sender, fault)
            return
        if not self._on_justification(sender, message):
            return
        if self.book.add(Candidate(kind, identity, block, message)):
            self.reconsider = True
            self.body(block, identity)
            if identity in self.chain.certified:
                self.fetch(identity, view, block.proposer)
            self.settle()

    def _on_justification(self, sender: NodeId, message: Proposal) -> bool:
        """The certificate inside NRM or FBK: fits the block, is valid, is processed; False: the proposal is refused."""
        block = message.block
        if isinstance(message, NormalProposal):
            if not rules.normal_fits(block, message.certificate):
                self.out.reject(sender, f"normal proposal of view {block.view} does not extend its certificate")
                return False
            return self._accept(sender, message.certificate)
        if isinstance(message, FallbackProposal):
            certificate = message.certificate
            if not rules.fallback_fits(block, certificate):
                self.out.reject(sender, f"fallback proposal of view {block.view} is not on its highest block")
                return False
            fault = self.certificates.timeout_fault(certificate)
            if fault:
                self.out.reject(sender, f"timeout certificate of view {certificate.view}: {fault}")
                return False
            self.on_timeout_certificate(certificate)
        return True

    # ------------------------------------------------------------ votes
    def _on_vote(self, sender: NodeId, vote: Vote) -> None:
        place = self._place(sender, vote)
        if place is None:
            return
        kind, tally, direct = vote.kind, self.votes[vote.kind], sender == vote.voter
        needed = vote.block not in self.chain.certified and vote.view > self.chain.head_view
        complete = tally.meet(place, vote, direct, needed)
        if complete is None:
            self.evidence.again(place, vote, tally, kind)
            complete = needed and tally.add(vote.view, vote.block, vote.voter, vote.signature, direct)
        self.evidence.compare(place, vote.view, kind)
        if complete:
            quorum = tally.quorum(vote.view, vote.block)
            if quorum:
                qc = BlockCertificate(self.domain.epoch, kind, vote.view, vote.block, *quorum)
                self.certificates.trust(qc)
                self.on_certificate(qc)
        if tally.evicted:
            self._reject_evicted(sender, tally)

    def _on_commit_vote(self, sender: NodeId, vote: CommitVote) -> None:
        place = self._place(sender, vote) if self.parameters.variant == "commit" else None
        if place is None:
            return
        tally, direct, needed = self.commit_votes, sender == vote.voter, vote.view > self.chain.head_view
        complete = tally.meet(place, vote, direct, needed)
        if complete is None:
            self.evidence.again(place, vote, tally, "commit")
            complete = needed and tally.add(vote.view, vote.block, vote.voter, vote.signature, direct)
        if complete:
            quorum = tally.quorum(vote.view, vote.block)
            if quorum:
                certificate = CommitCertificate(self.domain.epoch, vote.view, vote.block, *quorum)
                self.certificates.trust(certificate)
                self.on_commit_certificate(certificate)
        if tally.evicted:
            self._reject_evicted(sender, tally)

    def _place(self, sender: NodeId, vote: Vote | CommitVote) -> int | None:
        """The voter's place in the tribe if its vote is for a view in the window: equivocation is looked for in all
        of these, needed or not."""
        place = self.committee.index.get(vote.voter)
        if place is None:
            self.out.reject(sender, f"vote of {vote.voter}, who is not in the tribe")
            return None
        ahead, bound = vote.view - self.state.view, self.parameters.recency_bound
        if ahead > bound:
            self.out.reject(sender, f"vote for view {vote.view} is too far ahead of view {self.view}")
            return None
        return place if vote.view >= 1 and ahead >= -bound else None

    def _reject_evicted(self, sender: NodeId, tally: VoteTally) -> None:
        for voter in tally.evicted:
            self.out.reject(sender, f"vote with a bad signature of {voter}")
        tally.evicted.clear()

    # ------------------------------------------------------------ timeouts
    def _on_timeout(self, sender: NodeId, message: Timeout) -> None:
        view, voter = message.view, message.voter
        if voter not in self.committee.index:
            self.out.reject(sender, f"timeout of {voter}, who is not in the tribe")
            return
        if self.timeouts.known(message) and view >= self.view:
            return
        statement = self.domain.timeout(view, message.lock.view)
        if not self.verifier.verify(self.committee.keys[voter], statement, message.signature):
            self.out.reject(sender, f"timeout of view {view} with a bad signature of {voter}")
            return
        if not self._accept(sender, message.lock):
            return
        if not rules.timeout_fits(view, message.lock):
            self.out.reject(sender, f"timeout of view {view} with a lock of view {message.lock.view}")
        elif self._too_far(view):
            self.out.reject(sender, f"timeout of view {view} is too far ahead of view {self.view}")
        elif view < self.view:
            self._help(voter, view)
        elif self.signer:
            self._count_timeout(message)

    def _count_timeout(self, message: Timeout) -> None:
        """1.4: f+1 timeouts of a view draw the own one, Q make its certificate."""
        view = message.view
        count = self.timeouts.add(message)
        if count >= self.committee.validity:
            self.time_out(view)
        certificate = self.timeouts.certificate(view, self.domain.epoch) if rules.enters(self.state, view) else None
        if certificate is not None:
            self.certificates.trust(certificate)
            self.on_timeout_certificate(certificate)

    def _help(self, peer: NodeId, view: int) -> None:
        """1.6 desync helpers: show a peer that is stuck in an old view what it missed, once a resend period."""
        now, state = self.out.now, self.state
        last = self._helped.get(peer)
        if peer == self.me or not self.signer or (last is not None and now < last + self._help_period()):
            return
        self._helped[peer] = now
        if view <= state.lock.view:
            self.out.send(peer, state.lock)
            return
        if state.view - 1 in state.timed_out:
            self.out.send(peer, self.timeout_message(state.view - 1))
        certificate = self.last_timeout_certificate
        if certificate is not None and certificate.view >= view:
            self.out.send(peer, certificate)

    def _help_period(self) -> int:
        return self.parameters.timeout_resend_ms * MS // 2  # below the resend period, so that no resend goes unanswered

    # ------------------------------------------------------------ certificates and blocks
    def _on_block_certificate(self, sender: NodeId, certificate: BlockCertificate) -> None:
        known = self.chain.certified.get(certificate.block)
        if known is None or known.view != certificate.view:
            self._accept(sender, certificate)

    def _accept(self, sender: NodeId, certificate: BlockCertificate) -> bool:
        """Verify a block certificate, then process it; False: it is invalid."""
        fault = self.certificates.block_fault(certificate)
        if fault:
            self.out.reject(sender, f"block certificate of view {certificate.view}: {fault}")
            return False
        self.on_certificate(certificate)
        return True

    def _on_commit_certificate(self, sender: NodeId, certificate: CommitCertificate) -> None:
        fault = self.certificates.commit_fault(certificate)
        if fault:
            self.out.reject(sender, f"commit certificate of view {certificate.view}: {fault}")
        else:
            self.on_commit_certificate(certificate)

    def _on_timeout_certificate(self, sender: NodeId, certificate: TimeoutCertificate) -> None:
        if not rules.enters(self.state, certificate.view):
            return
        fault = self.certificates.timeout_fault(certificate)
        if fault:
            self.out.reject(sender, f"timeout certificate of view {certificate.view}: {fault}")
        else:
            self.on_timeout_certificate(certificate)

    def _on_request(self, sender: NodeId, request: BlockRequest) -> None:
        self.sync.serve(sender, request)

    def _on_response(self, sender: NodeId, response: BlockResponse) -> None:
        accepted = self.sync.accept(sender, response)
        for identity, block in accepted:
            self.body(block, identity)
        if accepted:
            newest, block = accepted[0]
            self.fetch(newest, block.view, sender)
            self.settle()

    def _too_far(self, view: int) -> bool:
        """Beyond the window of 1.4 (message recency bound)."""
        return view > self.view + self.parameters.recency_bound


# One table for all nodes of a process: it stays in the cache.
_HANDLERS: dict[type[Any], Callable[[MoonshotCore, NodeId, Any], None]] = {
    OptimisticProposal: MoonshotCore._on_proposal,
    NormalProposal: MoonshotCore._on_proposal,
    FallbackProposal: MoonshotCore._on_proposal,
    Vote: MoonshotCore._on_vote,
    CommitVote: MoonshotCore._on_commit_vote,
    Timeout: MoonshotCore._on_timeout,
    BlockCertificate: MoonshotCore._on_block_certificate,
    CommitCertificate: MoonshotCore._on_commit_certificate,
    TimeoutCertificate: MoonshotCore._on_timeout_certificate,
    BlockRequest: MoonshotCore._on_request,
    BlockResponse: MoonshotCore._on_response,
}
