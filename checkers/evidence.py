"""Re-verification of signed evidence: statements, signatures, certificates (protocol.md section 0).

A statement is SHA-256 of msgpack(["moonquake/1", chain, epoch, cycle, kind, *fields]); signatures are Ed25519,
checked here with libsodium directly. Simulated runs may use the `ideal` scheme: a signature is BLAKE2b-512 of the
statement keyed with a seed, and run.json tells the seeds once the run is over.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

import msgspec
from nacl.exceptions import CryptoError
from nacl.signing import VerifyKey

from results.store import RunInfo

_pack = msgspec.msgpack.Encoder().encode

IDEAL = "ideal"  # the scheme of simulated runs
Holds: TypeAlias = Callable[[bytes, bytes, bytes], bool]  # public key, statement, signature


class EvidenceError(ValueError):
    """A record that an honest node would not have written so: nothing can be concluded from it."""


def sha256(*parts: bytes) -> bytes:
    """SHA-256 of the concatenation."""
    return hashlib.sha256(b"".join(parts)).digest()


def unhex(text: object, size: int, what: str) -> bytes:
    """The `size` bytes written as hex in `text`; raises EvidenceError naming `what`."""
    try:
        data = bytes.fromhex(text) if isinstance(text, str) else b""
    except ValueError:
        data = b""
    if len(data) != size:
        raise EvidenceError(
            f"{what} is {text!r:.80}, not {2 * size} hex digits; the trace is damaged or of another version"
        )
    return data


def signature_holds(public_key: bytes, statement: bytes, signature: bytes) -> bool:
    """Does the Ed25519 signature cover the statement?"""
    try:
        VerifyKey(public_key).verify(statement, signature)
    except (CryptoError, ValueError, TypeError):
        return False
    return True


class IdealScheme:
    """Signatures of simulated runs: one per statement and key, that only the key's seed gives."""

    def __init__(self, seeds: Mapping[str, str]) -> None:
        self._seeds = seeds
        self._known: dict[bytes, bytes] = {}  # public key -> its seed, b"" if the seed on record does not make it

    def __call__(self, public_key: bytes, statement: bytes, signature: bytes) -> bool:
        """Is it the one signature that the key's seed gives? False for a key whose seed does not make it."""
        seed = self._known.get(public_key)
        if seed is None:
            seed = self._known[public_key] = self._seed(public_key)
        return bool(seed) and hashlib.blake2b(statement, key=seed, digest_size=64).digest() == signature

    def _seed(self, public_key: bytes) -> bytes:
        try:
            seed = bytes.fromhex(self._seeds.get(public_key.hex(), ""))
        except ValueError:
            return b""
        return seed if len(seed) == 32 and sha256(b"moonquake/ideal/public", seed) == public_key else b""


def scheme_of(info: RunInfo) -> Holds:
    """How signatures of this run are checked. Raises EvidenceError for a scheme that nobody knows."""
    if info.scheme == "ed25519":
        return signature_holds
    if info.scheme == IDEAL and info.backend == "sim":
        return IdealScheme(info.ideal_seeds)
    raise EvidenceError(f"signature scheme {info.scheme!r} on backend {info.backend!r} cannot be checked")


def wallet_statement(chain: str, tx: bytes) -> bytes:
    """What a wallet signs: bound to the chain only."""
    return sha256(_pack(["moonquake/1", chain, "transaction", tx]))


class Notary:
    """Checks certificates of one run. Remembers every signature it has checked (55 us each)."""

    def __init__(self, info: RunInfo) -> None:
        self._head = ["moonquake/1", info.chain, info.epoch, info.cycle]
        self._keys = info.public_keys
        self.holds = scheme_of(info)
        self._known: dict[tuple[str, bytes, bytes], bool] = {}

    @property
    def verified(self) -> int:
        """Number of distinct signatures checked so far."""
        return len(self._known)

    def statement(self, kind: str, *fields: str | int | bytes) -> bytes:
        """The 32 bytes that are signed."""
        return sha256(_pack([*self._head, kind, *fields]))

    def signed(self, node: str, statement: bytes, signature: bytes) -> bool:
        """Did `node` sign the statement?"""
        key = (node, statement, signature)
        if key not in self._known:
            self._known[key] = self.holds(self.public_key(node), statement, signature)
        return self._known[key]

    def public_key(self, node: str) -> bytes:
        """The key of a node of this run, b"" if it has none."""
        return bytes.fromhex(self._keys.get(node, ""))

    def fault(
        self,
        members: Sequence[str],
        threshold: int,
        signers: Sequence[str],
        signatures: Sequence[str],
        statement: bytes,
    ) -> str | None:
        """Why a certificate is invalid, or None. Raises EvidenceError if signers and signatures do not pair up."""
        if len(signers) != len(signatures):
            raise EvidenceError(
                f"{len(signatures)} signatures for {len(signers)} signers; the trace must hold one each"
            )
        if len(set(signers)) != len(signers):
            return f"a signer is counted twice: {', '.join(signers)}"
        outsiders = sorted(set(signers) - set(members))
        if outsiders:
            return f"signed by {', '.join(outsiders)}, not a member of the committee"
        if len(signers) < threshold:
            return f"{len(signers)} signers where {threshold} are needed"
        for signer, signature in zip(signers, signatures, strict=True):
            if not self.signed(signer, statement, unhex(signature, 64, f"signature of {signer}")):
                return f"the signature of {signer} does not cover what was certified"
        return None
