"""Certificates that wait to be ordered, and the ids that were (protocol.md 2.6)."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import Counter, deque
from typing import TypeAlias

from nodes.committee import Committee
from nodes.crypto import Domain, Verifier
from nodes.messages import MAX_BATCHES_PER_BLOCK, AvailabilityCertificate, Block, encode, sha256
from nodes.xrbc.check import availability_fault

_Entry: TypeAlias = tuple[int, int, str, int, bytes]  # created_ms, clan, proposer, seq, batch: the order of proposing
_ALTERNATES = 4096


class Pool:
    """Verified certificates by batch id, those not finalised in proposing order, and the finalised batch ids.

    A finalised id is forgotten once its batch is past its time to live at the timestamp of a finalised block: block
    time never runs backwards along the chain, so from then on the time to live refuses it.
    """

    def __init__(self, committee: Committee, domain: Domain, verifier: Verifier) -> None:
        self._committee = committee
        self._domain = domain
        self._verifier = verifier
        self._ttl = committee.parameters.batch_ttl_ms
        self._margin = committee.parameters.max_clock_skew_ms
        self.certificates: dict[bytes, AvailabilityCertificate] = {}
        self.finalised: set[bytes] = set()  # membership only, never iterated
        self._waiting: list[_Entry] = []
        self._done: deque[tuple[int, bytes]] = deque()  # (created_ms, batch), order of finalisation
        self._alternates: dict[bytes, None] = {}  # SHA-256 of other valid certificates for known batches

    def fault(self, certificate: AvailabilityCertificate) -> str | None:
        """Why the certificate is invalid in itself, or None; a certificate already verified costs a comparison."""
        known = self.certificates.get(certificate.batch)
        if known == certificate:
            return None
        identity = sha256(encode(certificate))
        if identity in self._alternates:
            return None
        fault = availability_fault(certificate, self._committee, self._domain, self._verifier)
        if fault is None:
            if len(self._alternates) >= _ALTERNATES:
                del self._alternates[next(iter(self._alternates))]
            self._alternates[identity] = None
        return fault

    def add(self, certificate: AvailabilityCertificate) -> None:
        """Take in a verified certificate of a batch that is not finalised."""
        self.certificates[certificate.batch] = certificate
        insort(self._waiting, _entry(certificate))

    def alternates(self) -> int:
        """How many other certificates for known batches are remembered."""
        return len(self._alternates)

    def most_waiting(self) -> int:
        """Certificates that wait, of the proposer that has most."""
        return max(Counter(entry[2] for entry in self._waiting).values(), default=0)

    def waits(self, batch: bytes) -> bool:
        """Is the batch certified, but neither finalised nor expired?"""
        return batch in self.certificates and batch not in self.finalised

    def finalise(self, certificate: AvailabilityCertificate, block_ms: int) -> bool:
        """The certificate is in a final block; False if its batch was finalised before."""
        self._remove(certificate.batch)
        if certificate.batch in self.finalised:
            return False
        self.finalised.add(certificate.batch)
        self._done.append((certificate.created_ms, certificate.batch))
        while self._done and self._done[0][0] + self._ttl + self._margin < block_ms:
            self.finalised.discard(self._done.popleft()[1])
        return True

    def expire(self, now_ms: int) -> list[AvailabilityCertificate]:
        """Drop and return the certificates that no block may hold any more."""
        gone = []
        while self._waiting and self._waiting[0][0] + self._ttl + self._margin < now_ms:
            gone.append(self.certificates.pop(self._waiting.pop(0)[4]))
        return gone

    def collect(self, now_ms: int, taken: frozenset[bytes]) -> tuple[AvailabilityCertificate, ...]:
        """PayloadSource.collect: what a block made now may hold, oldest first, at most 50.

        When there are more, proposers take turns, so that a flood of (backdated) batches delays nobody else's (D10).
        """
        # The block's time may run ahead of this clock by the permitted skew.
        youngest = now_ms + self._margin - self._ttl
        chosen = [entry for entry in self._waiting if entry[0] >= youngest and entry[4] not in taken]
        if len(chosen) > MAX_BATCHES_PER_BLOCK:
            turns: Counter[str] = Counter()
            ranked: list[tuple[int, _Entry]] = []
            for entry in chosen:
                turns[entry[2]] += 1
                ranked.append((turns[entry[2]], entry))
            ranked.sort()
            chosen = sorted(entry for _, entry in ranked[:MAX_BATCHES_PER_BLOCK])
        return tuple(self.certificates[entry[4]] for entry in chosen)

    def block_fault(self, block: Block, taken: frozenset[bytes]) -> str | None:
        """PayloadSource.fault: the rules of 2.6 over a whole payload."""
        seen: set[bytes] = set()
        for certificate in block.payload:
            batch = certificate.batch
            if batch in seen:
                return f"batch {batch.hex()} twice in the block"
            if batch in taken:
                return f"batch {batch.hex()} is in an ancestor"
            if batch in self.finalised:
                return f"batch {batch.hex()} is finalised already"
            if certificate.created_ms + self._ttl < block.timestamp_ms:
                return f"batch {batch.hex()} expired before the block"
            fault = self.fault(certificate)
            if fault is not None:
                return f"batch {batch.hex()}: {fault}"
            seen.add(batch)
        return None

    def _remove(self, batch: bytes) -> None:
        certificate = self.certificates.pop(batch, None)
        if certificate is not None:
            entry = _entry(certificate)
            place = bisect_left(self._waiting, entry)
            if place < len(self._waiting) and self._waiting[place] == entry:
                del self._waiting[place]


def _entry(certificate: AvailabilityCertificate) -> _Entry:
    return certificate.created_ms, certificate.clan, certificate.proposer, certificate.seq, certificate.batch
