"""ExecutionCore: executes one clan's finalised batches and has the resulting roots certified (protocol.md 2.7).

With a signer it is a clan member: it signs the root of every height and spreads its state vote. Without one it is the
re-execution of that clan at a gateway. Both execute strictly in height order, tally state votes, and compare.

A certificate at height h equal to the own root there covers every height up to h, because roots are chained:
`certified` is the highest such h. A valid certificate that contradicts an own root halts the core for good: either
this machine computes wrongly or the clan is bad, and neither must be papered over.

Balances are answered from the state at `certified` (genesis at first), not from the latest executed one.
"""

from __future__ import annotations

import base64
from collections import deque
from collections.abc import Sequence
from heapq import heappop, heappush

import msgspec

from nodes.chainrules import EffectiveBatches
from nodes.committee import Committee
from nodes.crypto import Domain, Signer, Verifier, hex_of, signers_of
from nodes.execution.bodies import Bodies
from nodes.execution.ledger import Account, Ledger, Outcome
from nodes.execution.ordering import concatenate, permute
from nodes.execution.votes import Claim, StateVotes, claim_of
from nodes.messages import (
    AvailabilityCertificate,
    Batch,
    Block,
    Message,
    NodeId,
    StateCertificate,
    StateRequest,
    StateVote,
    block_hash,
    encode,
)
from nodes.port import (
    GATEWAYS,
    Contradiction,
    Effect,
    Emit,
    Event,
    Expire,
    Finalised,
    Multicast,
    Need,
    Notice,
    Ordered,
    Persist,
    QueryBalance,
    Receive,
    Reply,
    Send,
    SetTimer,
    Start,
    StateCertified,
    Stored,
    Submit,
    clan_group,
)
from nodes.records import RootRecord

HISTORY = 2000  # heights for which roots, own votes and certificates are kept
VOTE_WINDOW = 512  # votes for heights further ahead than this are dropped; StateRequest recovers what matters
FETCH_WINDOW = 64  # queued blocks whose bodies are fetched at a time
CERTIFICATES_PER_HEIGHT = 2  # two that differ already prove the clan bad
_MS = 1_000_000


class _Queued(msgspec.Struct):
    """A finalised block that is not executed yet; `wanted` once its bodies have been asked for."""

    block: Block
    effective: tuple[AvailabilityCertificate, ...]
    void: tuple[AvailabilityCertificate, ...]
    wanted: bool = False


