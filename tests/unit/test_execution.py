"""ExecutionCore: height order, restarts, lossy links."""

import base64

import msgspec

from nodes.committee import Committee
from nodes.crypto import Domain, Ed25519Verifier
from nodes.execution.core import HISTORY, ExecutionCore
from nodes.messages import Batch, StateCertificate, StateRequest, StateVote, block_hash, encode, tx_id
from nodes.port import (
    Emit,
    Expire,
    Finalised,
    Multicast,
    Need,
    Ordered,
    Persist,
    QueryBalance,
    Receive,
    Reply,
    Send,
    SetTimer,
    Start,
    StateCertified,
    Stored,
    Submit,
)
from nodes.records import RootRecord
from tests.chain import Chain, state_vote
from tests.driver import Driver, signer_of, small_config
from tests.execution_kit import COMMITTEE, DOMAIN, A, B, claim, core, emitted, feed, kinds, vote


class TestExecution:
    def test_block_with_its_body(self):
        chain, execution = Chain(COMMITTEE, DOMAIN), core()
        t = A.transfer(0, B.address, 5)
        batch, certificate = chain.batch(t)
        out = feed(execution, chain, (batch, certificate))
        identity = block_hash(chain.blocks[0])
        assert execution.executed == 1
        [ordered] = kinds(out, Ordered)
        assert (ordered.clan, ordered.height, ordered.block) == (0, 1, identity)
        assert ordered.applied == (tx_id(t),) and ordered.transactions == (t,)
        [body] = emitted(out, "body")
        assert body["batch"] == certificate.batch.hex()
        assert msgspec.msgpack.decode(base64.b64decode(body["data"]), type=Batch) == batch
        [execute] = emitted(out, "execute")
        assert execute["batches"] == [certificate.batch.hex()] and execute["void"] == []
        assert execute["applied"] == [tx_id(t).hex()] and execute["aborted"] == []
        assert execute["block"] == identity.hex() and execute["root"] == ordered.root.hex()

    def test_persist_comes_before_the_vote_leaves(self):
        chain, execution = Chain(COMMITTEE, DOMAIN), core()
        out = feed(execution, chain)
        [record] = kinds(out, Persist)
        sent = kinds(out, Multicast)
        assert isinstance(record.record, RootRecord)
        assert [m.group for m in sent] == ["clan:0", "gateways"]
        assert all(m.message == record.record.vote for m in sent)
        assert out.index(record) < min(map(out.index, sent))
        assert emitted(out, "state_vote")[0]["root"] == record.record.vote.root.hex()

    def test_an_observer_neither_signs_nor_persists(self):
        chain, execution = Chain(COMMITTEE, DOMAIN), core("g0", member=False)
        out = feed(execution, chain, chain.batch(A.transfer(0, B.address, 5)))
        assert kinds(out, Ordered) and emitted(out, "execute")
        assert not kinds(out, Persist) and not kinds(out, Multicast) and not emitted(out, "state_vote")

    def test_waits_for_bodies_and_keeps_the_order(self):
        chain, execution = Chain(COMMITTEE, DOMAIN), core()
        (b1, c1), (b2, c2) = chain.batch(A.transfer(0, B.address, 1)), chain.batch(A.transfer(1, B.address, 1))
        assert execution.notify(0, Finalised(chain.block(c1))) == [Need(c1)]
        assert execution.notify(0, Finalised(chain.block(c2))) == [Need(c2)]
        assert execution.notify(0, Finalised(chain.block())) == []
        assert execution.notify(0, Stored(b2)) == []
        out = execution.notify(0, Stored(b1))
        assert [o.height for o in kinds(out, Ordered)] == [1, 2, 3]
        assert all(len(o.applied) == 1 for o in kinds(out, Ordered)[:2])
        assert execution.executed == 3

    def test_finalised_twice_executes_once(self):
        chain, execution = Chain(COMMITTEE, DOMAIN), core()
        feed(execution, chain)
        assert execution.notify(0, Finalised(chain.blocks[0])) == []

    def test_a_gap_halts(self):
        chain, execution = Chain(COMMITTEE, DOMAIN), core()
        chain.block()
        out = execution.notify(0, Finalised(chain.block()))
        assert "follows 0" in emitted(out, "halt")[0]["reason"] and execution.halted

    def test_void_batch_is_named_and_not_executed(self):
        chain, execution = Chain(COMMITTEE, DOMAIN), core()
        good = chain.batch(A.transfer(0, B.address, 1), seq=0)
        twin = chain.batch(A.transfer(1, B.address, 1), seq=0)
        out = feed(execution, chain, good, twin)
        [execute] = emitted(out, "execute")
        assert (execute["batches"], execute["void"]) == ([good[1].batch.hex()], [twin[1].batch.hex()])
        assert len(execute["applied"]) == 1
        assert emitted(feed(execution, chain, twin), "execute")[0]["void"] == [twin[1].batch.hex()]

    def test_both_batches_of_a_key_under_eq_both(self):
        committee = Committee(small_config(n=4, accounts=4, equivocation="both"))
        chain, execution = Chain(committee, DOMAIN), core(committee=committee)
        one, two = chain.batch(A.transfer(0, B.address, 1), seq=0), chain.batch(A.transfer(1, B.address, 1), seq=0)
        out = feed(execution, chain, one, two)
        assert len(kinds(out, Ordered)[0].applied) == 2
        execution.notify(0, Finalised(chain.block(one[1])))
        out = execution.notify(0, Finalised(chain.block(one[1])))
        assert execution.executed == 1 and not kinds(out, Need)
        out = execution.notify(0, Stored(one[0]))
        assert [[r for _, r in o.aborted] for o in kinds(out, Ordered)] == [["duplicate"], ["duplicate"]]

    def test_other_clans_are_not_executed(self):
        committee = Committee(small_config(n=4, clans=2, accounts=8))
        chain, execution = Chain(committee, DOMAIN), core(committee=committee)
        out = execution.notify(0, Finalised(chain.block(chain.batch(proposer="n3")[1])))
        assert execution.executed == 1 and not kinds(out, Need)
        assert emitted(out, "execute")[0]["batches"] == []
        assert kinds(out, Multicast)[0].group == "clan:0"

    def test_too_new_is_reported(self):
        chain, execution = Chain(COMMITTEE, DOMAIN), core()
        t = A.transfer(1, B.address, 1)
        [ordered] = kinds(feed(execution, chain, chain.batch(t)), Ordered)
        assert ordered.aborted == ((tx_id(t), "too-new"),) and ordered.transactions == (t,)

    def test_members_of_one_clan_agree(self):
        chains = [Chain(COMMITTEE, DOMAIN), Chain(COMMITTEE, DOMAIN)]
        first, second = core("n0"), core("n1")
        for seq in range(5):
            outs = [
                feed(e, c, c.batch(A.transfer(seq, B.address, seq), B.transfer(seq, A.address, 1)))
                for e, c in zip((first, second), chains, strict=True)
            ]
            assert claim(outs[0]) == claim(outs[1])


