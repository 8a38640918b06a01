"""GatewayCore: the door, the finality phases, refusals."""

import msgspec
import pytest

import nodes.gateway.core as gateway_core
from nodes.committee import Committee, list_shard
from nodes.crypto import Domain, Ed25519Verifier
from nodes.messages import Append, Forward, Transfer, tx_id
from nodes.port import (
    Available,
    Contradiction,
    Emit,
    Finalised,
    Need,
    Send,
    StateCertified,
    Stored,
)
from nodes.wallet import Wallet
from tests.chain import state_certificate
from tests.driver import signer_of, small_config
from tests.gateway_kit import COMMITTEE, DOMAIN, FALSE, MS, ROOT, A, B, Desk, kinds


class TestDoor:
    def test_accepted_and_forwarded_to_the_family(self, desk):
        desk.now = 7 * MS
        t = A.transfer(0, B.address, 1)
        out, reply = desk.submit(t)
        assert reply == {"tx": tx_id(t).hex(), "accepted": True, "error": ""}
        family = COMMITTEE.family(tx_id(t), 0)
        sent = kinds(out, Send)
        assert [s.to for s in sent] == list(family)
        [message] = {id(s.message): s.message for s in sent}.values()
        assert isinstance(message, Forward) and message.transaction == t and message.sent_ms == 7
        statement = DOMAIN.forward(tx_id(t), "g0", 7)
        assert Ed25519Verifier().verify(COMMITTEE.keys["g0"], statement, message.signature)
        [forward] = [e.fields for e in kinds(out, Emit) if e.event == "forward"]
        assert forward == {"tx": tx_id(t).hex(), "family": list(family), "attempt": 1}
        assert desk.events(t) == [{"tx": tx_id(t).hex(), "phase": "accepted", "root_ok": None, "height": 0, "clan": 0}]

    def test_a_known_transaction_is_accepted_but_not_forwarded_again(self, desk):
        t = A.transfer(0, B.address, 1)
        desk.submit(t)
        out, reply = desk.submit(t)
        assert reply["accepted"] and not kinds(out, Send) and not kinds(out, Emit)

    @pytest.mark.parametrize(
        ("transaction", "error"),
        [
            (Wallet(signer_of("acct0"), Domain("other", 0, 0)).transfer(0, B.address, 1), "wrong-chain"),
            (msgspec.structs.replace(A.transfer(0, B.address, 1), signature=bytes(64)), "bad-signature"),
            (A.transfer(0, B.address, 1, expiry_ms=5), "expired"),
        ],
    )
    def test_refused(self, desk, transaction, error):
        desk.now = 5 * MS
        out, reply = desk.submit(transaction)
        assert not reply["accepted"] and reply["error"].startswith(error)
        assert not kinds(out, Send) and not kinds(out, Emit)
        assert desk.status(tx_id(transaction)) == {"tx": tx_id(transaction).hex(), "phase": "unknown"}

    def test_a_good_copy_passes_after_a_refused_one(self, desk):
        t = A.transfer(0, B.address, 1)
        desk.submit(msgspec.structs.replace(t, signature=bytes(64)))
        assert desk.submit(t)[1]["accepted"]

    def test_too_large(self):
        desk = Desk(Committee(small_config(n=4, accounts=4, max_batch_bytes=500)))
        assert desk.submit(A.transfer(0, B.address, 1, padding=500))[1]["error"].startswith("too-large")
        assert desk.submit(A.transfer(0, B.address, 1, padding=10))[1]["accepted"]

    def test_foreign(self):
        committee = Committee(small_config(n=4, clans=2, accounts=8))
        desk = Desk(committee)
        home = committee.clan_of_key(A.address)
        key = next(k for k in range(99) if committee.clan_of_key(list_shard(k)) != home)
        out, reply = desk.submit(A.transaction(0, [Transfer(A.address, 1), Append(key, 1)]))
        assert reply["error"].startswith(f"foreign: touches list {key}")
        key = next(k for k in range(99) if committee.clan_of_key(list_shard(k)) == home)
        out, reply = desk.submit(A.transaction(0, [Append(key, 1)]))
        assert reply["accepted"] and {s.to for s in kinds(out, Send)} <= set(committee.clans[home])

    def test_full(self, desk, monkeypatch):
        monkeypatch.setattr(gateway_core, "MAX_PENDING", 2)
        assert [desk.submit(A.transfer(s, B.address, 1))[1]["accepted"] for s in range(3)] == [True, True, False]
        assert desk.submit(A.transfer(1, B.address, 1))[1]["accepted"]


