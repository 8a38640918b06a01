"""The `ideal` signature scheme: signatures that cannot be forged, by construction rather than by a hard problem.

For simulation only, where every node lives in one process. A signature is a MAC under a seed that only the signer and
a referee hold; whoever has neither can do nothing but guess 64 bytes. Behaviours never get the referee. The real
backends know one scheme, Ed25519 (nodes/crypto.py).
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b, sha256

from nodes.remember import RememberingVerifier

SEED_BYTES = 32


def _public(seed: bytes) -> bytes:
    if len(seed) != SEED_BYTES:
        raise ValueError(f"a seed of {len(seed)} bytes; an ideal key is made from {SEED_BYTES}, as an Ed25519 one is")
    return sha256(b"moonquake/ideal/public" + seed).digest()


class IdealSigner:
    """One key from a 32-byte seed (ValueError otherwise): nodes.crypto.Signer, deterministic like Ed25519."""

    def __init__(self, seed: bytes) -> None:
        self._public = _public(seed)
        self._seed = seed

    @property
    def public_key(self) -> bytes:
        return self._public

    def sign(self, statement: bytes) -> bytes:
        """BLAKE2b-512 of the statement, keyed with the seed."""
        return blake2b(statement, key=self._seed, digest_size=64).digest()


class _Referee:
    """Recomputes signatures. Anything that is not bytes is no signature, no key and no statement."""

    def __init__(self, seeds: Iterable[bytes]) -> None:
        self._seeds = {_public(seed): seed for seed in seeds}

    def verify(self, public_key: bytes, statement: bytes, signature: bytes) -> bool:
        seed = self._seeds.get(public_key)
        return seed is not None and signature == blake2b(statement, key=seed, digest_size=64).digest()


class IdealVerifier(RememberingVerifier):
    """The referee: nodes.crypto.Verifier that knows the seed of every key of the cluster, wallets included.

    One instance serves all nodes, so that a signature is computed once and not once a node (nodes/remember.py).
    """

    def __init__(self, seeds: Iterable[bytes], limit: int = 50_000) -> None:
        super().__init__(_Referee(seeds), limit)

    def verify(self, public_key: bytes, statement: bytes, signature: bytes) -> bool:
        """Is this the one signature that the key's seed gives for the statement? Never raises, whatever it is given."""
        try:
            known = self._young.get(statement)  # first: nearly every question is a repeat
            if known is not None and known.get(signature) == public_key:
                return True
            return super().verify(public_key, statement, signature)
        except (TypeError, ValueError):  # not bytes
            return False
