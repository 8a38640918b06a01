"""GatewayCore: the door, forwards and receipts, the finality phases, waiting, bounds."""

import msgspec
import pytest

import nodes.gateway.core as gateway_core
import nodes.gateway.tracker as gateway_tracker
from nodes.committee import Committee, list_shard
from nodes.crypto import Domain, Ed25519Verifier
from nodes.gateway.core import GatewayCore
from nodes.gateway.tracker import Coverage
from nodes.messages import Append, Forward, ForwardReceipt, Transfer, block_hash, tx_id
from nodes.port import (
    Available,
    AwaitStatus,
    Contradiction,
    Emit,
    Expire,
    Finalised,
    Need,
    Ordered,
    QueryBalance,
    QueryBlock,
    Receive,
    Reply,
    Send,
    SetTimer,
    Start,
    StateCertified,
    Stored,
    Submit,
    SubmitTransaction,
)
from nodes.wallet import Wallet
from tests.chain import Chain, state_certificate
from tests.driver import domain_of, signer_of, small_config

MS = 1_000_000
CONFIG = small_config(n=4, accounts=4)
COMMITTEE = Committee(CONFIG)
DOMAIN = domain_of(CONFIG)
A, B = (Wallet(signer_of(f"acct{i}"), DOMAIN) for i in (0, 1))
ROOT, FALSE = b"r" * 32, b"f" * 32
RETRY = 2 * CONFIG.parameters.inclusion_timeout_ms * MS


class Desk:
    """A gateway with a hand-made chain; `say` collects effects, `phases` the gateway events of a transaction."""

    def __init__(self, committee=COMMITTEE, **options):
        self.core = GatewayCore("g0", committee, DOMAIN, signer_of("g0"), Ed25519Verifier(), **options)
        self.committee = committee
        self.chain = Chain(committee, DOMAIN)
        self.effects = []
        self.now = 0
        self.request = 0

    def step(self, event):
        out = list(self.core.step(self.now, event))
        self.effects += out
        return out

    def say(self, notice):
        out = list(self.core.notify(self.now, notice))
        self.effects += out
        return out

    def submit(self, transaction):
        self.request += 1
        out = self.step(Submit(self.request, SubmitTransaction(transaction)))
        return out, next(e.value for e in out if isinstance(e, Reply) and e.request == self.request)

    def wait(self, tx, phase=""):
        self.request += 1
        self.step(Submit(self.request, AwaitStatus(tx, phase)))
        return self.request

    def answer(self, request):
        replies = [e.value for e in self.effects if isinstance(e, Reply) and e.request == request]
        assert len(replies) <= 1
        return replies[0] if replies else None

    def status(self, tx):
        return self.answer(self.wait(tx))

    def ordered(self, height, applied=(), aborted=(), root=ROOT, clan=0, reads=None):
        ids = tuple(tx_id(t) for t in applied)
        failed = tuple((tx_id(t), reason) for t, reason in aborted)
        return self.say(Ordered(clan, height, b"b" * 32, root, ids, failed, reads or {}, ()))

    def certify(self, height, root=ROOT, clan=0):
        claim = (b"b" * 32, b"p" * 32, root)
        return self.say(StateCertified(state_certificate(self.committee, DOMAIN, clan, height, claim, ["n0", "n1"])))

    def events(self, transaction):
        ident = tx_id(transaction).hex()
        return [
            e.fields for e in self.effects if isinstance(e, Emit) and e.event == "gateway" and e.fields["tx"] == ident
        ]

    def phases(self, transaction):
        return [e["phase"] for e in self.events(transaction)]


@pytest.fixture
def desk():
    return Desk()


def kinds(effects, kind):
    return [e for e in effects if isinstance(e, kind)]


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


