"""The ideal scheme: nobody signs for another, and it can stand wherever Ed25519 stands."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodes.committee import Account, ClusterConfig, Committee, Member
from nodes.crypto import Domain, Ed25519Signer, Ed25519Verifier, Signer, Verifier
from nodes.ideal import IdealSigner, IdealVerifier
from nodes.messages import Transaction, tx_id
from nodes.port import AwaitStatus, SubmitTransaction
from nodes.supra import build
from nodes.wallet import Wallet
from tests.driver import Driver, domain_of, seed_of, small_config

SEEDS = [seed_of("a"), seed_of("b")]
seeds = st.binary(min_size=32, max_size=32)
statements = st.binary(max_size=64)


class TestScheme:
    @given(seeds, statements)
    def test_what_was_signed_is_accepted_again_and_again(self, seed: bytes, statement: bytes) -> None:
        signer, referee = IdealSigner(seed), IdealVerifier([seed])
        signature = signer.sign(statement)
        assert len(signature) == 64
        assert len(signer.public_key) == 32
        assert all(referee.verify(signer.public_key, statement, signature) for _ in range(3))

    @given(statements, st.integers(0, 511), st.booleans())
    def test_a_flipped_bit_is_refused(self, statement: bytes, bit: int, warm: bool) -> None:
        signer, referee = IdealSigner(SEEDS[0]), IdealVerifier(SEEDS)
        signature = signer.sign(statement)
        if warm:
            assert referee.verify(signer.public_key, statement, signature)
        flipped = bytearray(signature)
        flipped[bit // 8] ^= 1 << bit % 8
        assert not referee.verify(signer.public_key, statement, bytes(flipped))

    @given(statements, statements, st.booleans())
    def test_another_statement_or_key_is_refused(self, statement: bytes, other: bytes, warm: bool) -> None:
        signer, rival, referee = IdealSigner(SEEDS[0]), IdealSigner(SEEDS[1]), IdealVerifier(SEEDS)
        signature = signer.sign(statement)
        if warm:
            assert referee.verify(signer.public_key, statement, signature)
        assert referee.verify(signer.public_key, other, signature) == (other == statement)
        assert not referee.verify(rival.public_key, statement, signature)
        assert not referee.verify(IdealSigner(seed_of("stranger")).public_key, statement, signature)

    @pytest.mark.parametrize("signature", [b"", bytes(63), bytes(65), bytes(64), "x", None, [1], 5])
    @pytest.mark.parametrize("key", [b"", bytes(31), bytes(33), None, [], IdealSigner(SEEDS[0]).public_key])
    @pytest.mark.parametrize("statement", [b"", bytes(32), None, "text", 7])
    def test_rubbish_is_false_and_never_an_error(self, key: Any, statement: Any, signature: Any) -> None:
        assert IdealVerifier(SEEDS).verify(key, statement, signature) is False

    def test_a_truncated_or_longer_signature_is_refused_even_if_the_whole_one_is_known(self) -> None:
        signer, referee = IdealSigner(SEEDS[0]), IdealVerifier(SEEDS)
        signature = signer.sign(b"s")
        assert referee.verify(signer.public_key, b"s", signature)
        assert not referee.verify(signer.public_key, b"s", signature[:-1])
        assert not referee.verify(signer.public_key, b"s", signature + b"\0")

    def test_memory_is_bounded_and_forgetting_changes_no_answer(self) -> None:
        signer, referee = IdealSigner(SEEDS[0]), IdealVerifier(SEEDS, limit=4)
        signed = [(bytes([i]), signer.sign(bytes([i]))) for i in range(50)]
        for _ in range(2):
            for statement, signature in signed:
                assert referee.verify(signer.public_key, statement, signature)
                assert len(referee._young) + len(referee._old) <= 8
        assert not referee.verify(signer.public_key, signed[0][0], signed[1][1])

    @pytest.mark.parametrize("length", [0, 31, 33, 64])
    def test_a_seed_is_32_bytes_as_everywhere(self, length: int) -> None:
        with pytest.raises(ValueError, match=f"seed of {length} bytes"):
            IdealSigner(bytes(length))
        with pytest.raises(ValueError, match=f"seed of {length} bytes"):
            IdealVerifier([bytes(length)])

    @given(seeds, statements, statements)
    def test_it_answers_as_ed25519_does(self, seed: bytes, statement: bytes, other: bytes) -> None:
        schemes: list[tuple[Signer, Verifier]] = [
            (IdealSigner(seed), IdealVerifier([seed])),
            (Ed25519Signer(seed), Ed25519Verifier()),
        ]
        answers = []
        for signer, verifier in schemes:
            key, signature = signer.public_key, signer.sign(statement)
            assert signature == signer.sign(statement)
            answers.append(
                [
                    (len(key), len(signature)),
                    verifier.verify(key, statement, signature),
                    verifier.verify(key, other, signature),
                    verifier.verify(key, statement, signature[::-1]),
                    verifier.verify(key[::-1], statement, signature),
                ]
            )
        assert answers[0] == answers[1]


def ideal(config: ClusterConfig) -> ClusterConfig:
    """The test cluster with the ideal keys of the same seeds."""

    def member(old: Member) -> Member:
        return Member(old.id, IdealSigner(seed_of(old.id)).public_key.hex())

    accounts = (IdealSigner(seed_of(f"acct{i}")).public_key.hex() for i in range(len(config.accounts)))
    return msgspec.structs.replace(
        config,
        tribe=tuple(map(member, config.tribe)),
        gateways=tuple(map(member, config.gateways)),
        accounts=tuple(Account(address, 1000) for address in accounts),
    )


class TestCluster:
    """Whole nodes whose referee knows nodes and wallets."""

    def cluster(self) -> tuple[Driver, Domain]:
        config = ideal(small_config())
        names = [m.id for m in (*config.tribe, *config.gateways)]
        known = [*names, *(f"acct{i}" for i in range(len(config.accounts)))]
        referee = IdealVerifier(map(seed_of, known))
        driver = Driver(Committee(config), lambda name: build(name, config, IdealSigner(seed_of(name)), referee), names)
        return driver, domain_of(config)

    def outcome(self, driver: Driver, transaction: Transaction) -> Any:
        driver.submit("g0", 0, SubmitTransaction(transaction))
        driver.submit("g0", 1, AwaitStatus(tx_id(transaction), "exec"))
        driver.run(5000)
        return next((value for _, request, value in driver.replies if request == 1), None)

    def test_a_wallets_transaction_is_executed(self) -> None:
        driver, domain = self.cluster()
        wallet = Wallet(IdealSigner(seed_of("acct0")), domain)
        status = self.outcome(driver, wallet.list_append(0, [["append", 1, 5], ["r", 1, None]]))
        assert status["outcome"] == "applied"
        assert status["reads"] == [[5]]

    def test_a_transaction_with_anothers_signature_is_not(self) -> None:
        driver, domain = self.cluster()
        stolen = Wallet(IdealSigner(seed_of("acct0")), domain).list_append(0, [["append", 1, 5]])
        forged = msgspec.structs.replace(stolen, sender=IdealSigner(seed_of("acct1")).public_key)
        driver.submit("g0", 0, SubmitTransaction(forged))
        driver.run(2000)
        assert [value["accepted"] for _, _, value in driver.replies] == [False]
        assert not [event for event in driver.trace if event[2] == "gateway"]
