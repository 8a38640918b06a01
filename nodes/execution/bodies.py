"""Batch bodies of one clan: those that finalised blocks wait for, and a bounded store of those not yet ordered."""

from __future__ import annotations

from nodes.messages import AvailabilityCertificate, Batch, batch_id

SPARE_BYTES = 64 * 1024 * 1024


class Bodies:
    """Bodies by batch id. A wanted body is kept until taken; others are kept, oldest dropped first, up to a limit."""

    def __init__(self, limit_bytes: int = SPARE_BYTES) -> None:
        self._limit = limit_bytes
        self._wanted: dict[bytes, Batch | None] = {}
        self._blocks: dict[bytes, int] = {}  # wanted id -> blocks that wait for it (one, except under EQ-BOTH)
        self._spare: dict[bytes, Batch] = {}
        self._spare_bytes = 0

    @property
    def spare_bytes(self) -> int:
        """Bytes of the bodies that no finalised block waits for."""
        return self._spare_bytes

    def store(self, batch: Batch) -> None:
        """Keep a body that xRBC has checked."""
        batch_hash = batch_id(batch.header)
        if batch_hash in self._wanted:
            self._wanted[batch_hash] = batch
        elif batch_hash not in self._spare:
            self._spare[batch_hash] = batch
            self._spare_bytes += batch.header.byte_length
            while self._spare_bytes > self._limit and len(self._spare) > 1:
                oldest = next(iter(self._spare))
                self._spare_bytes -= self._spare.pop(oldest).header.byte_length

    def want(self, certificate: AvailabilityCertificate) -> bool:
        """Note that a finalised block needs this body; True if it is not held and has to be fetched."""
        self._blocks[certificate.batch] = self._blocks.get(certificate.batch, 0) + 1
        if certificate.batch in self._wanted:
            return False
        body = self._spare.pop(certificate.batch, None)
        if body is not None:
            self._spare_bytes -= body.header.byte_length
        self._wanted[certificate.batch] = body
        return body is None

    def take(self, certificates: tuple[AvailabilityCertificate, ...]) -> tuple[Batch, ...] | None:
        """All these wanted bodies, which are then forgotten; None (and nothing forgotten) while one is missing."""
        batches: list[Batch] = []
        for certificate in certificates:
            body = self._wanted.get(certificate.batch)
            if body is None:
                return None
            batches.append(body)
        for certificate in certificates:
            self._blocks[certificate.batch] -= 1
            if not self._blocks[certificate.batch]:
                del self._blocks[certificate.batch], self._wanted[certificate.batch]
        return tuple(batches)

    def clear(self) -> None:
        """Forget everything (the core has halted)."""
        self._wanted.clear()
        self._blocks.clear()
        self._spare.clear()
        self._spare_bytes = 0
