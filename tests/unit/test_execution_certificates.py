"""ExecutionCore: state votes, certificates, contradictions."""

import msgspec
import pytest

from nodes.crypto import Ed25519Verifier
from nodes.execution.core import HISTORY, VOTE_WINDOW
from nodes.messages import StateRequest
from nodes.port import (
    Contradiction,
    Expire,
    Finalised,
    Ordered,
    Receive,
    StateCertified,
)
from tests.chain import Chain, state_certificate, state_vote
from tests.execution_kit import COMMITTEE, DOMAIN, claim, core, emitted, feed, kinds, vote


class TestCertificates:
    def test_m_equal_votes_certify(self):
        chain, execution = Chain(COMMITTEE, DOMAIN), core()
        what = claim(feed(execution, chain))
        out = execution.step(0, vote("n1", 1, what))  # M = 2 of 4, own vote included
        [notice] = kinds(out, StateCertified)
        [trace] = emitted(out, "state_certificate")
        assert trace["signers"] == ["n0", "n1"] and trace["root"] == what[2].hex() and trace["clan"] == 0
        assert [bytes.fromhex(s) for s in trace["signatures"]] == list(notice.certificate.signatures)
        assert execution.certified == 1
        assert list(execution.step(0, vote("n2", 1, what))) == []

    def test_an_observer_needs_m_votes(self):
        chain, execution = Chain(COMMITTEE, DOMAIN), core("g0", member=False)
        what = claim(feed(execution, chain))
        assert list(execution.step(0, vote("n3", 1, what))) == []
        assert list(execution.step(0, vote("n3", 1, what))) == []
        assert kinds(execution.step(0, vote("n1", 1, what)), StateCertified)

    def test_votes_may_come_before_the_block(self):
        source, execution = core("n1"), core("g0", member=False)
        what = claim(feed(source, Chain(COMMITTEE, DOMAIN)))
        execution.step(0, vote("n1", 1, what))
        assert kinds(execution.step(0, vote("n2", 1, what)), StateCertified)
        assert execution.certified == 0
        out = feed(execution, Chain(COMMITTEE, DOMAIN))
        assert execution.certified == 1 and not emitted(out, "state_certificate")

    def test_one_certificate_covers_all_below_and_ends_verification(self):
        class Counting(Ed25519Verifier):
            calls = 0

            def verify(self, public_key, statement, signature):
                self.calls += 1
                return super().verify(public_key, statement, signature)

        verifier = Counting()
        chain, execution = Chain(COMMITTEE, DOMAIN), core(verifier=verifier)
        claims = [claim(feed(execution, chain)) for _ in range(3)]
        execution.step(0, vote("n1", 3, claims[2]))
        assert (execution.certified, verifier.calls) == (3, 1)
        for height in (1, 2, 3):
            assert list(execution.step(0, vote("n2", height, claims[height - 1]))) == []
        assert verifier.calls == 1

    def test_equivocator_counts_once_per_claim_and_blocks_nobody(self):
        chain, execution = Chain(COMMITTEE, DOMAIN), core("g0", member=False)
        what = claim(feed(execution, chain))
        for n in (1, 2, 3):
            out = execution.step(0, vote("n3", 1, (*what[:2], bytes([n]) * 32)))
        assert "third claim" in emitted(out, "reject")[0]["reason"]
        execution.step(0, vote("n1", 1, what))
        assert kinds(execution.step(0, vote("n2", 1, what)), StateCertified)

    def test_bad_votes_are_rejected(self):
        chain, execution = Chain(COMMITTEE, DOMAIN), core("g0", member=False)
        what = claim(feed(execution, chain))
        forged = msgspec.structs.replace(state_vote(DOMAIN, 0, 1, what, "n1"), voter="n2")
        assert "bad signature" in emitted(execution.step(0, Receive("n1", forged)), "reject")[0]["reason"]
        stranger = state_vote(DOMAIN, 0, 1, what, "x1")
        assert "not in clan" in emitted(execution.step(0, Receive("x1", stranger)), "reject")[0]["reason"]
        far = state_vote(DOMAIN, 0, VOTE_WINDOW + 2, what, "n1")
        assert list(execution.step(0, Receive("n1", far))) == []
        assert list(execution.step(0, Receive("n1", msgspec.structs.replace(far, clan=1)))) == []

    def test_a_received_certificate(self):
        chain, execution = Chain(COMMITTEE, DOMAIN), core("g0", member=False)
        what = claim(feed(execution, chain))
        certificate = state_certificate(COMMITTEE, DOMAIN, 0, 1, what, ["n1", "n2"])
        out = execution.step(0, Receive("n1", certificate))
        assert kinds(out, StateCertified) == [StateCertified(certificate)] and execution.certified == 1
        assert list(execution.step(0, Receive("n2", certificate))) == []

    @pytest.mark.parametrize(
        ("change", "reason"),
        [
            ({"epoch": 9}, "epoch"),
            ({"signers": b"\x06\x00"}, "bitmap"),
            ({"signers": b"\x60"}, "bitmap"),
            ({"signers": b"\x0e"}, "2 signatures for 3"),
            ({"signers": b"\x02", "signatures": (bytes(64),)}, "threshold 2"),
            ({"root": b"x" * 32}, "bad signature"),
        ],
    )
    def test_invalid_certificates_are_rejected(self, change, reason):
        chain, execution = Chain(COMMITTEE, DOMAIN), core("g0", member=False)
        what = claim(feed(execution, chain))
        good = state_certificate(COMMITTEE, DOMAIN, 0, 1, what, ["n1", "n2"])
        out = execution.step(0, Receive("n1", msgspec.structs.replace(good, **change)))
        assert reason in emitted(out, "reject")[0]["reason"]
        assert execution.certified == 0 and not execution.halted

    def test_contradiction_halts_without_crashing(self):
        chain, execution = Chain(COMMITTEE, DOMAIN), core()
        what = claim(feed(execution, chain))
        false = (*what[:2], b"f" * 32)
        certificate = state_certificate(COMMITTEE, DOMAIN, 0, 1, false, ["n2", "n3"])
        out = execution.step(0, Receive("n3", certificate))
        assert kinds(out, Contradiction) == [Contradiction(certificate, what[2])]
        assert kinds(out, StateCertified) and emitted(out, "state_certificate")
        reason = emitted(out, "halt")[0]["reason"]
        assert reason == f"clan 0 certified root {'66' * 32} (own: {what[2].hex()}) at height 1"
        assert execution.halted and execution.certified == 0
        assert feed(execution, chain) == [] and execution.executed == 1
        assert list(execution.step(0, vote("n1", 1, what))) == []
        assert list(execution.step(0, Expire("execution:0:retry"))) == []
        assert execution.step(0, Receive("n1", StateRequest(0, 1)))

    def test_contradiction_about_the_block_alone_is_told_as_such(self):
        chain, execution = Chain(COMMITTEE, DOMAIN), core()
        what = claim(feed(execution, chain))
        forked = state_certificate(COMMITTEE, DOMAIN, 0, 1, (b"f" * 32, *what[1:]), ["n2", "n3"])
        reason = emitted(execution.step(0, Receive("n3", forked)), "halt")[0]["reason"]
        assert reason == f"clan 0 certified block {'66' * 32} (own: {what[0].hex()}) at height 1"

    def test_contradiction_by_votes_ahead_of_execution(self):
        execution = core("g0", member=False)
        what = claim(feed(core("n1"), Chain(COMMITTEE, DOMAIN)))
        false = (*what[:2], b"f" * 32)
        execution.step(0, vote("n2", 1, false))
        assert kinds(execution.step(0, vote("n3", 1, false)), StateCertified)
        out = feed(execution, Chain(COMMITTEE, DOMAIN))
        assert kinds(out, Ordered) and kinds(out, Contradiction) and execution.halted

    def test_late_false_certificate_below_the_certified_height(self):
        chain, execution = Chain(COMMITTEE, DOMAIN), core()
        claims = [claim(feed(execution, chain)) for _ in range(3)]
        execution.step(0, vote("n1", 3, claims[2]))
        true = state_certificate(COMMITTEE, DOMAIN, 0, 1, claims[0], ["n1", "n2"])
        assert list(execution.step(0, Receive("n2", true))) == []
        false = state_certificate(COMMITTEE, DOMAIN, 0, 1, (*claims[0][:2], b"f" * 32), ["n2", "n3"])
        assert kinds(execution.step(0, Receive("n2", false)), Contradiction)

    def test_history_is_bounded(self):
        chain, execution = Chain(COMMITTEE, DOMAIN), core("g0", member=False)
        for _ in range(HISTORY + 70):
            execution.notify(0, Finalised(chain.block()))
        assert len(execution._claims) <= HISTORY and len(execution._before) <= HISTORY