class TestPhases:
    def test_the_whole_way(self, desk):
        t = A.transaction(0, [Append(1, 5)])
        batch, certificate = desk.chain.batch(t)
        desk.submit(t)
        desk.now = 1
        assert desk.say(Available(certificate)) == [Need(certificate)]
        desk.now = 2
        desk.say(Stored(batch))
        assert desk.phases(t) == ["accepted", "pre"]
        desk.now = 3
        block = desk.chain.block(certificate)
        desk.say(Finalised(block))
        assert desk.phases(t) == ["accepted", "pre", "ord"]
        desk.now = 4
        desk.ordered(1, [t], reads={tx_id(t): ((5,),)})
        assert desk.phases(t)[-1] == "ord"
        desk.now = 5
        desk.certify(1)
        assert desk.events(t)[-1] == {"tx": tx_id(t).hex(), "phase": "exec", "root_ok": True, "height": 1, "clan": 0}
        assert desk.status(tx_id(t)) == {
            "tx": tx_id(t).hex(),
            "phase": "exec",
            "phases": {"accepted": 0, "pre": 2, "ord": 3, "exec": 5},
            "outcome": "applied",
            "reason": "",
            "height": 1,
            "reads": [[5]],
        }

    def test_body_before_certificate(self, desk):
        t = A.transfer(0, B.address, 1)
        batch, certificate = desk.chain.batch(t)
        desk.submit(t)
        desk.say(Stored(batch))
        assert desk.phases(t) == ["accepted"]
        assert desk.say(Available(certificate)) and desk.phases(t) == ["accepted", "pre"]

    def test_overtaken_phases_are_told_with_the_next(self, desk):
        t = A.transfer(0, B.address, 1)
        batch, certificate = desk.chain.batch(t)
        desk.submit(t)
        desk.say(Finalised(desk.chain.block(certificate)))
        desk.now = 9
        desk.say(Stored(batch))
        assert desk.phases(t) == ["accepted", "pre", "ord"]
        u = A.transfer(1, B.address, 1)
        desk.submit(u)
        desk.ordered(1)
        desk.ordered(2, [u])
        desk.certify(2)
        assert desk.phases(u) == ["accepted", "pre", "ord", "exec"]

    def test_certificate_before_re_execution_and_above_the_height(self, desk):
        t = A.transfer(0, B.address, 1)
        desk.submit(t)
        desk.certify(3)
        desk.ordered(1, [t], root=b"1" * 32)
        desk.ordered(2, root=b"2" * 32)
        assert desk.phases(t) == ["accepted"]
        desk.ordered(3)
        assert desk.events(t)[-1]["phase"] == "exec" and desk.events(t)[-1]["height"] == 1

    def test_an_older_certificate_does_not_cover(self, desk):
        t = A.transfer(0, B.address, 1)
        desk.submit(t)
        desk.ordered(1)
        desk.ordered(2, [t])
        desk.certify(1)
        assert desk.status(tx_id(t))["phase"] == "accepted"

    def test_void_batch_orders_nothing(self, desk):
        t, u = A.transfer(0, B.address, 1), A.transfer(1, B.address, 1)
        (b1, c1), (b2, c2) = desk.chain.batch(t, seq=0), desk.chain.batch(u, seq=0)
        for transaction, batch in ((t, b1), (u, b2)):
            desk.submit(transaction)
            desk.say(Stored(batch))
        desk.say(Finalised(desk.chain.block(c1, c2)))
        assert desk.phases(t)[-1] == "ord" and desk.phases(u) == ["accepted"]

    def test_aborted_needs_the_root_too(self, desk):
        t = A.transfer(0, B.address, 5000)
        desk.submit(t)
        desk.ordered(1, aborted=[(t, "insufficient")])
        assert desk.phases(t) == ["accepted"]
        desk.certify(1)
        assert desk.events(t)[-1]["reason"] == "insufficient" and desk.events(t)[-1]["root_ok"] is True
        status = desk.status(tx_id(t))
        assert (status["phase"], status["outcome"], status["reason"]) == ("aborted", "aborted", "insufficient")

    def test_duplicate_after_being_applied_is_no_abort(self, desk):
        t = A.transfer(0, B.address, 1)
        desk.submit(t)
        desk.ordered(1, [t], [(t, "duplicate")])
        desk.ordered(2, aborted=[(t, "duplicate")])
        desk.certify(2)
        assert desk.phases(t)[-1] == "exec"

    def test_duplicate_that_was_never_applied_is_one(self, desk):
        t = A.transfer(0, B.address, 1)
        desk.submit(t)
        desk.ordered(1, aborted=[(t, "duplicate")])
        desk.certify(1)
        assert desk.phases(t)[-1] == "aborted"

    @pytest.mark.parametrize("reason", ["too-new", "invalid", "foreign"])
    def test_aborts_that_are_no_outcome(self, desk, reason):
        t = A.transfer(1, B.address, 1)
        desk.submit(t)
        desk.ordered(1, aborted=[(t, reason)])
        desk.ordered(2, [t])
        desk.certify(2)
        assert desk.phases(t)[-1] == "exec" and desk.events(t)[-1]["height"] == 2

    def test_what_another_gateway_had_ordered(self, desk):
        t = A.transfer(0, B.address, 1)
        batch, certificate = desk.chain.batch(t)
        desk.say(Stored(batch))
        desk.say(Finalised(desk.chain.block(certificate)))
        desk.ordered(1, [t])
        desk.certify(1)
        desk.now = 50
        out, reply = desk.submit(t)
        assert reply["accepted"] and not kinds(out, Send)
        assert desk.phases(t) == ["accepted", "pre", "ord", "exec"]
        assert set(desk.status(tx_id(t))["phases"].values()) == {50}

    def test_a_corrupted_copy_promises_nothing(self, desk):
        t = A.transfer(0, B.address, 1)
        batch, certificate = desk.chain.batch(msgspec.structs.replace(t, signature=bytes(64)))
        desk.say(Stored(batch))
        desk.submit(t)
        desk.say(Available(certificate))
        desk.say(Finalised(desk.chain.block(certificate)))
        assert desk.phases(t) == ["accepted"]

    def test_another_clans_batch_promises_nothing(self):
        committee = Committee(small_config(n=4, clans=2, accounts=8))
        desk = Desk(committee)
        home = committee.clan_of_key(A.address)
        t = A.transfer(0, A.address, 1)
        batch, certificate = desk.chain.batch(t, proposer=committee.clans[1 - home][0])
        desk.submit(t)
        desk.say(Stored(batch))
        desk.say(Finalised(desk.chain.block(certificate)))
        desk.ordered(1, [t], clan=1 - home)
        desk.certify(1, clan=1 - home)
        assert desk.phases(t) == ["accepted"]


