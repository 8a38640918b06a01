"""Remembers good signatures, so that one node pays for each only once.

The same signature is met in a vote, in the certificate built from it, in a block that carries the certificate and in a
repeat of any of these. Only successes are remembered, by signature, with the key and the statement that it belongs to;
so a hit proves what the verifier proved. Memory is bounded: two generations of `limit` entries, the older one is
forgotten.
"""

from __future__ import annotations

from collections.abc import Iterable

from nodes.crypto import Signer, Verifier


class RememberingVerifier:
    """A Verifier that asks the wrapped one at most once for each good signature it still remembers."""

    def __init__(self, verifier: Verifier, limit: int = 20_000) -> None:
        self._verifier = verifier
        self._limit = limit
        self._young: dict[bytes, tuple[bytes, bytes]] = {}
        self._old: dict[bytes, tuple[bytes, bytes]] = {}

    def verify(self, public_key: bytes, statement: bytes, signature: bytes) -> bool:
        known = self._young.get(signature) or self._old.get(signature)
        if known is not None and known[1] == statement and known[0] == public_key:
            return True
        if not self._verifier.verify(public_key, statement, signature):
            return False
        self.add(public_key, statement, signature)
        return True

    def knows(self, public_keys: Iterable[bytes], statements: Iterable[bytes], signatures: Iterable[bytes]) -> bool:
        """Are all these good signatures that were seen not long ago? False says nothing: `verify` them.

        Most of a certificate's signatures have come as votes before; this look costs a tenth of one question each.
        """
        return list(map(self._young.get, signatures)) == list(zip(public_keys, statements, strict=False))

    def add(self, public_key: bytes, statement: bytes, signature: bytes) -> None:
        """Remember a signature that is known to be good (one's own)."""
        if len(self._young) >= self._limit:
            self._old, self._young = self._young, {}
        self._young[signature] = (public_key, statement)


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
