"""Verification of certificates before use (protocol.md section 0), each signature and certificate at most once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Generic, TypeAlias, TypeVar

from nodes.committee import Committee
from nodes.crypto import Domain, Verifier, certificate_fault, hex_of, signers_of
from nodes.messages import BlockCertificate, CommitCertificate, NodeId, TimeoutCertificate
from nodes.moonshot import rules
from nodes.moonshot.state import genesis_certificate
from nodes.remember import remembering

K = TypeVar("K")
V = TypeVar("V")
Certificate: TypeAlias = BlockCertificate | CommitCertificate | TimeoutCertificate


class Recent(Generic[K, V]):
    """A map of the last `limit` to 2*`limit` entries: two generations, the older one dropped when the newer is full."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._new: dict[K, V] = {}
        self._old: dict[K, V] = {}

    def get(self, key: K) -> V | None:
        value = self._new.get(key)
        return value if value is not None else self._old.get(key)

    def put(self, key: K, value: V) -> None:
        if len(self._new) >= self._limit:
            self._old, self._new = self._new, {}
        self._new[key] = value


class Certificates:
    """Says why a certificate is invalid, or None. Remembers the valid ones, so that each is checked once."""

    def __init__(self, committee: Committee, domain: Domain, verifier: Verifier) -> None:
        self._committee = committee
        self._domain = domain
        self._verifier = verifier
        self._whole = remembering(verifier).whole
        self._genesis = genesis_certificate(domain)
        self._valid: Recent[tuple[object, ...], Certificate] = Recent(64)

    def trust(self, certificate: Certificate) -> None:
        """Remember a certificate that was assembled here from verified signatures."""
        self._valid.put(_name(certificate), certificate)

    def _known(self, certificate: Certificate) -> bool:
        """Was this very certificate, all fields included, found valid before?"""
        if self._whole.get(certificate) is self._committee:  # by another node of this process
            return True
        known = self._valid.get(_name(certificate))
        return known is certificate or known == certificate

    def block_fault(self, certificate: BlockCertificate) -> str | None:
        """QC(kind, v, h): Q votes of one kind; at view 0 only the genesis certificate itself."""
        if certificate.view == 0:
            return None if certificate == self._genesis else "not the genesis certificate"
        if self._known(certificate):
            return None
        statement = self._domain.vote(certificate.kind, certificate.view, certificate.block)
        return self._quorum_fault(certificate, statement)

    def commit_fault(self, certificate: CommitCertificate) -> str | None:
        """CQC(v, h): Q commit votes."""
        if self._known(certificate):
            return None
        return self._quorum_fault(certificate, self._domain.commit(certificate.view, certificate.block))

    def timeout_fault(self, certificate: TimeoutCertificate) -> str | None:
        """TC(v): Q timeouts with signed lock views, whose maximum is that of the enclosed, valid certificate (1.2)."""
        if self._known(certificate):
            return None
        if not rules.well_formed(certificate.view, certificate.lock_views, certificate.high):
            return f"lock views do not fit a high certificate of view {certificate.high.view}"
        fault = self.block_fault(certificate.high)
        if fault:
            return f"high certificate: {fault}"
        statements = [self._domain.timeout(certificate.view, lock) for lock in certificate.lock_views]
        return self._quorum_fault(certificate, statements)

    def _quorum_fault(
        self,
        certificate: Certificate,
        statements: bytes | list[bytes],
    ) -> str | None:
        """Checks (1) to (4) of section 0."""
        if certificate.epoch != self._domain.epoch:
            return f"epoch {certificate.epoch}, here {self._domain.epoch}"
        fault = certificate_fault(
            self._committee.tribe,
            self._committee.keys,
            self._committee.quorum,
            certificate.signers,
            certificate.signatures,
            statements,
            self._verifier,
        )
        if fault is None:
            self.trust(certificate)
            self._whole.put(certificate, self._committee)
        return fault


def _name(certificate: Certificate) -> tuple[object, ...]:
    """What to look a certificate up by: short to hash, and rarely shared by two different valid ones."""
    if isinstance(certificate, TimeoutCertificate):
        return TimeoutCertificate, certificate.view, certificate.signers
    return type(certificate), certificate.view, certificate.block, certificate.signers


def traced(certificate: TimeoutCertificate, tribe: Sequence[NodeId]) -> dict[str, Any]:
    """The fields of the `timeout_certificate` event."""
    return {
        "view": certificate.view,
        "high_view": certificate.high.view,
        "high": certificate.high.block.hex(),
        "signers": list(signers_of(tribe, certificate.signers) or ()),
        "lock_views": list(certificate.lock_views),
        "signatures": hex_of(certificate.signatures),
    }
