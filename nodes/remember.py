"""Remembers good signatures, so that one node pays for each only once.

The same signature is met in a vote, in the certificate built from it, in a block that carries the certificate and in a
repeat of any of these. Only successes are remembered, by statement and signature, with the key that it belongs to; so a
hit proves what the verifier proved. Memory is bounded: two generations of `limit` entries, the older one is
forgotten.
"""

from __future__ import annotations

from collections.abc import Iterable

from nodes.byobject import ByObject
from nodes.crypto import Signer, Verifier


class RememberingVerifier:
    """A Verifier that asks the wrapped one at most once for each good signature it still remembers.

    `whole` remembers objects whose signatures were all good, with the committee that they were held against.
    """

    def __init__(self, verifier: Verifier, limit: int = 20_000) -> None:
        self._verifier = verifier
        self._limit = limit
        self._count = 0  # in the younger generation
        self._young: dict[bytes, dict[bytes, bytes]] = {}  # statement -> signature -> key: those of one stay together
        self._old: dict[bytes, dict[bytes, bytes]] = {}
        self.whole: ByObject[object] = ByObject(4096)

    def verify(self, public_key: bytes, statement: bytes, signature: bytes) -> bool:
        for generation in (self._young, self._old):
            known = generation.get(statement)
            if known is not None and known.get(signature) == public_key:
                return True
        if not self._verifier.verify(public_key, statement, signature):
            return False
        self.add(public_key, statement, signature)
        return True

    def knows(self, public_keys: list[bytes], statement: bytes, signatures: Iterable[bytes]) -> bool:
        """Are all these signatures of one statement good, and seen not long ago? False says nothing: `verify` them.

        A certificate's signatures have mostly come as votes before.
        """
        known = self._young.get(statement)
        return known is not None and list(map(known.get, signatures)) == public_keys

    def add(self, public_key: bytes, statement: bytes, signature: bytes) -> None:
        """Remember a signature that is known to be good (one's own)."""
        if self._count >= self._limit:
            self._old, self._young, self._count = self._young, {}, 0
        known = self._young.get(statement)
        if known is None:
            known = self._young[statement] = {}
        known[signature] = public_key
        self._count += 1


class RememberingSigner:
    """A Signer whose signatures the node's own verifier recognises for nothing."""

    def __init__(self, signer: Signer, verifier: RememberingVerifier) -> None:
        self._signer = signer
        self._verifier = verifier
        self._public = signer.public_key

    @property
    def public_key(self) -> bytes:
        return self._public

    def sign(self, statement: bytes) -> bytes:
        signature = self._signer.sign(statement)
        self._verifier.add(self._public, statement, signature)
        return signature


def remembering(verifier: Verifier) -> RememberingVerifier:
    """A verifier that remembers: `verifier` itself, if it does so already."""
    return verifier if isinstance(verifier, RememberingVerifier) else RememberingVerifier(verifier)


def noting(signer: Signer, verifier: RememberingVerifier) -> RememberingSigner:
    """A signer whose signatures `verifier` remembers: `signer` itself, if it is one."""
    if isinstance(signer, RememberingSigner):
        return signer
    return RememberingSigner(signer, verifier)