class TestForwards:
    def test_forwarded_again_until_ordered(self, desk):
        t = A.transfer(0, B.address, 1)
        out, _ = desk.submit(t)
        assert kinds(out, SetTimer) == [SetTimer("gateway:retry", RETRY)]
        desk.now = RETRY
        out = desk.step(Expire("gateway:retry"))
        assert len(kinds(out, Send)) == len(COMMITTEE.family(tx_id(t), 0))
        assert kinds(out, SetTimer) == [SetTimer("gateway:retry", 2 * RETRY)]
        batch, certificate = desk.chain.batch(t)
        desk.say(Stored(batch))
        desk.say(Finalised(desk.chain.block(certificate)))
        desk.now = 2 * RETRY
        assert not kinds(desk.step(Expire("gateway:retry")), Send)

    def test_retries_are_bounded(self, desk):
        desk.submit(A.transfer(0, B.address, 1))
        for i in range(1, 30):
            desk.now = i * RETRY
            desk.step(Expire("gateway:retry"))
        forwards = [e for e in kinds(desk.effects, Emit) if e.event == "forward"]
        assert len(forwards) == gateway_core.MAX_FORWARDS

    def test_too_new_is_worth_another_forward(self, desk):
        t = A.transfer(1, B.address, 1)
        desk.submit(t)
        batch, certificate = desk.chain.batch(t)
        desk.say(Stored(batch))
        desk.say(Finalised(desk.chain.block(certificate)))
        desk.ordered(1, aborted=[(t, "too-new")])
        desk.now = RETRY
        assert kinds(desk.step(Expire("gateway:retry")), Send)
        assert desk.phases(t) == ["accepted", "pre", "ord"]

    def test_forgotten_long_after_expiry(self, desk):
        t = A.transfer(0, B.address, 1, expiry_ms=1000)
        desk.submit(t)
        request = desk.wait(tx_id(t), "exec")
        for i in range(1, 30):
            desk.now = i * RETRY
            desk.step(Expire("gateway:retry"))
        assert desk.answer(request)["phase"] == "accepted"
        assert desk.status(tx_id(t))["phase"] == "unknown"
        assert desk.core._store.pending == 0 and not desk.core._waiters

    def test_receipts_are_verified_and_kept(self, desk):
        t = A.transfer(0, B.address, 1)
        desk.submit(t)
        ident = tx_id(t)
        member = COMMITTEE.family(ident, 0)[0]
        outsider = next(n for n in COMMITTEE.tribe if n not in COMMITTEE.family(ident, 0))

        def receipt(who, signer):
            return ForwardReceipt(ident, who, 12, signer_of(signer).sign(DOMAIN.receipt(ident, who, 12)))

        [rejected] = desk.step(Receive(member, receipt(member, "n9")))[:1]
        assert rejected.event == "reject" and "bad signature" in rejected.fields["reason"]
        [rejected] = desk.step(Receive(outsider, receipt(outsider, outsider)))[:1]
        assert "not of the family" in rejected.fields["reason"]
        assert desk.core.receipts(ident) == ()
        desk.step(Receive(member, receipt(member, member)))
        desk.step(Receive(member, receipt(member, member)))
        assert desk.core.receipts(ident) == (receipt(member, member),)
        assert desk.step(Receive(member, ForwardReceipt(b"x" * 32, member, 1, bytes(64)))) == []


