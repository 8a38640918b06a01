"""Own batches without a certificate: kept, and repeated ever more rarely, until they have one or expire (2.3)."""

from __future__ import annotations

import msgspec

from nodes.messages import Batch

RESEND_BACKOFF = 4  # a batch without certificate is repeated every 1, 2, then 4 retry intervals, until it expires


class _Own(msgspec.Struct):
    batch: Batch
    attempts: int = 0


class OwnBatches:
    """By batch id. `retry_ns` is the first interval, `ttl_ms` a batch's time to live."""

    def __init__(self, retry_ns: int, ttl_ms: int) -> None:
        self._retry_ns = retry_ns
        self._ttl_ms = ttl_ms
        self._batches: dict[bytes, _Own] = {}

    def add(self, ident: bytes, batch: Batch) -> None:
        """A batch just made, or found in the log."""
        self._batches[ident] = _Own(batch)

    def drop(self, ident: bytes) -> None:
        """The batch is certified (or was never an own one)."""
        self._batches.pop(ident, None)

    def all(self) -> list[tuple[bytes, Batch]]:
        """(id, batch) of all, oldest first."""
        return [(ident, own.batch) for ident, own in self._batches.items()]

    def repeat(self, now: int, ident: bytes) -> tuple[Batch, int] | None:
        """The batch to send again, and when (ns) to do so next; None if it is certified or has expired."""
        own = self._batches.get(ident)
        if own is None:
            return None
        if own.batch.header.created_ms + self._ttl_ms < now // 1_000_000:
            del self._batches[ident]
            return None
        own.attempts += 1
        return own.batch, now + self._retry_ns * min(2**own.attempts, RESEND_BACKOFF)
