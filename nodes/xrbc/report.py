"""Trace events of xRBC (their fields: results/trace.py) and accusations."""

from __future__ import annotations

import base64

import msgspec

from nodes.committee import Committee
from nodes.crypto import signers_of
from nodes.messages import AvailabilityCertificate, Batch, BatchHeader, NodeId, Wire
from nodes.port import Effect, Emit
from nodes.xrbc.check import Key, key_of

REMEMBERED = 1000


def batch_event(ident: bytes, header: BatchHeader, ids: tuple[bytes, ...]) -> Emit:
    """`batch`: the body is held here."""
    fields = _name(ident, header) | {"txs": [tx.hex() for tx in ids], "bytes": header.byte_length}
    return Emit("batch", fields)


def vote_event(ident: bytes, header: BatchHeader) -> Emit:
    """`availability_vote`."""
    return Emit("availability_vote", _name(ident, header))


def available_event(certificate: AvailabilityCertificate, committee: Committee) -> Emit:
    """`available`, with everything that is needed to verify the certificate again."""
    fields = {
        "created_ms": certificate.created_ms,
        "tx_count": certificate.tx_count,
        "byte_length": certificate.byte_length,
        "signers": list(signers_of(committee.clans[certificate.clan], certificate.signers) or ()),
        "signatures": [signature.hex() for signature in certificate.signatures],
    }
    return Emit("available", _name(certificate.batch, certificate) | fields)


def reject_event(sender: NodeId, reason: str) -> Emit:
    """`reject`: an input refused."""
    return Emit("reject", {"reason": reason, "sender": sender})


class Accusations:
    """Says each accusation once per kind, culprit and key, as far as is remembered."""

    def __init__(self) -> None:
        self._certified: dict[Key, AvailabilityCertificate] = {}  # the first for each key that is not final
        self._made: dict[tuple[str, NodeId, Key], None] = {}

    def make(self, culprit: NodeId, kind: str, key: Key, evidence: tuple[Wire, ...], out: list[Effect]) -> None:
        """Emit `accuse`; the evidence is a msgpack array of the signed objects, base64."""
        name = (kind, culprit, key)
        if name in self._made:
            return
        self._made[name] = None
        if len(self._made) > REMEMBERED:
            del self._made[next(iter(self._made))]
        proof = base64.b64encode(msgspec.msgpack.encode(evidence)).decode()
        out.append(Emit("accuse", {"culprit": culprit, "kind": kind, "evidence": proof}))

    def size(self) -> int:
        """How many accusations are remembered."""
        return len(self._made)

    def compare(self, certificate: AvailabilityCertificate, out: list[Effect]) -> None:
        """A valid certificate: against the first one under its key."""
        key = key_of(certificate)
        other = self._certified.setdefault(key, certificate)
        if other.batch != certificate.batch:
            self.make(certificate.proposer, "batch-equivocation", key, (other, certificate), out)

    def settle(self, key: Key) -> None:
        """A batch under this key is final, or none can be any more."""
        self._certified.pop(key, None)

    def second_batch(self, key: Key, first: Batch | None, second: Batch, out: list[Effect]) -> None:
        """The proposer signed two batches under one key; without the body of the first there is no proof."""
        if first is not None:
            headers = tuple(Batch(batch.header, (), batch.signature) for batch in (first, second))
            self.make(second.header.proposer, "batch-equivocation", key, headers, out)


def _name(ident: bytes, value: BatchHeader | AvailabilityCertificate) -> dict[str, object]:
    return {"batch": ident.hex(), "proposer": value.proposer, "clan": value.clan, "seq": value.seq}
