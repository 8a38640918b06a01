"""GatewayCore: takes transactions from wallets, forwards them to families, reports the finality phases (2.1, 2.5).

Phases of a transaction, each reported once and in this order; one that was overtaken is reported with the next:
  accepted  passed the stateless checks and was forwarded
  pre       a batch that holds it has an availability certificate
  ord       a finalised block holds that certificate (and the batch is not void)
  exec      applied at height h here, and a state certificate at some height >= h names the root re-executed here
  aborted   executed without effect, certified in the same way; `reason` says why
  refused   the clan certified another root than the one re-executed here: never reported as executed
Only batches of the transaction's own clan and copies with the submitted signature count. An abort as "too-new" is not
an outcome (it will be included again), nor is "invalid" (somebody's corrupted copy: the submitted one was checked), and
"duplicate" is one only if the transaction had no outcome before.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from itertools import islice
from typing import Any

from nodes.chainrules import EffectiveBatches
from nodes.committee import Committee
from nodes.crypto import Domain, Signer, Verifier
from nodes.gateway.door import Door
from nodes.gateway.tracker import RANK, Coverage, Entry, KnownBatch, KnownBatches, Result, Store
from nodes.messages import (
    AvailabilityCertificate,
    Batch,
    Block,
    Forward,
    ForwardReceipt,
    Message,
    NodeId,
    Transaction,
    batch_id,
    block_hash,
    tx_id,
)
from nodes.port import (
    Available,
    AwaitStatus,
    Contradiction,
    Effect,
    Emit,
    Event,
    Expire,
    Finalised,
    Need,
    Notice,
    Ordered,
    QueryBlock,
    Receive,
    Reply,
    Send,
    SetTimer,
    StateCertified,
    Stored,
    Submit,
    SubmitTransaction,
)

KEEP_TRANSACTIONS = 50_000  # finished ones; as many again that were only seen on the chain
MAX_PENDING = 50_000
MAX_FORWARDS = 8
MAX_WAITERS = 20_000
MAX_WAITERS_PER_TRANSACTION = 64
MAX_WAIT_NS = 120_000_000_000  # no wallet's request is held longer than this
KEEP_BLOCKS = 10_000
FORGET_AFTER_NS = 60_000_000_000  # after its expiry, an unfinished transaction is forgotten
TIMER = "gateway:retry"
_MS = 1_000_000
_NOT_AN_OUTCOME = ("too-new", "invalid", "foreign")


class GatewayCore:
    """One gateway. `keep` bounds the finished transactions it remembers."""

    def __init__(
        self,
        me: NodeId,
        committee: Committee,
        domain: Domain,
        signer: Signer,
        verifier: Verifier,
        keep: int = KEEP_TRANSACTIONS,
    ) -> None:
        self.height = 0
        self._me = me
        self._committee = committee
        self._domain = domain
        self._signer = signer
        self._verifier = verifier
        self._door = Door(committee, domain, verifier)
        self._retry_ns = 2 * committee.parameters.inclusion_timeout_ms * _MS
        self._store = Store(keep)
        self._coverage = [Coverage() for _ in committee.clans]
        self._effective = EffectiveBatches(committee.parameters.equivocation)
        self._batches = KnownBatches()
        self._blocks: dict[int, tuple[bytes, Block]] = {}
        self._uncovered: list[deque[Entry]] = [deque() for _ in committee.clans]  # with a result, heights ascend
        self._refusable: list[dict[bytes, Entry]] = [{} for _ in committee.clans]  # submitted, ordered, not done
        self._retries: deque[tuple[int, Entry]] = deque()  # (due, entry): the delay is constant, so due ascends
        self._waiters: dict[int, tuple[int, Entry]] = {}  # request -> (give up at, entry), oldest first
        self._timer_at = 0  # when the retry timer is armed for; 0: not armed

    # ---------------------------------------------------------------- the port
    def step(self, now: int, event: Event) -> Sequence[Effect]:
        """Wallet requests, forward receipts, the retry timer; ignores the rest."""
        if isinstance(event, Receive):
            return self.receive(now, event.sender, event.message)
        out: list[Effect] = []
        match event:
            case Submit(request, SubmitTransaction(transaction)):
                self._on_submit(now, request, transaction, out)
            case Submit(request, AwaitStatus(tx, phase)):
                self._on_await(now, request, tx, phase, out)
            case Submit(request, QueryBlock(height)):
                out.append(Reply(request, self._block(height)))
            case Expire("gateway:retry"):
                self._timer_at = 0
                self._on_timer(now, out)
        self._arm(now, out)
        return out

    def receive(self, now: int, sender: NodeId, message: Message) -> Sequence[Effect]:
        """See nodes/port.py."""
        out: list[Effect] = []
        if isinstance(message, ForwardReceipt):
            self._on_receipt(sender, message, out)
        self._arm(now, out)
        return out

    def notify(self, now: int, notice: Notice) -> Sequence[Effect]:
        """What the sibling cores learnt about the chain; see the module's text for what follows from it."""
        out: list[Effect] = []
        match notice:
            case Available(certificate):
                self._on_available(now, certificate, out)
            case Stored(batch):
                self._on_stored(now, batch, out)
            case Finalised(block):
                self._on_finalised(now, block, out)
            case Ordered():
                self._on_ordered(now, notice, out)
            case StateCertified(certificate):
                self._coverage[certificate.clan].certify(certificate.height, certificate.root)
                self._settle(now, certificate.clan, out)
            case Contradiction(certificate):
                self._coverage[certificate.clan].bad = True
                self._settle(now, certificate.clan, out)
        return out

    # ---------------------------------------------------------------- wallets
    def _on_submit(self, now: int, request: int, transaction: Transaction, out: list[Effect]) -> None:
        tx = tx_id(transaction)
        known = self._store.get(tx)
        error = ""
        if known is None or not known.submitted:
            clan = self._committee.clan_of_key(transaction.sender)
            if self._store.pending >= MAX_PENDING:
                error = f"busy: {MAX_PENDING} transactions wait here already; submit it again later"
            else:
                error = self._door.fault(now, tx, transaction, clan) or ""
            if not error:
                entry = self._store.submit(tx, clan, transaction, now)
                entry.family = self._committee.family(tx, clan)
                out.append(self._phase_event(entry, "accepted", None, 0))
                if entry.ordered or entry.result:  # another gateway was faster: forwarding could only make a copy
                    self._retries.append((now + self._retry_ns, entry))
                else:
                    self._forward(now, entry, out)
                self._progress(now, entry, out)
        out.append(Reply(request, {"tx": tx.hex(), "accepted": not error, "error": error}))

    def _on_await(self, now: int, request: int, tx: bytes, phase: str, out: list[Effect]) -> None:
        entry = self._store.get(tx)
        if entry is None or not entry.submitted:
            out.append(Reply(request, {"tx": tx.hex(), "phase": "unknown"}))
        elif phase not in RANK:
            known = ", ".join(sorted(name for name in RANK if name))
            out.append(Reply(request, {**entry.status(), "error": f"no phase {phase!r}; wait for one of {known}"}))
        elif (
            RANK[entry.phase] >= RANK[phase]
            or len(entry.waiters) >= MAX_WAITERS_PER_TRANSACTION
            or len(self._waiters) >= MAX_WAITERS
        ):
            out.append(Reply(request, entry.status()))
        else:
            entry.waiters.append((request, phase))
            self._waiters[request] = (now + MAX_WAIT_NS, entry)

    def _block(self, height: int) -> dict[str, Any]:
        if height not in self._blocks:
            return {"error": f"no block at height {height} here: {self.height} is the newest, {KEEP_BLOCKS} are kept"}
        identity, block = self._blocks[height]
        return {
            "height": height,
            "block": identity.hex(),
            "view": block.view,
            "parent": block.parent.hex(),
            "batches": [certificate.batch.hex() for certificate in block.payload],
        }

    # ---------------------------------------------------------------- families
    def _forward(self, now: int, entry: Entry, out: list[Effect]) -> None:
        if entry.transaction is None:
            return
        entry.attempts += 1
        sent_ms = now // _MS
        signature = self._signer.sign(self._domain.forward(entry.tx, self._me, sent_ms))
        message = Forward(entry.transaction, self._me, sent_ms, signature)
        out.extend(Send(member, message) for member in entry.family)
        out.append(Emit("forward", {"tx": entry.tx.hex(), "family": list(entry.family), "attempt": entry.attempts}))
        self._retries.append((now + self._retry_ns, entry))

    def _on_receipt(self, sender: NodeId, receipt: ForwardReceipt, out: list[Effect]) -> None:
        entry = self._store.get(receipt.transaction)
        if entry is None or receipt.member in entry.receipts:
            return
        if receipt.member not in entry.family:
            out.append(Emit("reject", {"reason": f"receipt of {receipt.member}, not of the family", "sender": sender}))
            return
        statement = self._domain.receipt(receipt.transaction, receipt.member, receipt.received_ms)
        if not self._verifier.verify(self._committee.keys[receipt.member], statement, receipt.signature):
            out.append(Emit("reject", {"reason": f"bad signature on a receipt of {receipt.member}", "sender": sender}))
            return
        entry.receipts[receipt.member] = receipt
        fields = {"tx": receipt.transaction.hex(), "member": receipt.member, "received_ms": receipt.received_ms}
        out.append(Emit("receipt", {**fields, "signature": receipt.signature.hex()}))

    def receipts(self, tx: bytes) -> tuple[ForwardReceipt, ...]:
        """The verified receipts for a forwarded transaction, by member: evidence for 2.5 (a)."""
        entry = self._store.get(tx)
        return tuple(entry.receipts[member] for member in sorted(entry.receipts)) if entry else ()

    def _on_timer(self, now: int, out: list[Effect]) -> None:
        """Forward again what is not ordered (or came out too new), forget what can not finish, end long waits."""
        while self._retries and self._retries[0][0] <= now:
            _, entry = self._retries.popleft()
            if entry.done or entry.transaction is None:
                continue
            expiry = entry.transaction.expiry_ms * _MS
            if expiry + FORGET_AFTER_NS < now:
                self._answer(entry, 3, out)
                self._refusable[entry.clan].pop(entry.tx, None)
                self._store.forget(entry)
            elif entry.ordered == 0 and entry.attempts < MAX_FORWARDS and now < expiry:
                self._forward(now, entry, out)
            else:
                self._retries.append((now + self._retry_ns, entry))
        while self._waiters:
            request, (until, entry) = next(iter(self._waiters.items()))
            if until > now:
                break
            del self._waiters[request]
            entry.waiters = [waiter for waiter in entry.waiters if waiter[0] != request]
            out.append(Reply(request, entry.status()))

    def _arm(self, now: int, out: list[Effect]) -> None:
        due = [self._retries[0][0]] if self._retries else []
        due.extend(until for until, _ in islice(self._waiters.values(), 1))
        if due and (self._timer_at == 0 or min(due) < self._timer_at):
            self._timer_at = max(min(due), now)
            out.append(SetTimer(TIMER, self._timer_at))

    # ---------------------------------------------------------------- facts from the chain
    def _on_available(self, now: int, certificate: AvailabilityCertificate, out: list[Effect]) -> None:
        batch = self._batches.of(certificate.batch)
        batch.available = True
        if batch.members is None:
            out.append(Need(certificate))
        else:
            self._spread(now, batch, out)

    def _on_stored(self, now: int, body: Batch, out: list[Effect]) -> None:
        batch = self._batches.of(batch_id(body.header))
        if batch.members is not None:
            return
        clan = body.header.clan
        batch.members = tuple(
            (tx_id(transaction), transaction.signature)
            for transaction in body.transactions
            if self._committee.clan_of_key(transaction.sender) == clan
        )
        for tx, signature in batch.members:
            self._store.see(tx, clan, signature)
        self._spread(now, batch, out)

    def _on_finalised(self, now: int, block: Block, out: list[Effect]) -> None:
        if block.height <= self.height:
            return
        self.height = block.height
        self._blocks[block.height] = (block_hash(block), block)
        self._blocks.pop(block.height - KEEP_BLOCKS, None)
        effective, _ = self._effective.split(block.payload)
        for certificate in effective:
            batch = self._batches.of(certificate.batch)
            batch.available = True
            batch.height = batch.height or block.height
            self._spread(now, batch, out)

    def _spread(self, now: int, batch: KnownBatch, out: list[Effect]) -> None:
        """Pass what is known about a batch on to its transactions."""
        for tx, signature in batch.members or ():
            entry = self._store.get(tx)
            if entry is None or entry.signature != signature:
                continue
            entry.available = entry.available or batch.available
            entry.ordered = entry.ordered or batch.height
            self._progress(now, entry, out)
        if batch.height and batch.members is not None:
            batch.members = ()  # all that this batch can tell has been told

    def _on_ordered(self, now: int, notice: Ordered, out: list[Effect]) -> None:
        results = [(tx, Result(notice.height, "", notice.reads.get(tx, ()))) for tx in notice.applied]
        for tx, reason in notice.aborted:
            if reason == "too-new":
                self._reopen(tx, notice)
            elif reason not in _NOT_AN_OUTCOME:
                results.append((tx, Result(notice.height, reason)))
        for tx, result in results:
            entry = self._store.get(tx)
            if entry is not None and entry.result is None and entry.clan == notice.clan:
                entry.result = result
                self._uncovered[notice.clan].append(entry)
        self._coverage[notice.clan].execute(notice.height, notice.root)
        self._settle(now, notice.clan, out)

    def _reopen(self, tx: bytes, notice: Ordered) -> None:
        """Executed too early: it has to be ordered again, so forwarding it again makes sense."""
        entry = self._store.get(tx)
        if entry is not None and entry.clan == notice.clan and entry.result is None:
            entry.ordered = 0
            entry.attempts = min(entry.attempts, MAX_FORWARDS - 1)

    # ---------------------------------------------------------------- phases
    def _settle(self, now: int, clan: int, out: list[Effect]) -> None:
        """Report what the clan's coverage now allows, or forbids for good."""
        coverage, uncovered = self._coverage[clan], self._uncovered[clan]
        while uncovered:
            result = uncovered[0].result
            if result is None or result.height > coverage.covered:
                break
            self._progress(now, uncovered.popleft(), out)
        if coverage.bad:
            uncovered.clear()
            for entry in list(self._refusable[clan].values()):
                self._progress(now, entry, out)

    def _progress(self, now: int, entry: Entry, out: list[Effect]) -> None:
        """Report every phase that the facts support and that was not reported yet, in order."""
        if not entry.submitted or entry.done:
            return
        before = entry.phase
        coverage, result = self._coverage[entry.clan], entry.result
        settled = result is not None and result.height <= coverage.covered
        refused = coverage.bad and not settled and (entry.ordered > 0 or result is not None)
        if entry.available or entry.ordered or settled or refused:
            self._reach(now, entry, "pre", None, 0, out)
        if entry.ordered or settled or refused:
            self._reach(now, entry, "ord", None, entry.ordered, out)
            self._refusable[entry.clan][entry.tx] = entry
        if settled and result is not None:
            self._reach(now, entry, "aborted" if result.reason else "exec", True, result.height, out)
        elif refused:
            self._reach(now, entry, "refused", False, result.height if result else entry.ordered, out)
        rank = RANK[entry.phase]
        if entry.phase != before:
            self._answer(entry, rank, out)
        if rank == RANK["exec"]:
            self._refusable[entry.clan].pop(entry.tx, None)
            self._store.finish(entry)

    def _reach(self, now: int, entry: Entry, phase: str, root_ok: bool | None, height: int, out: list[Effect]) -> None:
        if RANK[phase] <= RANK[entry.phase]:
            return
        entry.phase = phase
        entry.phases[phase] = now
        out.append(self._phase_event(entry, phase, root_ok, height))

    def _phase_event(self, entry: Entry, phase: str, root_ok: bool | None, height: int) -> Emit:
        """`root_ok` is null for the phases that say nothing about a root, `height` 0 before `ord`."""
        reason = entry.result.reason if phase == "aborted" and entry.result else ""
        fields: dict[str, Any] = {"tx": entry.tx.hex(), "phase": phase, "root_ok": root_ok, "height": height}
        return Emit("gateway", {**fields, "clan": entry.clan, **({"reason": reason} if reason else {})})

    def _answer(self, entry: Entry, rank: int, out: list[Effect]) -> None:
        """Answer the waiters whose phase is reached."""
        if entry.waiters:
            status = entry.status()
            for request, phase in entry.waiters:
                if RANK[phase] <= rank:
                    del self._waiters[request]
                    out.append(Reply(request, status))
            entry.waiters = [waiter for waiter in entry.waiters if RANK[waiter[1]] > rank]