class TestLossyLinks:
    def test_start_arms_the_timer(self):
        execution = ExecutionCore("n0", COMMITTEE, DOMAIN, 0, signer_of("n0"), Ed25519Verifier())
        assert execution.step(5, Start()) == [SetTimer("execution:0:retry", 5 + 1_000_000_000)]

    def test_retry_repeats_the_latest_vote_and_asks(self):
        chain, execution = Chain(COMMITTEE, DOMAIN), core()
        what = claim(feed(execution, chain))
        first = execution.step(1, Expire("execution:0:retry"))
        assert not kinds(first, Multicast) and kinds(first, SetTimer)
        feed(execution, chain)
        out = execution.step(2, Expire("execution:0:retry"))
        votes = [m.message for m in kinds(out, Multicast) if isinstance(m.message, StateVote)]
        assert [v.height for v in votes] == [2, 2]
        assert Multicast("clan:0", StateRequest(0, 1)) in out
        execution.step(3, vote("n1", 1, what))
        feed(execution, chain)
        assert execution.certified == 1

    def test_nothing_to_repeat_once_certified(self):
        chain, execution = Chain(COMMITTEE, DOMAIN), core()
        what = claim(feed(execution, chain))
        execution.step(1, Expire("execution:0:retry"))
        execution.step(1, vote("n1", 1, what))
        assert not kinds(execution.step(2, Expire("execution:0:retry")), Multicast)

    def test_requests_are_answered_with_certificate_or_vote(self):
        chain, execution = Chain(COMMITTEE, DOMAIN), core()
        what = claim(feed(execution, chain))
        [answer] = execution.step(0, Receive("g0", StateRequest(0, 1)))
        assert answer == Send("g0", state_vote(DOMAIN, 0, 1, what, "n0"))
        execution.step(0, vote("n1", 1, what))
        [answer] = execution.step(0, Receive("g0", StateRequest(0, 1)))
        assert isinstance(answer, Send) and isinstance(answer.message, StateCertificate)
        assert list(execution.step(0, Receive("g0", StateRequest(0, 2)))) == []
        assert list(execution.step(0, Receive("g0", StateRequest(1, 1)))) == []

    def test_a_clan_certifies_over_links_that_lose_two_thirds(self):
        def delay(src, dst, message):
            return None if driver.rng.random() < 0.66 else 10_000_000

        driver = Driver(COMMITTEE, lambda name: core(name, member=name != "g0"), [])
        names = ["n0", "n1", "n2", "n3", "g0"]
        driver = Driver(COMMITTEE, lambda name: core(name, member=name != "g0"), names, delay, seed=3)
        chains = {name: Chain(COMMITTEE, DOMAIN) for name in names}
        for round_ in range(6):
            for name in names:
                node = driver.nodes[name]
                block = chains[name].block()
                replay = type("Once", (), {"step": lambda self, now, e, n=node, b=block: n.notify(now, Finalised(b))})()
                driver.nodes[name] = replay
                driver.submit(name, 0, None)
                driver.nodes[name] = node
            driver.run(100 * (round_ + 1))
        driver.run(60_000, stop=lambda: all(n.certified == 6 for n in driver.nodes.values()))
        assert {n.certified for n in driver.nodes.values()} == {6}


