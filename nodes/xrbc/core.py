"""xRBC, full mode: one core for proposers, clan members, other tribe nodes and gateways (protocol.md 2.3, 2.6).

Spreading a certificate. Votes go to everyone, so in the ordinary case everyone builds the certificate itself and a
multicast by each of them would be n^2 redundant messages. Who builds it therefore multicasts it at once only if it is
the batch's proposer; a gateway does so with every certificate it meets (it cannot propose it, so a certificate known
to a gateway alone would be a broken promise, D4). Anybody else multicasts it once, if it is not final
`batch_retry_ms` after first sight. That is (1 + gateways) multicasts a batch in the ordinary case.

Bodies at a gateway. A proposer sends its batch to the gateways too, which keep it until its certificate comes
(early.py): so the pre-confirmation needs no fetch. They fetch what they were not sent.

Bounds. A proposer may have OPEN_BATCHES batches and OPEN_BYTES bytes voted for here and not final, and SEQ_WINDOW
sequence numbers beyond its highest certified one. Final bodies are kept for the cycle (bodies.py).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nodes.committee import Committee
from nodes.crypto import Domain, Signer, Verifier
from nodes.messages import (
    AvailabilityCertificate,
    AvailabilityVote,
    Batch,
    BatchHeader,
    BatchMessage,
    BatchRequest,
    BatchResponse,
    Block,
    Message,
    NodeId,
    Transaction,
    Wire,
    batch_id,
    tx_id,
)
from nodes.port import (
    EVERYONE,
    GATEWAYS,
    Available,
    Effect,
    Event,
    Expire,
    Finalised,
    Multicast,
    Need,
    Notice,
    Persist,
    Propose,
    Receive,
    Send,
    Start,
    Stored,
    clan_group,
)
from nodes.records import BatchKeyRecord, BatchRecord, FinalisedRecord
from nodes.xrbc.agenda import Agenda
from nodes.xrbc.bodies import Bodies
from nodes.xrbc.check import body_fault, key_of, proposal_fault, transactions_fault, vote_fault
from nodes.xrbc.early import EarlyBodies
from nodes.xrbc.make import make_batch, make_vote
from nodes.xrbc.own import OwnBatches
from nodes.xrbc.pool import Pool
from nodes.xrbc.report import Accusations, available_event, batch_event, reject_event, vote_event
from nodes.xrbc.retrieval import Retrieval
from nodes.xrbc.tally import Tally
from nodes.xrbc.voted import Voted

TIMER = "xrbc:agenda"
SEQ_WINDOW = 1000
MS = 1_000_000


class XrbcCore:
    """`signer` None: a gateway, which votes and proposes nothing. Also the PayloadSource of consensus."""

    def __init__(
        self, me: NodeId, committee: Committee, domain: Domain, signer: Signer | None, verifier: Verifier
    ) -> None:
        self._me = me
        self._committee = committee
        self._domain = domain
        self._signer = signer
        self._verifier = verifier
        self._clan = committee.clan_of.get(me)
        self._gateway = me in committee.gateways
        self._retry_ns = committee.parameters.batch_retry_ms * MS
        self._agenda = Agenda(TIMER)
        self._pool = Pool(committee, domain, verifier)
        self._tally = Tally(committee, domain, verifier)
        self._retrieval = Retrieval(me, committee, self._agenda)
        self._voted = Voted(committee.parameters.batch_ttl_ms)
        self._bodies = Bodies(committee.parameters.batch_ttl_ms + committee.parameters.max_clock_skew_ms)
        self._early = EarlyBodies(committee, domain, verifier)
        self._own = OwnBatches(self._retry_ns, committee.parameters.batch_ttl_ms)
        self._next_seq = 0
        self._highest: dict[NodeId, int] = {}  # highest certified seq per proposer
        self._accusations = Accusations()
        self._handlers: dict[type[Wire], Callable[[int, NodeId, Any, list[Effect]], None]] = {
            AvailabilityVote: self._on_vote,
            AvailabilityCertificate: self._on_certificate,
            BatchMessage: self._on_batch,
            BatchRequest: self._on_request,
            BatchResponse: self._on_response,
        }

    # ------------------------------------------------------------ Core
    def step(self, now: int, event: Event) -> list[Effect]:
        """Start, Receive of the five xRBC messages, Expire of the agenda; other events are ignored."""
        if isinstance(event, Receive):
            return self.receive(now, event.sender, event.message)
        out: list[Effect] = []
        if isinstance(event, Expire):
            if event.timer == TIMER:
                self._on_agenda(now, out)
        elif isinstance(event, Start):
            self._on_start(now, event, out)
        self._agenda.arm(out)
        return out

    def receive(self, now: int, sender: NodeId, message: Message) -> list[Effect]:
        """See nodes/port.py."""
        out: list[Effect] = []
        handler = self._handlers.get(type(message))
        if handler is not None:
            handler(now, sender, message, out)
            self._agenda.arm(out)
        return out

    def notify(self, now: int, notice: Notice) -> list[Effect]:
        """Hears Propose (make a batch), Finalised (certificates leave the pool) and Need (fetch a body)."""
        out: list[Effect] = []
        if isinstance(notice, Finalised):
            self._on_finalised(now, notice.block, out)
        elif isinstance(notice, Propose):
            self._propose(now, notice.transactions, out)
        elif isinstance(notice, Need):
            self._on_need(now, notice.certificate, out)
        self._agenda.arm(out)
        return out

    # ------------------------------------------------------------ PayloadSource
    def collect(self, now: int, taken: frozenset[bytes]) -> tuple[AvailabilityCertificate, ...]:
        """Certificates for a block made now (2.6): not final, not in `taken`, oldest first, at most 50."""
        return self._pool.collect(now // MS, taken)

    def fault(self, block: Block, taken: frozenset[bytes]) -> str | None:
        """Why the payload breaks a rule of 2.6, or None."""
        return self._pool.block_fault(block, taken)

    # ------------------------------------------------------------ recovery
    def _on_start(self, now: int, event: Start, out: list[Effect]) -> None:
        final: list[Block] = []
        for record in event.records:
            if isinstance(record, BatchRecord):
                ident = batch_id(record.batch.header)
                self._bodies.add(ident, record.batch)
                out.append(Stored(record.batch))
                if record.batch.header.proposer == self._me:
                    self._own.add(ident, record.batch)
                    self._next_seq = max(self._next_seq, record.batch.header.seq + 1)
            elif isinstance(record, BatchKeyRecord):
                self._voted.add((record.clan, record.proposer, record.seq), record.batch)
            elif isinstance(record, FinalisedRecord):
                final.append(record.block)
        for block in final:
            for certificate in block.payload:
                self._pool.finalise(certificate, block.timestamp_ms)
                self._keep(certificate)
                self._learn_seq(certificate)
                self._own.drop(certificate.batch)
            self._bodies.expire(block.timestamp_ms)
        self._voted.reopen(self._bodies.perishable_headers())
        for ident, batch in self._own.all():  # a clan of one certifies, and thereby removes, at once
            header = batch.header
            if self._voted.get(key_of(header)) is None:  # crashed between the records of the body and of the vote
                self._vote(now, header, ident, out)
            else:
                self._count(now, self._vote_for(header, ident), out)
            self._agenda.add(now + self._retry_ns, ("resend", ident))

    # ------------------------------------------------------------ proposer
    def _propose(self, now: int, transactions: tuple[Transaction, ...], out: list[Effect]) -> None:
        if self._signer is None or self._clan is None or not transactions:
            return
        ident, batch = make_batch(
            self._domain, self._signer, self._me, self._clan, self._next_seq, transactions, now // MS
        )
        self._next_seq += 1
        self._own.add(ident, batch)
        self._store(batch, ident, tuple(tx_id(transaction) for transaction in transactions), out)
        message = BatchMessage(batch)
        out.extend(Multicast(group, message) for group in (clan_group(self._clan), GATEWAYS))
        self._agenda.add(now + self._retry_ns, ("resend", ident))
        self._vote(now, batch.header, ident, out)

    def _resend(self, now: int, ident: bytes, out: list[Effect]) -> None:
        again = self._own.repeat(now, ident)
        if again is None or self._clan is None:
            return
        batch, due = again
        voters = self._tally.voters(key_of(batch.header), ident)
        message = BatchMessage(batch)
        members = self._committee.clans[self._clan]
        out.extend(Send(member, message) for member in members if member != self._me and member not in voters)
        self._agenda.add(due, ("resend", ident))

    # ------------------------------------------------------------ clan member
    def _on_batch(self, now: int, sender: NodeId, message: BatchMessage, out: list[Effect]) -> None:
        batch, header = message.batch, message.batch.header
        if self._clan is None:  # a gateway
            return self._on_early_batch(now, sender, batch, out)
        ident = batch_id(header)
        key = key_of(header)
        voted = self._voted.get(key)
        if voted == ident and ident in self._bodies and sender == header.proposer:
            out.append(Send(sender, self._vote_for(header, ident)))
            return None
        clan, committee = self._clan, self._committee
        fault = proposal_fault(batch, ident, sender, clan, now // MS, committee, self._domain, self._verifier)
        if fault is None and voted is not None and voted != ident:
            self._accusations.second_batch(key, self._bodies.get(voted), batch, out)
            fault = "a second batch under one key"
        if fault is None:
            fault = self._voted.fault(
                key, header.byte_length, self._highest.get(sender, -1) + SEQ_WINDOW, self._bodies.block_ms
            ) or body_fault(batch)
        if fault is not None:
            return self._reject(out, sender, fault)
        ids = tuple(tx_id(transaction) for transaction in batch.transactions)
        fault = transactions_fault(batch, ids, self._committee, self._domain, self._verifier)
        if fault is not None:
            return self._reject(out, sender, fault)
        if ident not in self._bodies:
            self._retrieval.finish(ident, sender, out)
            self._store(batch, ident, ids, out)
        if ident in self._pool.finalised:
            return None  # arrived too late for a vote to matter
        return self._vote(now, header, ident, out)

    def _vote(self, now: int, header: BatchHeader, ident: bytes, out: list[Effect]) -> None:
        """votedFor[K] = b, durably, then the vote to everyone; it counts here as well."""
        key = key_of(header)
        self._voted.add(key, ident, (header.byte_length, header.created_ms))
        out.append(Persist(BatchKeyRecord(*key, ident)))
        vote = self._vote_for(header, ident)
        out.append(vote_event(ident, header))
        out.append(Multicast(EVERYONE, vote))
        self._count(now, vote, out)

    def _vote_for(self, header: BatchHeader, ident: bytes) -> AvailabilityVote:
        assert self._signer is not None  # only a member of a clan votes, and every member has a signer
        return make_vote(self._domain, self._signer, self._me, header, ident)

    # ------------------------------------------------------------ gateway
    def _on_early_batch(self, now: int, sender: NodeId, batch: Batch, out: list[Effect]) -> None:
        """A proposer's batch at a gateway: kept for its certificate, or used at once if that was here first."""
        ident = batch_id(batch.header)
        fault = None if ident in self._bodies else self._early.add(now // MS, sender, ident, batch)
        if fault is not None:
            self._reject(out, sender, fault)
        elif self._retrieval.wants(ident):
            self._use_early(sender, ident, out)

    def _use_early(self, proposer: NodeId, ident: bytes, out: list[Effect]) -> None:
        """The batch is certified: what was sent early counts from now on."""
        batch = self._early.take(proposer, ident)
        if batch is not None and ident not in self._bodies:
            self._retrieval.finish(ident, proposer, out)
            self._store(batch, ident, tuple(tx_id(transaction) for transaction in batch.transactions), out)

    # ------------------------------------------------------------ votes and certificates
    def _on_vote(self, now: int, sender: NodeId, vote: AvailabilityVote, out: list[Effect]) -> None:
        if vote.batch in self._pool.finalised:
            return None
        fault = vote_fault(vote, sender, self._highest.get(vote.proposer, -1) + SEQ_WINDOW, self._committee)
        if fault is not None:
            return self._reject(out, sender, fault)
        return self._count(now, vote, out)

    def _count(self, now: int, vote: AvailabilityVote, out: list[Effect]) -> None:
        count = self._tally.offer(vote)
        if count.fault is not None:
            return self._reject(out, vote.voter, count.fault)
        if count.conflict is not None:
            self._accusations.make(vote.voter, "double-availability-vote", key_of(vote), count.conflict, out)
        if count.certificate is not None:
            self._adopt(now, count.certificate, out, built=True)
        return None

    def _on_certificate(
        self, now: int, sender: NodeId, certificate: AvailabilityCertificate, out: list[Effect]
    ) -> None:
        if certificate.batch in self._pool.certificates or certificate.batch in self._pool.finalised:
            return None
        fault = self._pool.fault(certificate)
        if fault is not None:
            return self._reject(out, sender, fault)
        return self._adopt(now, certificate, out, built=False)

    def _adopt(self, now: int, certificate: AvailabilityCertificate, out: list[Effect], built: bool) -> None:
        """First sight of a valid certificate that is not final: tell, spread, fetch as the module docstring says."""
        self._use_early(certificate.proposer, certificate.batch, out)
        self._learn(certificate, out)
        self._pool.add(certificate)
        if self._gateway or (built and certificate.proposer == self._me):
            out.append(Multicast(EVERYONE, certificate))
        else:
            self._agenda.add(now + self._retry_ns, ("spread", certificate.batch))
        if self._gateway and certificate.batch not in self._bodies:
            self._retrieval.begin(now, certificate, out)

    def _learn(self, certificate: AvailabilityCertificate, out: list[Effect]) -> None:
        self._accusations.compare(certificate, out)
        self._tally.settle(certificate)
        self._learn_seq(certificate)
        self._own.drop(certificate.batch)
        out.append(available_event(certificate, self._committee))
        out.append(Available(certificate))

    def _learn_seq(self, certificate: AvailabilityCertificate) -> None:
        proposer = certificate.proposer
        self._highest[proposer] = max(certificate.seq, self._highest.get(proposer, -1))
        if certificate.proposer == self._me:  # after a lost disk: never again under a key that is certified
            self._next_seq = max(self._next_seq, certificate.seq + 1)

    def _on_finalised(self, now: int, block: Block, out: list[Effect]) -> None:
        for certificate in block.payload:
            batch = certificate.batch
            self._use_early(certificate.proposer, batch, out)
            known = batch in self._pool.certificates or batch in self._pool.finalised
            if not known and self._pool.fault(certificate) is None:
                self._learn(certificate, out)
            if self._pool.finalise(certificate, block.timestamp_ms):
                self._settle(certificate)
            self._keep(certificate)
            self._own.drop(batch)
            if batch not in self._bodies and (self._gateway or certificate.clan == self._clan):
                self._retrieval.begin(now, certificate, out)
        for certificate in self._pool.expire(block.timestamp_ms):
            self._settle(certificate)
        self._bodies.expire(block.timestamp_ms)

    def _settle(self, certificate: AvailabilityCertificate) -> None:
        key = key_of(certificate)
        self._accusations.settle(key)
        self._voted.close(key, certificate.batch)
        self._tally.close(key)

    def _keep(self, certificate: AvailabilityCertificate) -> None:
        """Its batch is final: the body stays, where bodies of its clan are held."""
        if self._gateway or certificate.clan == self._clan:
            self._bodies.finalise(certificate.batch)

    # ------------------------------------------------------------ retrieval
    def _on_need(self, now: int, certificate: AvailabilityCertificate, out: list[Effect]) -> None:
        body = self._bodies.get(certificate.batch)
        if body is not None:
            out.append(Stored(body))
        else:
            self._retrieval.begin(now, certificate, out)

    def _on_request(self, now: int, sender: NodeId, request: BatchRequest, out: list[Effect]) -> None:
        self._retrieval.serve(now, sender, self._bodies.get(request.batch), request, out)

    def _on_response(self, now: int, sender: NodeId, response: BatchResponse, out: list[Effect]) -> None:
        batch = response.batch
        ident = batch_id(batch.header)
        if ident in self._bodies:
            return None
        if not self._retrieval.wants(ident):
            return self._reject(out, sender, "a batch that was not asked for")
        fault = body_fault(batch)
        if fault is not None:
            return self._reject(out, sender, fault)
        self._retrieval.finish(ident, sender, out)
        return self._store(batch, ident, tuple(tx_id(transaction) for transaction in batch.transactions), out)

    def _on_agenda(self, now: int, out: list[Effect]) -> None:
        for task, batch in self._agenda.expired(now):
            if task == "resend":
                self._resend(now, batch, out)
            elif task == "fetch":
                self._retrieval.retry(now, batch, out)
            elif self._pool.waits(batch):  # spread
                out.append(Multicast(EVERYONE, self._pool.certificates[batch]))

    # ------------------------------------------------------------ shared
    def _store(self, batch: Batch, ident: bytes, ids: tuple[bytes, ...], out: list[Effect]) -> None:
        self._bodies.add(ident, batch)
        out.append(Persist(BatchRecord(batch)))
        out.append(batch_event(ident, batch.header, ids))
        out.append(Stored(batch))

    def _reject(self, out: list[Effect], sender: NodeId, reason: str) -> None:
        out.append(reject_event(sender, reason))