class ExecutionCore:
    """Execution of `clan`; `signer` None means re-execution at a gateway. `executed`, `certified` are heights."""

    def __init__(
        self,
        me: NodeId,
        committee: Committee,
        domain: Domain,
        clan: int,
        signer: Signer | None,
        verifier: Verifier,
    ) -> None:
        self.clan = clan
        self.executed = 0
        self.certified = 0
        self.halted = False
        self._me = me
        self._committee = committee
        self._domain = domain
        self._signer = signer
        self._timer = f"execution:{clan}:retry"
        self._retry_ns = committee.parameters.batch_retry_ms * _MS
        self._retry_height = 0  # executed at the last retry: uncertified by the next one means votes were lost
        self._ledger = Ledger(committee, domain, clan, verifier)
        self._batches = EffectiveBatches(committee.parameters.equivocation)
        self._bodies = Bodies()
        self._votes = StateVotes(committee, domain, clan, verifier)
        self._queue: deque[_Queued] = deque()
        self._finalised = 0
        self._signed: dict[int, StateVote] = {}  # from the log: heights signed by earlier incarnations
        self._claims: dict[int, Claim] = {}  # own, last HISTORY heights
        self._own_votes: dict[int, StateVote] = {}
        self._certificates: dict[int, list[StateCertificate]] = {}
        self._certified_heights: list[int] = []  # heap of their keys
        self._before: dict[int, dict[bytes, Account]] = {}  # uncertified heights: accounts written, as they were

    # ---------------------------------------------------------------- the port
    def step(self, now: int, event: Event) -> Sequence[Effect]:
        """Start, state votes, certificates and requests, the retry timer, QueryBalance; ignores the rest."""
        if isinstance(event, Receive):
            return self.receive(now, event.sender, event.message)
        out: list[Effect] = []
        match event:
            case Start(records):
                self._signed = {
                    record.vote.height: record.vote
                    for record in records
                    if isinstance(record, RootRecord) and record.vote.clan == self.clan
                }
                out.append(SetTimer(self._timer, now + self._retry_ns))
            case Expire(timer) if timer == self._timer and not self.halted:
                self._on_retry(now, out)
            case Submit(request, QueryBalance(address)) if self._committee.clan_of_key(address) == self.clan:
                out.append(Reply(request, self._balance(address)))
        return out

    def receive(self, now: int, sender: NodeId, message: Message) -> Sequence[Effect]:
        """See nodes/port.py."""
        if isinstance(message, StateVote):
            return self._on_vote(sender, message)
        out: list[Effect] = []
        if isinstance(message, StateCertificate):
            self._on_certificate(sender, message, out)
        elif isinstance(message, StateRequest):
            self._on_request(sender, message, out)
        return out

    def notify(self, now: int, notice: Notice) -> Sequence[Effect]:
        """Finalised blocks and stored bodies; ignores the rest, and everything once halted."""
        out: list[Effect] = []
        if self.halted:
            return out
        match notice:
            case Finalised(block):
                self._on_finalised(block, out)
            case Stored(batch) if batch.header.clan == self.clan:
                self._bodies.store(batch)
                self._advance(out)
        return out

    # ---------------------------------------------------------------- execution
    def _on_finalised(self, block: Block, out: list[Effect]) -> None:
        if block.height <= self._finalised:
            return
        if block.height != self._finalised + 1:
            self._halt(f"finalised height {block.height} follows {self._finalised}: consensus left a gap", out)
            return
        self._finalised = block.height
        effective, void = self._batches.split(c for c in block.payload if c.clan == self.clan)
        self._queue.append(_Queued(block, effective, void))
        self._advance(out)

    def _advance(self, out: list[Effect]) -> None:
        """Execute every queued block whose bodies are all here, in order; ask for those of the next ones."""
        while self._queue and not self.halted:
            for index in range(min(FETCH_WINDOW, len(self._queue))):
                queued = self._queue[index]
                if not queued.wanted:
                    queued.wanted = True
                    out.extend(Need(c) for c in queued.effective if self._bodies.want(c))
            batches = self._bodies.take(self._queue[0].effective)
            if batches is None:
                return
            self._execute(self._queue.popleft(), batches, out)

    def _execute(self, queued: _Queued, batches: tuple[Batch, ...], out: list[Effect]) -> None:
        block, identity = queued.block, block_hash(queued.block)
        ordered = permute(identity, concatenate(batches))
        outcome = self._ledger.execute(block.timestamp_ms, ordered)
        claim = (identity, outcome.previous_root, outcome.root)
        signed = self._signed.pop(block.height, None)
        if signed is not None and claim_of(signed) != claim:
            self._halt(
                f"re-execution of height {block.height} gives root {outcome.root.hex()}, but an earlier incarnation "
                f"signed {signed.root.hex()}",
                out,
            )
            return
        self.executed = block.height
        self._claims[block.height] = claim
        self._claims.pop(block.height - HISTORY, None)
        self._before[block.height] = outcome.before
        self._before.pop(block.height - HISTORY, None)
        if block.height % 64 == 0:  # only matters while nothing gets certified
            self._votes.forget(block.height - HISTORY)
        if signed is None:
            self._trace(queued, batches, identity, outcome, out)
        vote = self._own_vote(block.height, claim, signed, out)
        out.append(
            Ordered(
                clan=self.clan,
                height=block.height,
                block=identity,
                root=outcome.root,
                applied=outcome.applied,
                aborted=outcome.aborted,
                reads=outcome.reads,
                transactions=tuple(transaction for _, transaction in ordered),
            )
        )
        for certificate in tuple(self._certificates.get(block.height, ())):
            self._compare(certificate, out)
        if vote is not None and not self._settled(vote.height):
            self._tally(vote, True, out)

    def _trace(
        self, queued: _Queued, batches: tuple[Batch, ...], identity: bytes, outcome: Outcome, out: list[Effect]
    ) -> None:
        for certificate, batch in zip(queued.effective, batches, strict=True):
            data = base64.b64encode(encode(batch)).decode()
            out.append(Emit("body", {"batch": certificate.batch.hex(), "data": data}))
        fields = {
            "height": queued.block.height,
            "block": identity.hex(),
            "clan": self.clan,
            "prev_root": outcome.previous_root.hex(),
            "root": outcome.root.hex(),
            "batches": [c.batch.hex() for c in queued.effective],
            "void": [c.batch.hex() for c in queued.void],
            "applied": [tx.hex() for tx in outcome.applied],
            "aborted": [[tx.hex(), reason] for tx, reason in outcome.aborted],
        }
        out.append(Emit("execute", fields))

    # ---------------------------------------------------------------- state votes and certificates
    def _own_vote(self, height: int, claim: Claim, signed: StateVote | None, out: list[Effect]) -> StateVote | None:
        """The vote for an executed height. One that an earlier incarnation signed is counted here, not sent anew."""
        if self._signer is None:
            return None
        vote = signed
        if vote is None:
            signature = self._signer.sign(self._domain.root(self.clan, height, *claim))
            vote = StateVote(self.clan, height, *claim, voter=self._me, signature=signature)
            out.append(Persist(RootRecord(vote)))
            out.append(Emit("state_vote", {"height": height, "clan": self.clan, "root": claim[2].hex()}))
            self._spread(vote, out)
        self._own_votes[height] = vote
        self._own_votes.pop(height - HISTORY, None)
        return vote

    def _spread(self, vote: StateVote, out: list[Effect]) -> None:
        out.append(Multicast(clan_group(self.clan), vote))
        out.append(Multicast(GATEWAYS, vote))

    def _on_vote(self, sender: NodeId, vote: StateVote) -> Sequence[Effect]:
        if vote.clan != self.clan or vote.voter == self._me or vote.height > self.executed + VOTE_WINDOW:
            return ()
        if self._settled(vote.height):
            return ()
        out: list[Effect] = []
        self._tally(vote, False, out, sender)
        return out

    def _settled(self, height: int) -> bool:
        """Is there nothing left to count for this height: covered, forgotten or certified?"""
        return (
            height <= self.certified or self.halted or height <= self.executed - HISTORY or height in self._certificates
        )

    def _tally(self, vote: StateVote, own: bool, out: list[Effect], sender: NodeId = "") -> None:
        """Count a vote for a height that is not settled."""
        result = self._votes.add(vote, own)
        if isinstance(result, StateCertificate):
            self._accept(result, out)
        elif result is not None:
            out.append(Emit("reject", {"reason": result, "sender": sender}))

    def _on_certificate(self, sender: NodeId, certificate: StateCertificate, out: list[Effect]) -> None:
        if self.halted or certificate.clan != self.clan:
            return
        height, claim = certificate.height, claim_of(certificate)
        held = self._certificates.get(height, [])
        if any(claim_of(other) == claim for other in held) or len(held) >= CERTIFICATES_PER_HEIGHT:
            return
        own = self._claims.get(height)
        if height <= self.certified and own in (None, claim):
            return  # covered already; one that differs from the own claim is worth checking at any height
        why = self._votes.fault(certificate)
        if why is not None:
            out.append(Emit("reject", {"reason": why, "sender": sender}))
            return
        self._accept(certificate, out)

    def _accept(self, certificate: StateCertificate, out: list[Effect]) -> None:
        """A verified certificate, first sight."""
        held = self._certificates.get(certificate.height)
        if held is None:
            self._certificates[certificate.height] = [certificate]
            heappush(self._certified_heights, certificate.height)
            if len(self._certificates) > HISTORY:
                del self._certificates[heappop(self._certified_heights)]
        else:
            held.append(certificate)
        members = self._committee.clans[self.clan]
        fields = {
            "height": certificate.height,
            "clan": self.clan,
            "block": certificate.block.hex(),
            "prev_root": certificate.previous_root.hex(),
            "root": certificate.root.hex(),
            "signers": list(signers_of(members, certificate.signers) or ()),
            "signatures": hex_of(certificate.signatures),
        }
        out.append(Emit("state_certificate", fields))
        out.append(StateCertified(certificate))
        self._compare(certificate, out)

    def _compare(self, certificate: StateCertificate, out: list[Effect]) -> None:
        """Hold a certificate against the own claim of its height, if that height is executed and remembered."""
        own = self._claims.get(certificate.height)
        if own is None or self.halted:
            return
        if own != claim_of(certificate):
            self._halt(_contradiction(certificate, own), out)
            out.append(Contradiction(certificate, own[2]))
        elif certificate.height > self.certified:
            for height in range(self.certified + 1, certificate.height + 1):
                self._before.pop(height, None)
            self.certified = certificate.height
            self._votes.forget(certificate.height)

    def _halt(self, reason: str, out: list[Effect]) -> None:
        self.halted = True
        self._queue.clear()
        self._bodies.clear()
        out.append(Emit("halt", {"reason": reason}))

    # ---------------------------------------------------------------- lossy links
    def _on_retry(self, now: int, out: list[Effect]) -> None:
        """A height executed before the last retry is still uncertified: repeat the latest vote, ask for that height."""
        if self._retry_height > self.certified:
            latest = self._own_votes.get(self.executed)
            if latest is not None:
                self._spread(latest, out)
            out.append(Multicast(clan_group(self.clan), StateRequest(self.clan, self._retry_height)))
        self._retry_height = self.executed
        out.append(SetTimer(self._timer, now + self._retry_ns))

    def _on_request(self, sender: NodeId, request: StateRequest, out: list[Effect]) -> None:
        if request.clan != self.clan:
            return
        held = self._certificates.get(request.height)
        answer = held[0] if held else self._own_votes.get(request.height)
        if answer is not None:
            out.append(Send(sender, answer))

    # ---------------------------------------------------------------- queries
    def _balance(self, address: bytes) -> dict[str, object]:
        """The account at the certified height: undo the writes of the heights above it."""
        balance, seq = self._ledger.account(address)
        for height in range(self.certified + 1, self.executed + 1):
            before = self._before.get(height)
            if before is None:
                gap = self.executed - self.certified
                return {
                    "address": address.hex(),
                    "error": f"the last certified height {self.certified} is {gap} heights behind, more than the "
                    f"{HISTORY} kept; ask again when clan {self.clan} certifies its state again",
                }
            if address in before:
                balance, seq = before[address]
                break
        return {"address": address.hex(), "balance": balance, "seq": seq, "height": self.certified}


def _contradiction(certificate: StateCertificate, own: Claim) -> str:
    """What the certificate says otherwise than the own claim of its height: the block, the roots before and after."""
    named = zip(("block", "root before", "root"), claim_of(certificate), own, strict=True)
    differ = ", ".join(f"{name} {theirs.hex()} (own: {mine.hex()})" for name, theirs, mine in named if theirs != mine)
    return f"clan {certificate.clan} certified {differ} at height {certificate.height}"
