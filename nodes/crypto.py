"""Signatures: domain-separated statements, signers, verifiers, certificates as signature lists.

One scheme for the whole cluster, fixed in the genesis (two verifiers in one cluster can fork it). `ed25519` is the
scheme of the real backends (PyNaCl: strict, refuses small-order keys). Every statement binds chain, epoch, cycle and
the kind of what is signed (protocol.md section 0, 5.5 R8, 5.9 X1).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import compress
from typing import Protocol

import msgspec
from nacl.exceptions import BadSignatureError, CryptoError
from nacl.signing import SigningKey, VerifyKey

from nodes.byobject import ByObject
from nodes.messages import NodeId

_encoder = msgspec.msgpack.Encoder()


@lru_cache(maxsize=8_192, typed=True)  # typed: True and 1 are equal, but are encoded differently
def _statement(*body: str | int | bytes) -> bytes:
    """A node needs each statement several times: for its own signature, in its tally, in certificates."""
    return hashlib.sha256(_encoder.encode(body)).digest()


class Domain(msgspec.Struct, frozen=True):
    """What every signature of one chain, epoch and cycle is bound to."""

    chain: str
    epoch: int
    cycle: int

    def statement(self, kind: str, *fields: str | int | bytes) -> bytes:
        """SHA-256 of msgpack(["moonquake/1", chain, epoch, cycle, kind, *fields]): unambiguous, 32 bytes."""
        return _statement("moonquake/1", self.chain, self.epoch, self.cycle, kind, *fields)

    # One method a signed object: the only places where the fields under a signature are listed.
    def vote(self, kind: str, view: int, block: bytes) -> bytes:
        """VOTE(kind, v, h), kind in optimistic | normal | fallback: three different statements."""
        return self.statement("vote", kind, view, block)

    def commit(self, view: int, block: bytes) -> bytes:
        """CMT(v, h)."""
        return self.statement("commit", view, block)

    def timeout(self, view: int, lock_view: int) -> bytes:
        """TMO: covers (v, lock.view)."""
        return self.statement("timeout", view, lock_view)

    def proposal(self, kind: str, view: int, block: bytes) -> bytes:
        """The leader's signature on OPT, NRM or FBK (kind as for votes)."""
        return self.statement("proposal", kind, view, block)

    def batch(self, batch: bytes) -> bytes:
        """The batch proposer's signature on its header."""
        return self.statement("batch", batch)

    def available(self, clan: int, proposer: str, seq: int, batch: bytes, tx_count: int, size: int, ms: int) -> bytes:
        """AVOTE: K, batch id, and the header facts that the certificate repeats."""
        return self.statement("available", clan, proposer, seq, batch, tx_count, size, ms)

    def root(self, clan: int, height: int, block: bytes, previous_root: bytes, root: bytes) -> bytes:
        """SROOT."""
        return self.statement("root", clan, height, block, previous_root, root)

    def forward(self, tx: bytes, gateway: str, sent_ms: int) -> bytes:
        """A gateway's forward of a transaction."""
        return self.statement("forward", tx, gateway, sent_ms)

    def receipt(self, tx: bytes, member: str, received_ms: int) -> bytes:
        """A family member's receipt for a forward."""
        return self.statement("receipt", tx, member, received_ms)

    def transaction(self, tx: bytes) -> bytes:
        """The wallet's signature on a transaction id. Bound to the chain only: it outlives epochs and cycles."""
        return _statement("moonquake/1", self.chain, "transaction", tx)


class Signer(Protocol):
    """Holds one private key."""

    @property
    def public_key(self) -> bytes: ...

    def sign(self, statement: bytes) -> bytes:
        """64-byte signature over a 32-byte statement."""
        ...


class Verifier(Protocol):
    """Checks signatures by public key."""

    def verify(self, public_key: bytes, statement: bytes, signature: bytes) -> bool: ...


class Ed25519Signer:
    """PyNaCl Ed25519 key from a 32-byte seed."""

    def __init__(self, seed: bytes) -> None:
        self._key = SigningKey(seed)
        self._public = bytes(self._key.verify_key)

    @property
    def public_key(self) -> bytes:
        return self._public

    def sign(self, statement: bytes) -> bytes:
        return self._key.sign(statement).signature


