"""The signature memory believes nothing that the real verifier would not."""

from __future__ import annotations

from nodes.crypto import Ed25519Verifier
from nodes.remember import RememberingSigner, RememberingVerifier
from tests.driver import signer_of

STATEMENT = bytes(32)


class Counting:
    def __init__(self) -> None:
        self.calls = 0

    def verify(self, public_key: bytes, statement: bytes, signature: bytes) -> bool:
        self.calls += 1
        return Ed25519Verifier().verify(public_key, statement, signature)


def test_a_good_signature_is_checked_once_and_a_bad_one_every_time() -> None:
    counting = Counting()
    verifier, signer = RememberingVerifier(counting), signer_of("n0")
    good = signer.sign(STATEMENT)
    assert all(verifier.verify(signer.public_key, STATEMENT, good) for _ in range(3))
    assert counting.calls == 1
    assert not any(verifier.verify(signer.public_key, STATEMENT, bytes(64)) for _ in range(3))
    assert counting.calls == 4


def test_the_same_bytes_split_elsewhere_are_not_believed() -> None:
    verifier, signer = RememberingVerifier(Counting()), signer_of("n0")
    good = signer.sign(STATEMENT)
    assert verifier.verify(signer.public_key, STATEMENT, good)
    whole = signer.public_key + STATEMENT + good
    assert not verifier.verify(whole[:31], whole[31:64], whole[64:])
    assert not verifier.verify(whole[:32], whole[32:63], whole[63:])


def test_other_key_or_statement_is_another_question() -> None:
    verifier, signer = RememberingVerifier(Counting()), signer_of("n0")
    good = signer.sign(STATEMENT)
    assert verifier.verify(signer.public_key, STATEMENT, good)
    assert not verifier.verify(signer_of("n1").public_key, STATEMENT, good)
    assert not verifier.verify(signer.public_key, b"\1" * 32, good)


def test_memory_is_bounded_and_the_recent_stays() -> None:
    counting = Counting()
    verifier, signer = RememberingVerifier(counting, limit=2), signer_of("n0")
    signed = [(bytes([i]) * 32, signer.sign(bytes([i]) * 32)) for i in range(6)]
    for statement, signature in signed:
        assert verifier.verify(signer.public_key, statement, signature)
    assert counting.calls == 6
    assert verifier.verify(signer.public_key, *signed[-1]) and counting.calls == 6
    assert verifier.verify(signer.public_key, *signed[0]) and counting.calls == 7


def test_a_look_at_many_believes_only_what_was_verified_for_that_key_and_statement() -> None:
    verifier = RememberingVerifier(Counting())
    signers = [signer_of(f"n{i}") for i in range(4)]
    keys = [signer.public_key for signer in signers]
    signatures = [signer.sign(STATEMENT) for signer in signers]
    assert not verifier.knows(keys, STATEMENT, signatures)
    for key, signature in zip(keys, signatures, strict=True):
        assert verifier.verify(key, STATEMENT, signature)
    assert verifier.knows(keys, STATEMENT, signatures)
    assert not verifier.knows(keys[::-1], STATEMENT, signatures)
    assert not verifier.knows(keys, b"\1" * 32, signatures)
    assert not verifier.knows(keys, STATEMENT, [*signatures[:3], bytes(64)])
    assert not verifier.knows(keys[:3], STATEMENT, signatures)


def test_own_signatures_cost_nothing() -> None:
    counting = Counting()
    verifier = RememberingVerifier(counting)
    signer = RememberingSigner(signer_of("n0"), verifier)
    assert verifier.verify(signer.public_key, STATEMENT, signer.sign(STATEMENT))
    assert counting.calls == 0
