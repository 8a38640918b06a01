"""GatewayCore: forwards and receipts, waiting, bounds."""

import nodes.gateway.core as gateway_core
import nodes.gateway.tracker as gateway_tracker
from nodes.gateway.tracker import Coverage
from nodes.messages import ForwardReceipt, block_hash, tx_id
from nodes.port import (
    Available,
    Emit,
    Expire,
    Finalised,
    Need,
    QueryBalance,
    QueryBlock,
    Receive,
    Send,
    SetTimer,
    Start,
    Stored,
    Submit,
)
from tests.driver import signer_of
from tests.gateway_kit import COMMITTEE, DOMAIN, RETRY, ROOT, A, B, Desk, kinds


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
