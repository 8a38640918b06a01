"""Fetching certified batches that are missing here (protocol.md 2.3 `miss(b)`), and serving those that are held.

Attempt 1 asks one signer, spread over the signers by hash(me, batch); attempts 2 to 4 ask three signers, drawn anew
each time; from attempt 5 on every clan member is asked, for ever, at intervals that grow to MAX_BACKOFF retries.
"""

from __future__ import annotations

import msgspec

from nodes.committee import Committee
from nodes.crypto import signers_of
from nodes.messages import AvailabilityCertificate, Batch, BatchRequest, BatchResponse, NodeId, sha256
from nodes.port import Effect, Emit, Send
from nodes.xrbc.agenda import Agenda

SIGNERS_PER_RETRY = 3  # sync_retry_nodes
SIGNER_ATTEMPTS = 4  # from the next attempt on the whole clan is asked
MAX_BACKOFF = 4
SERVED = 1024


class _Fetch(msgspec.Struct):
    certificate: AvailabilityCertificate
    attempt: int = 0
    asked: tuple[NodeId, ...] = ()


class Retrieval:
    """Open fetches by batch id. `agenda` receives ("fetch", batch) when the next attempt is due."""

    def __init__(self, me: NodeId, committee: Committee, agenda: Agenda) -> None:
        self._me = me
        self._committee = committee
        self._agenda = agenda
        self._retry_ns = committee.parameters.batch_retry_ms * 1_000_000
        self._open: dict[bytes, _Fetch] = {}
        self._served: dict[tuple[NodeId, bytes], int] = {}

    def fetches(self) -> int:
        """How many batches are asked for."""
        return len(self._open)

    def served(self) -> int:
        """How many answers are remembered."""
        return len(self._served)

    def wants(self, batch: bytes) -> bool:
        """Is a fetch of this batch under way?"""
        return batch in self._open

    def begin(self, now: int, certificate: AvailabilityCertificate, out: list[Effect]) -> None:
        """Start fetching the batch of a valid certificate, unless that is under way."""
        if certificate.batch not in self._open:
            self._open[certificate.batch] = _Fetch(certificate)
            self._ask(now, certificate.batch, out)

    def retry(self, now: int, batch: bytes, out: list[Effect]) -> None:
        """The attempt for `batch` timed out, if the fetch is still open: ask others."""
        fetch = self._open.get(batch)
        if fetch is not None:
            out.append(Emit("retrieve", {"batch": batch.hex(), "ok": False, "from": ",".join(fetch.asked)}))
            self._ask(now, batch, out)

    def finish(self, batch: bytes, sender: NodeId, out: list[Effect]) -> None:
        """The body is here."""
        if self._open.pop(batch, None) is not None:
            out.append(Emit("retrieve", {"batch": batch.hex(), "ok": True, "from": sender}))

    def serve(self, now: int, sender: NodeId, body: Batch | None, request: BatchRequest, out: list[Effect]) -> None:
        """Answer a request from what is held; one peer gets one body at most twice per retry interval."""
        if body is None:
            return
        entry = (sender, request.batch)
        last = self._served.pop(entry, None)
        if last is not None and now - last < self._retry_ns // 2:
            self._served[entry] = last
            return
        self._served[entry] = now
        if len(self._served) > SERVED:
            del self._served[next(iter(self._served))]
        out.append(Send(sender, BatchResponse(body)))

    def _ask(self, now: int, batch: bytes, out: list[Effect]) -> None:
        fetch = self._open[batch]
        fetch.attempt += 1
        fetch.asked = self._draw(fetch)
        request = BatchRequest(batch)
        out.extend(Send(member, request) for member in fetch.asked)
        backoff = min(2 ** max(0, fetch.attempt - SIGNER_ATTEMPTS - 1), MAX_BACKOFF)
        self._agenda.add(now + self._retry_ns * backoff, ("fetch", batch))

    def _draw(self, fetch: _Fetch) -> tuple[NodeId, ...]:
        members = self._committee.clans[fetch.certificate.clan]
        if fetch.attempt > SIGNER_ATTEMPTS:
            return tuple(member for member in members if member != self._me)
        signers = signers_of(members, fetch.certificate.signers) or ()
        salt = self._me.encode() + fetch.certificate.batch + fetch.attempt.to_bytes(2, "big")
        ranked = sorted((s for s in signers if s != self._me), key=lambda member: sha256(salt, member.encode()))
        return tuple(ranked[: 1 if fetch.attempt == 1 else SIGNERS_PER_RETRY])