class TestRefusal:
    def ordered_one(self, desk, seq=0):
        t = A.transfer(seq, B.address, 1)
        batch, certificate = desk.chain.batch(t)
        desk.submit(t)
        desk.say(Stored(batch))
        desk.say(Finalised(desk.chain.block(certificate)))
        return t

    def test_another_root_is_refused_for_good(self, desk):
        t = self.ordered_one(desk)
        desk.ordered(1, [t])
        desk.certify(1, FALSE)
        assert desk.events(t)[-1] == {
            "tx": tx_id(t).hex(),
            "phase": "refused",
            "root_ok": False,
            "height": 1,
            "clan": 0,
        }
        assert desk.status(tx_id(t))["outcome"] == "refused"
        desk.certify(1)
        desk.ordered(2)
        desk.certify(2)
        assert desk.phases(t)[-1] == "refused" and len(desk.phases(t)) == 4

    def test_covered_heights_stand(self, desk):
        t, u = self.ordered_one(desk), self.ordered_one(desk, 1)
        desk.ordered(1, [t])
        desk.certify(1)
        desk.ordered(2, [u], root=b"2" * 32)
        desk.certify(2, FALSE)
        assert (desk.phases(t)[-1], desk.phases(u)[-1]) == ("exec", "refused")

    def test_ordered_later_is_refused_when_ordered(self, desk):
        desk.say(Contradiction(state_certificate(COMMITTEE, DOMAIN, 0, 1, (ROOT, ROOT, FALSE), ["n0", "n1"]), ROOT))
        t = A.transfer(0, B.address, 1)
        batch, certificate = desk.chain.batch(t)
        assert desk.submit(t)[1]["accepted"]
        desk.say(Stored(batch))
        desk.say(Available(certificate))
        assert desk.phases(t) == ["accepted", "pre"]
        desk.say(Finalised(desk.chain.block(certificate)))
        assert desk.phases(t) == ["accepted", "pre", "ord", "refused"]

    def test_early_false_certificate(self, desk):
        t = self.ordered_one(desk)
        desk.certify(1, FALSE)
        assert desk.phases(t)[-1] == "ord"
        desk.ordered(1, [t])
        assert desk.phases(t)[-1] == "refused"

    def test_the_other_clan_goes_on(self):
        committee = Committee(small_config(n=4, clans=2, accounts=8))
        desk = Desk(committee)
        home = committee.clan_of_key(A.address)
        t = A.transfer(0, A.address, 1)
        desk.submit(t)
        desk.ordered(1, clan=1 - home)
        claim = (ROOT, ROOT, FALSE)
        desk.say(StateCertified(state_certificate(committee, DOMAIN, 1 - home, 1, claim, committee.clans[1 - home])))
        desk.ordered(1, [t], clan=home)
        true = state_certificate(committee, DOMAIN, home, 1, (ROOT, ROOT, ROOT), committee.clans[home])
        desk.say(StateCertified(true))
        assert desk.phases(t)[-1] == "exec"
