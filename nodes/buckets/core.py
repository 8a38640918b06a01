"""The buckets of one batch proposer (protocol.md 2.5).

A transaction is in exactly one place: the primary bucket, the secondary bucket, parked (it was "too new" and waits for
its predecessor), or included (in a batch of this node that is not ordered yet). It leaves when a final, effective batch
holds it, or when it expires. A batch is built for the first entry, but not sooner than `max_batch_delay_ms` after the
one before (so nothing waits in a quiet bucket, and a busy one fills); when it is full; and when a secondary's deadline
passes. Each time with everything in the primary bucket and every overdue secondary, in as many batches as the limits
ask for.
"""

from __future__ import annotations

from nodes.buckets.bucket import Bucket, Entry
from nodes.buckets.ordered import OrderedBatches
from nodes.committee import Committee
from nodes.crypto import Domain, Signer, Verifier
from nodes.messages import Batch, Forward, ForwardReceipt, Message, NodeId, Transaction, encode, tx_id
from nodes.port import (
    CancelTimer,
    Effect,
    Emit,
    Event,
    Expire,
    Finalised,
    Notice,
    Ordered,
    Propose,
    Receive,
    Send,
    SetTimer,
    Stored,
)
from nodes.validity import transaction_fault

TIMER = "buckets:batch"
MAX_RETURNS = 10  # how often a "too-new" transaction is included again
MS = 1_000_000