class TestRestart:
    def test_replay_signs_and_traces_nothing_twice(self):
        chain, before = Chain(COMMITTEE, DOMAIN), core()
        pair = chain.batch(A.transfer(0, B.address, 5))
        out = [*feed(before, chain, pair), *feed(before, chain)]
        records = [e.record for e in kinds(out, Persist)]
        after = core(records=records)
        replay = [*after.notify(0, Stored(pair[0]))]
        for block in chain.blocks:
            replay += after.notify(0, Finalised(block))
        assert [o.root for o in kinds(replay, Ordered)] == [o.root for o in kinds(out, Ordered)]
        assert not kinds(replay, Emit) and not kinds(replay, Persist) and not kinds(replay, Multicast)
        fresh = feed(after, chain)
        assert emitted(fresh, "execute")[0]["height"] == 3 and kinds(fresh, Persist)
        what = claim(fresh)
        assert kinds(after.step(0, vote("n1", 3, what)), StateCertified)

    def test_a_replayed_vote_counts_and_is_repeated_when_uncertified(self):
        chain, before = Chain(COMMITTEE, DOMAIN), core()
        out = feed(before, chain)
        after = core(records=[e.record for e in kinds(out, Persist)])
        after.notify(0, Finalised(chain.blocks[0]))
        after.step(1, Expire("execution:0:retry"))
        sent = kinds(after.step(2, Expire("execution:0:retry")), Multicast)
        assert sent[0].message == kinds(out, Persist)[0].record.vote
        assert kinds(after.step(3, vote("n1", 1, claim(out))), StateCertified)

    def test_never_signs_another_root(self):
        other = state_vote(DOMAIN, 0, 1, (b"b" * 32, b"p" * 32, b"r" * 32), "n0")
        execution = core(records=[RootRecord(other)])
        out = execution.notify(0, Finalised(Chain(COMMITTEE, DOMAIN).block()))
        assert "earlier incarnation" in emitted(out, "halt")[0]["reason"]
        assert len(out) == 1 and execution.halted


class TestBalance:
    def ask(self, execution, address):
        [reply] = execution.step(0, Submit(7, QueryBalance(address)))
        assert isinstance(reply, Reply) and reply.request == 7
        return reply.value

    def test_only_certified_state_is_told(self):
        chain, execution = Chain(COMMITTEE, DOMAIN), core("g0", member=False)
        genesis = {"address": A.address.hex(), "balance": 1000, "seq": 0, "height": 0}
        assert self.ask(execution, A.address) == genesis
        claims = [claim(feed(execution, chain, chain.batch(A.transfer(s, B.address, 10)))) for s in range(3)]
        assert self.ask(execution, A.address) == genesis
        for voter in ("n1", "n2"):
            execution.step(0, vote(voter, 2, claims[1]))
        assert self.ask(execution, A.address) == {**genesis, "balance": 980, "seq": 2, "height": 2}
        assert self.ask(execution, B.address)["balance"] == 1020
        assert self.ask(execution, b"n" * 32) == {"address": "6e" * 32, "balance": 0, "seq": 0, "height": 2}

    def test_too_far_behind_is_an_honest_error(self):
        chain, execution = Chain(COMMITTEE, DOMAIN), core("g0", member=False)
        for _ in range(HISTORY + 1):
            execution.notify(0, Finalised(chain.block()))
        assert "heights behind" in self.ask(execution, A.address)["error"]

    def test_another_clans_account_is_left_to_its_core(self):
        committee = Committee(small_config(n=4, clans=2, accounts=4))
        cores = [core("g0", member=False, clan=c, committee=committee) for c in (0, 1)]
        replies = [c.step(0, Submit(1, QueryBalance(A.address))) for c in cores]
        assert sorted(len(r) for r in replies) == [0, 1]


def test_domain_of_another_chain_is_not_accepted():
    execution = core("g0", member=False)
    what = claim(feed(core("n1"), Chain(COMMITTEE, DOMAIN)))
    feed(execution, Chain(COMMITTEE, DOMAIN))
    alien = state_vote(Domain("other", 0, 0), 0, 1, what, "n1")
    assert emitted(execution.step(0, Receive("n1", alien)), "reject")


def test_same_events_same_effects():
    def run():
        chain, execution, out = Chain(COMMITTEE, DOMAIN), core(), []
        for seq in range(4):
            pairs = [chain.batch(w.transfer(seq, B.address, seq), proposer=p) for w, p in ((A, "n0"), (B, "n1"))]
            out += feed(execution, chain, *pairs)
        return out

    first, second = run(), run()
    assert first == second
    assert all(encode(m.message) for m in kinds(first, Multicast))