class TestQueries:
    def test_wait_is_answered_at_the_phase(self, desk):
        t = A.transfer(0, B.address, 1)
        batch, certificate = desk.chain.batch(t)
        desk.submit(t)
        pre, done = desk.wait(tx_id(t), "pre"), desk.wait(tx_id(t), "exec")
        assert desk.answer(pre) is None
        desk.say(Stored(batch))
        desk.say(Available(certificate))
        assert desk.answer(pre)["phase"] == "pre" and desk.answer(done) is None
        desk.ordered(1, [t])
        desk.certify(1)
        assert desk.answer(done)["outcome"] == "applied"
        assert not desk.core._waiters

    def test_an_abort_ends_the_wait(self, desk):
        t = A.transfer(0, B.address, 5000)
        desk.submit(t)
        request = desk.wait(tx_id(t), "exec")
        desk.ordered(1, aborted=[(t, "insufficient")])
        desk.certify(1)
        assert desk.answer(request)["phase"] == "aborted"

    def test_unknown_transaction_and_phase(self, desk):
        assert desk.status(b"x" * 32) == {"tx": "78" * 32, "phase": "unknown"}
        t = A.transfer(0, B.address, 1)
        desk.submit(t)
        assert "wait for one of aborted, accepted" in desk.answer(desk.wait(tx_id(t), "done"))["error"]

    def test_waiters_are_bounded_in_number_and_time(self, desk):
        t = A.transfer(0, B.address, 1)
        desk.submit(t)
        limit = gateway_core.MAX_WAITERS_PER_TRANSACTION
        requests = [desk.wait(tx_id(t), "exec") for _ in range(limit + 1)]
        assert [r for r in requests if desk.answer(r)] == requests[-1:]
        desk.now = gateway_core.MAX_WAIT_NS
        desk.step(Expire("gateway:retry"))
        assert all(desk.answer(r)["phase"] == "accepted" for r in requests)
        desk.ordered(1, [t])
        desk.certify(1)
        assert desk.phases(t)[-1] == "exec"

    def test_blocks(self, desk):
        _, certificate = desk.chain.batch(A.transfer(0, B.address, 1))
        block = desk.chain.block(certificate)
        desk.say(Finalised(block))
        desk.step(Submit(70, QueryBlock(1)))
        assert desk.answer(70) == {
            "height": 1,
            "block": block_hash(block).hex(),
            "view": 1,
            "parent": "00" * 32,
            "batches": [certificate.batch.hex()],
        }
        desk.step(Submit(71, QueryBlock(2)))
        assert "no block at height 2" in desk.answer(71)["error"]

    def test_what_concerns_others_is_ignored(self, desk):
        _, certificate = desk.chain.batch()
        assert desk.step(Start()) == [] and desk.step(Submit(1, QueryBalance(A.address))) == []
        assert desk.step(Expire("moonshot:view")) == [] and desk.say(Need(certificate)) == []
        assert desk.step(Receive("n0", certificate)) == []


class TestBounds:
    def test_finished_transactions_are_evicted_oldest_first(self):
        desk = Desk(keep=3)
        transactions = [A.transfer(seq, B.address, 1) for seq in range(5)]
        for height, t in enumerate(transactions, 1):
            desk.submit(t)
            desk.ordered(height, [t])
            desk.certify(height)
        assert [desk.status(tx_id(t))["phase"] for t in transactions] == ["unknown"] * 2 + ["exec"] * 3

    def test_transactions_only_seen_are_bounded(self):
        desk = Desk(keep=3)
        kept = A.transfer(0, B.address, 1)
        desk.submit(kept)
        for seq in range(20):
            desk.say(Stored(desk.chain.batch(A.transfer(seq, B.address, 1))[0]))
        assert len(desk.core._store._entries) == 4
        assert desk.status(tx_id(kept))["phase"] == "accepted"

    def test_batches_are_bounded(self, desk, monkeypatch):
        monkeypatch.setattr(gateway_tracker, "KEEP_BATCHES", 3)
        for seq in range(9):
            desk.say(Available(desk.chain.batch(A.transfer(seq, B.address, 1))[1]))
        assert len(desk.core._batches) == 3

    def test_coverage_is_bounded(self):
        coverage = Coverage(keep=10)
        for height in range(1, 50):
            coverage.certify(1000 + height, ROOT)
            coverage.execute(height, ROOT)
        assert len(coverage._roots) <= 10 and len(coverage._early) <= 10
        coverage.certify(49, ROOT)
        assert coverage.covered == 49 and not coverage.bad