class BucketsCore:
    """Forward in, ForwardReceipt and Propose out. Buckets are empty after a restart: gateways forward again."""

    def __init__(self, me: NodeId, committee: Committee, domain: Domain, signer: Signer, verifier: Verifier) -> None:
        self._me = me
        self._committee = committee
        self._domain = domain
        self._signer = signer
        self._verifier = verifier
        self._clan = committee.clan_of[me]
        self._limits = committee.parameters
        self._delay_ns = self._limits.max_batch_delay_ms * MS
        self._timeout_ns = self._limits.inclusion_timeout_ms * MS
        self._primary = Bucket()
        self._secondary = Bucket()  # deadlines ascend: each is its time of entry plus one constant
        self._parked: dict[bytes, tuple[int, Entry]] = {}  # -> due time
        self._parked_of: dict[bytes, int] = {}  # sender -> parked transactions
        self._unpark_at: int | None = None
        self._included: dict[bytes, Entry] = {}
        self._roles: dict[bytes, str] = {}  # role of what is included, until its batch id is known
        ttl_ms = self._limits.batch_ttl_ms + self._limits.max_clock_skew_ms
        self._history = OrderedBatches(self._clan, self._limits.equivocation, ttl_ms)
        self._build_at: int | None = None
        self._built = -self._delay_ns  # when the last batch was made
        self._armed: int | None = None

    # ------------------------------------------------------------ Core
    def step(self, now: int, event: Event) -> list[Effect]:
        """Receive(Forward) and the batch timer; other events are ignored."""
        if isinstance(event, Receive):
            return self.receive(now, event.sender, event.message)
        out: list[Effect] = []
        if isinstance(event, Expire) and event.timer == TIMER:
            self._armed = None
            self._unpark(now)
            self._build(now, out)
            self._arm(now, out)
        return out

    def receive(self, now: int, sender: NodeId, message: Message) -> list[Effect]:
        """See nodes/port.py."""
        out: list[Effect] = []
        if isinstance(message, Forward):
            self._on_forward(now, sender, message, out)
            self._arm(now, out)
        return out

    def notify(self, now: int, notice: Notice) -> list[Effect]:
        """Finalised and Stored tell what was ordered, Ordered what was too new."""
        out: list[Effect] = []
        if isinstance(notice, Stored):
            self._on_stored(notice.batch, out)
        elif isinstance(notice, Finalised):
            if not notice.block.payload:
                return out
            for tx in self._history.finalise(notice.block):
                self._drop(tx)
        elif isinstance(notice, Ordered) and notice.aborted:
            self._on_ordered(now, notice)
        else:
            return out
        self._arm(now, out)
        return out

    # ------------------------------------------------------------ intake
    def _on_forward(self, now: int, sender: NodeId, forward: Forward, out: list[Effect]) -> None:
        tx = tx_id(forward.transaction)
        entry = self._held(tx)
        new = entry is None and tx not in self._history
        fault = self._forward_fault(sender, forward, tx)
        if fault is None and new:
            fault = self._entry_fault(now, forward.transaction, tx)
        if fault is not None:
            out.append(Emit("reject", {"reason": fault, "sender": sender}))
            return
        received_ms = now // MS if entry is None else entry.received_ms
        if new:
            self._enter(now, forward.transaction, tx, sender, out)
        signature = self._signer.sign(self._domain.receipt(tx, self._me, received_ms))
        out.append(Send(sender, ForwardReceipt(tx, self._me, received_ms, signature)))
        if self._full():
            self._build(now, out)

    def _forward_fault(self, sender: NodeId, forward: Forward, tx: bytes) -> str | None:
        if forward.gateway not in self._committee.gateways:
            return f"a forward by {forward.gateway}, which is no gateway"
        if forward.gateway != sender:
            return f"a forward of {forward.gateway}, sent by another"
        statement = self._domain.forward(tx, forward.gateway, forward.sent_ms)
        if not self._verifier.verify(self._committee.keys[forward.gateway], statement, forward.signature):
            return "bad signature of the gateway on a forward"
        return None

    def _entry_fault(self, now: int, transaction: Transaction, tx: bytes) -> str | None:
        if self._me not in self._committee.family(tx, self._clan):
            return f"not in the family of transaction {tx.hex()}"
        if transaction.expiry_ms < now // MS:
            return f"transaction {tx.hex()} has expired"
        if len(encode(transaction)) > self._limits.max_batch_bytes:
            return f"transaction {tx.hex()} is larger than a batch"
        if self.held() >= self._limits.max_bucket_txs:
            return f"the buckets hold {self._limits.max_bucket_txs} transactions already"
        return transaction_fault(transaction, tx, self._clan, self._committee, self._domain, self._verifier)

    def held(self) -> int:
        """Transactions that are here, wherever."""
        return len(self._primary) + len(self._secondary) + len(self._parked) + len(self._included)

    def most_parked(self) -> int:
        """Transactions that wait for a predecessor, of the account that has most."""
        return max(self._parked_of.values(), default=0)

    def _enter(self, now: int, transaction: Transaction, tx: bytes, sender: NodeId, out: list[Effect]) -> None:
        primary = self._committee.family(tx, self._clan)[0]
        entry = Entry(tx, transaction, len(encode(transaction)), primary, now + self._timeout_ns, now // MS)
        self._place(now, entry)
        role = "primary" if primary == self._me else "secondary"
        out.append(Emit("received", {"tx": tx.hex(), "role": role, "from": sender}))

    def _place(self, now: int, entry: Entry) -> None:
        if entry.primary != self._me:
            self._secondary.add(entry)
            return
        self._primary.add(entry)
        if self._build_at is None:
            self._build_at = max(now, self._built + self._delay_ns)

    def _held(self, tx: bytes) -> Entry | None:
        entry = self._primary.entries.get(tx) or self._secondary.entries.get(tx) or self._included.get(tx)
        if entry is None and tx in self._parked:
            entry = self._parked[tx][1]
        return entry

    # ------------------------------------------------------------ batches
    def _full(self) -> bool:
        limits = self._limits
        return len(self._primary) >= limits.max_batch_txs or self._primary.bytes >= limits.max_batch_bytes

    def _build(self, now: int, out: list[Effect]) -> None:
        """Everything primary, first in first out, then every overdue secondary; expired transactions are dropped."""
        self._build_at = None
        self._release(now)
        chosen: list[Entry] = []
        size = 0
        for entry in (*self._primary.entries.values(), *self._overdue(now)):
            self._primary.remove(entry.tx)
            self._secondary.remove(entry.tx)
            if entry.transaction.expiry_ms < now // MS:
                continue
            if len(chosen) == self._limits.max_batch_txs or size + entry.size > self._limits.max_batch_bytes:
                self._propose(now, chosen, out)
                chosen, size = [], 0
            chosen.append(entry)
            size += entry.size
        self._propose(now, chosen, out)

    def _release(self, now: int) -> None:
        """Forget what is in batches past their time to live: nobody may order those any more."""
        while self._included:
            first = next(iter(self._included.values()))
            if first.included_ms + self._limits.batch_ttl_ms >= now // MS:
                return
            del self._included[first.tx]

    def _overdue(self, now: int) -> list[Entry]:
        overdue = []
        for entry in self._secondary.entries.values():
            if entry.deadline > now:
                break
            overdue.append(entry)
        return overdue

    def _propose(self, now: int, chosen: list[Entry], out: list[Effect]) -> None:
        if not chosen:
            return
        self._built = now
        for entry in chosen:
            entry.included_ms = now // MS
            self._included[entry.tx] = entry
            self._roles[entry.tx] = "primary" if entry.primary == self._me else "secondary"
        out.append(Propose(tuple(entry.transaction for entry in chosen)))

    def _on_stored(self, batch: Batch, out: list[Effect]) -> None:
        if batch.header.clan != self._clan:
            return
        ident, ids, final = self._history.stored(batch)
        if batch.header.proposer == self._me and not final:
            for tx, transaction in zip(ids, batch.transactions, strict=True):
                self._on_included(ident, tx, transaction, batch.header.created_ms, out)
        if final:
            for tx in ids:
                self._drop(tx)

    def _on_included(self, ident: bytes, tx: bytes, transaction: Transaction, ms: int, out: list[Effect]) -> None:
        """`tx` is in a batch of this node that is not ordered: just proposed, or proposed before a restart."""
        role = self._roles.pop(tx, None)
        if role is not None:
            primary = self._included[tx].primary
            out.append(Emit("include", {"tx": tx.hex(), "batch": ident.hex(), "role": role, "primary": primary}))
        elif self._held(tx) is None:
            primary = self._committee.family(tx, self._clan)[0]
            self._included[tx] = Entry(tx, transaction, len(encode(transaction)), primary, 0, ms, ms)

    # ------------------------------------------------------------ what consensus and execution say
    def _drop(self, tx: bytes) -> None:
        self._primary.remove(tx)
        self._secondary.remove(tx)
        self._included.pop(tx, None)
        self._roles.pop(tx, None)
        self._take_parked(tx)

    def _on_ordered(self, now: int, ordered: Ordered) -> None:
        if ordered.clan != self._clan:
            return
        early = [tx for tx, reason in ordered.aborted if reason == "too-new"]
        if not early:
            return
        bodies = {tx_id(transaction): transaction for transaction in ordered.transactions}
        for tx in early:
            if tx in bodies:
                self._return(now, tx, bodies[tx], ordered.height)

    def _return(self, now: int, tx: bytes, transaction: Transaction, height: int) -> None:
        """Include again, later and later; every member of the family keeps its role, so a censor gains nothing."""
        family = self._committee.family(tx, self._clan)
        attempts = self._history.reopen(tx, height)
        waiting = self._parked_of.get(transaction.sender, 0)
        if (
            self._me not in family
            or self._held(tx) is not None
            or not 0 < attempts <= MAX_RETURNS
            or waiting >= self._limits.too_new_backlog
            or self.held() >= self._limits.max_bucket_txs  # accounts cost nothing: a limit for each is none for all
            or transaction.expiry_ms < now // MS
        ):
            return
        wait = min(self._delay_ns * 2 ** (attempts - 1), self._timeout_ns)
        entry = Entry(tx, transaction, len(encode(transaction)), family[0], 0, now // MS)
        self._parked[tx] = (now + wait, entry)
        self._unpark_at = now + wait if self._unpark_at is None else min(self._unpark_at, now + wait)
        self._parked_of[transaction.sender] = waiting + 1

    def _take_parked(self, tx: bytes) -> Entry | None:
        parked = self._parked.pop(tx, None)
        if parked is None:
            return None
        sender = parked[1].transaction.sender
        self._parked_of[sender] -= 1
        if not self._parked_of[sender]:
            del self._parked_of[sender]
        return parked[1]

    def _unpark(self, now: int) -> None:
        if self._unpark_at is None or self._unpark_at > now:
            return
        due = [tx for tx, (at, _) in self._parked.items() if at <= now]
        for tx in due:
            entry = self._take_parked(tx)
            if entry is not None:
                entry.deadline = now + self._timeout_ns
                self._place(now, entry)
        self._unpark_at = min((at for at, _ in self._parked.values()), default=None)

    # ------------------------------------------------------------ the one timer
    def _arm(self, now: int, out: list[Effect]) -> None:
        first = self._secondary.first()
        times = (self._build_at, first.deadline if first else None, self._unpark_at)
        at = min((t for t in times if t is not None), default=None)
        if at == self._armed:
            return
        self._armed = at
        out.append(CancelTimer(TIMER) if at is None else SetTimer(TIMER, max(at, now)))
