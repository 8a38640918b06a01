"""What a gateway knows about transactions: facts from the chain, and the finality phases that follow from them.

Facts are kept for every transaction seen in a batch body, submitted here or not: a wallet may submit to this gateway
what another gateway has had ordered already. Phases are reported only for those submitted here.
"""

from __future__ import annotations

from collections import deque
from typing import Any

import msgspec

from nodes.messages import ForwardReceipt, NodeId, Transaction

KEEP_BATCHES = 5_000
RANK = {"": 0, "accepted": 0, "pre": 1, "ord": 2, "exec": 3, "aborted": 3, "refused": 3}
_OUTCOME = {"exec": "applied", "aborted": "aborted", "refused": "refused"}


class Result(msgspec.Struct, frozen=True):
    """Outcome of a transaction's execution at `height`; `reason` is empty for an applied one."""

    height: int
    reason: str
    reads: tuple[tuple[int, ...], ...] = ()


class Entry(msgspec.Struct):
    """One transaction. `signature` is that of the copy the facts are about; `transaction` None: never submitted."""

    tx: bytes
    clan: int
    signature: bytes
    transaction: Transaction | None = None
    available: bool = False
    ordered: int = 0  # height of the first effective finalised batch that holds it; 0: none yet
    result: Result | None = None
    phase: str = ""
    phases: dict[str, int] = {}
    attempts: int = 0
    family: tuple[NodeId, ...] = ()
    receipts: dict[NodeId, ForwardReceipt] = {}
    waiters: list[tuple[int, str]] = []  # (request, phase waited for)

    @property
    def submitted(self) -> bool:
        return bool(self.phases)

    @property
    def done(self) -> bool:
        return RANK[self.phase] == 3

    def status(self) -> dict[str, Any]:
        """The AwaitStatus reply (nodes/port.py)."""
        result = self.result if self.phase in ("exec", "aborted") else None
        reason = result.reason if result else ""
        if self.phase == "refused":
            reason = f"clan {self.clan} certified a state root that differs from the one re-executed here"
        return {
            "tx": self.tx.hex(),
            "phase": self.phase,
            "phases": dict(self.phases),
            "outcome": _OUTCOME.get(self.phase, ""),
            "reason": reason,
            "height": result.height if result else self.ordered,
            "reads": [list(values) for values in result.reads] if result else [],
        }


class KnownBatch:
    """A batch as far as the gateway knows it: `members` (tx, signature) once held, certified, finalised at `height`."""

    __slots__ = ("available", "height", "members")

    def __init__(self) -> None:
        self.members: tuple[tuple[bytes, bytes], ...] | None = None
        self.available = False
        self.height = 0


class KnownBatches:
    """Batches by id, the last KEEP_BATCHES."""

    def __init__(self) -> None:
        self._batches: dict[bytes, KnownBatch] = {}

    def __len__(self) -> int:
        return len(self._batches)

    def of(self, batch: bytes) -> KnownBatch:
        """What is known of the batch with this id; from now on it is kept."""
        known = self._batches.get(batch)
        if known is None:
            known = self._batches[batch] = KnownBatch()
            if len(self._batches) > KEEP_BATCHES:
                del self._batches[next(iter(self._batches))]
        return known


class Store:
    """Entries by transaction id, bounded: finished and never-submitted ones go, oldest first."""

    def __init__(self, keep: int) -> None:
        self._keep = keep
        self._entries: dict[bytes, Entry] = {}
        self._pending = 0
        self._finished: deque[bytes] = deque()  # oldest first
        self._passing: deque[bytes] = deque()  # seen on the chain only, oldest first

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def pending(self) -> int:
        """Submitted transactions that are not finished."""
        return self._pending

    def get(self, tx: bytes) -> Entry | None:
        return self._entries.get(tx)

    def see(self, tx: bytes, clan: int, signature: bytes) -> Entry:
        """The entry of a transaction met in a batch body."""
        entry = self._entries.get(tx)
        if entry is None:
            entry = self._entries[tx] = Entry(tx, clan, signature)
            self._passing.append(tx)
            if len(self._passing) > self._keep:
                oldest = self._entries.get(self._passing.popleft())
                if oldest is not None and not oldest.submitted:
                    del self._entries[oldest.tx]
        return entry

    def submit(self, tx: bytes, clan: int, transaction: Transaction, now: int) -> Entry:
        """The entry of a transaction accepted now. Facts about a copy with another signature are not its own."""
        entry = self._entries.get(tx)
        if entry is None or (entry.signature != transaction.signature and entry.result is None):
            entry = self._entries[tx] = Entry(tx, clan, transaction.signature)
        entry.transaction = transaction
        entry.phase = "accepted"
        entry.phases["accepted"] = now
        self._pending += 1
        return entry

    def finish(self, entry: Entry) -> None:
        """The last phase is reached: keep the outcome only."""
        entry.transaction = None
        self._pending -= 1
        self._finished.append(entry.tx)
        if len(self._finished) > self._keep:
            self._entries.pop(self._finished.popleft(), None)

    def forget(self, entry: Entry) -> None:
        """Drop a submitted transaction that will never finish."""
        if self._entries.pop(entry.tx, None) is not None and not entry.done:
            self._pending -= 1


class Coverage:
    """Per clan: which re-executed heights state certificates cover. `bad` for good after one that contradicts."""

    def __init__(self, keep: int = 4096) -> None:
        self.covered = 0
        self.executed = 0
        self.bad = False
        self._keep = keep
        self._roots: dict[int, bytes] = {}  # re-executed, not covered
        self._early: dict[int, list[bytes]] = {}  # certified, not re-executed

    def size(self) -> int:
        """Roots that are remembered."""
        return len(self._roots) + len(self._early)

    def execute(self, height: int, root: bytes) -> None:
        """The root re-executed here at `height` (heights ascend)."""
        self.executed = height
        self._roots[height] = root
        self._roots.pop(height - self._keep, None)
        for certified in self._early.pop(height, ()):
            self.certify(height, certified)

    def certify(self, height: int, root: bytes) -> None:
        """A verified state certificate names `root` at `height`."""
        if height > self.executed:
            roots = self._early.setdefault(height, [])
            if root not in roots:
                roots.append(root)
            while len(self._early) > self._keep:
                del self._early[min(self._early)]
            return
        own = self._roots.get(height)
        if own is None or self.bad:
            return
        if own != root:
            self.bad = True
        elif height > self.covered:
            for below in [h for h in self._roots if h < height]:
                del self._roots[below]
            self.covered = height