class Ed25519Verifier:
    """Strict Ed25519 (libsodium). Keeps parsed keys; bounded by the number of distinct keys it is shown."""

    _LIMIT = 100_000

    def __init__(self) -> None:
        self._keys: dict[bytes, VerifyKey] = {}

    def verify(self, public_key: bytes, statement: bytes, signature: bytes) -> bool:
        key = self._keys.get(public_key)
        try:
            if key is None:
                key = VerifyKey(public_key)
                if len(self._keys) < self._LIMIT:
                    self._keys[public_key] = key
            key.verify(statement, signature)
        except (BadSignatureError, CryptoError, ValueError, TypeError):
            return False
        return True


# ---------------------------------------------------------------- certificates as bitmap + signature list
_FLAGS = tuple(bytes(byte >> bit & 1 for bit in range(8)) for byte in range(256))  # the bits of a byte, one byte each
_DIGITS = bytes.maketrans(b"\0\1", b"01")


_signers: ByObject[tuple[Sequence[NodeId], tuple[NodeId, ...]]] = ByObject(128)  # by bitmap: members, signers


def bitmap_of(members: Sequence[NodeId], signers: Iterable[NodeId]) -> bytes:
    """Bitmap over `members` (bit i of byte i//8, least significant first) with the bits of `signers` set."""
    return bitmap_of_flags(bytes(map(frozenset(signers).__contains__, members)))


def bitmap_of_flags(flags: bytes) -> bytes:
    """The bitmap of one byte, 0 or 1, a member."""
    return int(flags.translate(_DIGITS)[::-1], 2).to_bytes((len(flags) + 7) // 8, "little") if flags else b""


def signers_of(members: Sequence[NodeId], bitmap: bytes) -> tuple[NodeId, ...] | None:
    """Members whose bit is set, in committee order; None if the length is wrong or a bit lies outside (check 0.2)."""
    known = _signers.get(bitmap)
    if known is not None and known[0] is members:
        return known[1]
    if len(bitmap) != (len(members) + 7) // 8:
        return None
    if int.from_bytes(bitmap, "little") >> len(members):
        return None
    signers = tuple(compress(members, b"".join([_FLAGS[byte] for byte in bitmap])))
    _signers.put(bitmap, (members, signers))
    return signers


def assemble(
    members: Sequence[NodeId], signatures: dict[NodeId, bytes], weight: int
) -> tuple[bytes, tuple[bytes, ...]]:
    """(bitmap, signatures) of the first `weight` signers in committee order; the caller has checked each signature."""
    flags = bytes(map(signatures.__contains__, members))
    chosen = list(compress(members, flags))
    if len(chosen) > weight:
        chosen = chosen[:weight]
        flags = bytes(map(frozenset(chosen).__contains__, members))
    return bitmap_of_flags(flags), tuple(map(signatures.__getitem__, chosen))


_hex: dict[bytes, str] = {}
_HEX_KEPT = 8_192


def hex_of(signatures: Iterable[bytes]) -> list[str]:
    """Signatures as traces hold them. Many nodes of one process report the same ones: the strings are shared."""
    if len(_hex) >= _HEX_KEPT:
        _hex.clear()
    signatures = tuple(signatures)
    shared = list(map(_hex.get, signatures))
    if all(shared):
        return shared  # type: ignore[return-value]  # none is None
    return [_hex.get(signature) or _hex.setdefault(signature, signature.hex()) for signature in signatures]


def certificate_fault(
    members: Sequence[NodeId],
    keys: dict[NodeId, bytes],
    threshold: int,
    bitmap: bytes,
    signatures: Sequence[bytes],
    statements: bytes | Sequence[bytes],
    verifier: Verifier,
) -> str | None:
    """Why a signature-list certificate is invalid, or None. Checks (2) (3) (4) of protocol.md section 0, in that order.

    `statements` is the one statement that all signers signed, or one per signer (timeout certificates).
    """
    signers = signers_of(members, bitmap)
    if signers is None:
        return "bitmap does not fit the committee"
    if len(signatures) != len(signers):
        return f"{len(signatures)} signatures for {len(signers)} signers"
    if len(signers) < threshold:
        return f"{len(signers)} signers, threshold {threshold}"
    public_keys = list(map(keys.__getitem__, signers))
    if isinstance(statements, bytes):
        knows = getattr(verifier, "knows", None)  # nodes/remember.py: all at once, where they have been met as votes
        if knows is not None and knows(public_keys, statements, signatures):
            return None
        statements = [statements] * len(signers)
    if len(statements) != len(signers):
        return "one statement per signer is needed"
    verify = verifier.verify
    for signer, public_key, statement, signature in zip(signers, public_keys, statements, signatures, strict=True):
        if not verify(public_key, statement, signature):
            return f"bad signature of {signer}"
    return None
