"""xRBC under arbitrary orders, losses and hostile input: what must hold whatever arrives (protocol.md 2.3, 2.6)."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from nodes.committee import Committee
from nodes.crypto import signers_of
from nodes.messages import AvailabilityCertificate, AvailabilityVote, Batch, BatchMessage, Message, batch_id
from nodes.port import Available, Finalised, Propose, Stored
from nodes.records import BatchKeyRecord
from nodes.xrbc import tally as tally_module
from nodes.xrbc.check import availability_fault, facts_of, key_of
from nodes.xrbc.core import XrbcCore
from nodes.xrbc.make import make_batch, make_vote
from nodes.xrbc.tally import Tally
from tests.cores import VERIFIER, altered, appends, block_of, drive
from tests.driver import MS, Driver, domain_of, signer_of, small_config

CONFIG = small_config(5)
COMMITTEE = Committee(CONFIG)
DOMAIN = domain_of(CONFIG)
CLAN = COMMITTEE.clans[0]
BODIES = [appends(CONFIG, 1, start=i) for i in range(3)]


def batch(proposer: str, seq: int, variant: int) -> Batch:
    return make_batch(DOMAIN, signer_of(proposer), proposer, 0, seq, BODIES[variant], 0)[1]


BATCHES = {(p, s, v): batch(p, s, v) for p in ("n0", "n1") for s in range(2) for v in range(3)}
VOTES = {
    (key, voter): make_vote(DOMAIN, signer_of(voter), voter, b.header, batch_id(b.header))
    for key, b in BATCHES.items()
    for voter in CLAN
}
GOOD_VOTES = st.sampled_from([VOTES[name] for name in sorted(VOTES)])
FORGED_VOTES = st.builds(
    lambda vote, signature, ms: altered(vote, signature=signature * 64, created_ms=ms),
    GOOD_VOTES,
    st.sampled_from([b"\0", b"\1"]),
    st.integers(0, 1),
)


def lone(name: str = "n4") -> Driver:
    return drive(CONFIG, lambda me, c: XrbcCore(me, c, DOMAIN, signer_of(me), VERIFIER), [name])


@settings(max_examples=60, deadline=None)
@given(st.lists(st.one_of(GOOD_VOTES, GOOD_VOTES, FORGED_VOTES), max_size=60))
def test_a_certificate_exists_exactly_when_a_majority_voted(votes: list[AvailabilityVote]) -> None:
    """At most two votes a member and key count; forged ones never do; what is built is valid."""
    driver = lone()
    voters: dict[Any, set[str]] = {}
    spoken: dict[Any, list[Any]] = {}
    for vote in votes:
        driver.inject("n4", vote.voter, vote)
        genuine = VOTES.get(((vote.proposer, vote.seq, _variant(vote)), vote.voter)) == vote
        heard = spoken.setdefault((key_of(vote), vote.voter), [])
        if genuine and facts_of(vote) not in heard and len(heard) < 2:
            heard.append(facts_of(vote))
            voters.setdefault((key_of(vote), facts_of(vote)), set()).add(vote.voter)
    built = [n.certificate for _, _, n in driver.unrouted if isinstance(n, Available)]
    expected = {key for key, names in voters.items() if len(names) >= COMMITTEE.majority(0)}
    assert {(key_of(c), facts_of(c)) for c in built} == expected
    assert len(built) == len(expected)
    for certificate in built:
        assert availability_fault(certificate, COMMITTEE, DOMAIN, VERIFIER) is None
        assert set(signers_of(CLAN, certificate.signers) or ()) <= voters[key_of(certificate), facts_of(certificate)]
    guilty = {f["culprit"] for _, _, e, f in driver.trace if e == "accuse" and f["kind"] == "double-availability-vote"}
    assert guilty == {voter for (_, voter), heard in spoken.items() if len(heard) == 2}


def _variant(vote: AvailabilityVote) -> int:
    return next(v for v in range(3) if batch_id(BATCHES[vote.proposer, vote.seq, v].header) == vote.batch)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.one_of(st.sampled_from(sorted(BATCHES)), st.just("restart")), max_size=20))
def test_at_most_one_vote_per_key_across_restarts(history: list[Any]) -> None:
    driver = lone()
    votes: list[AvailabilityVote] = []

    def delay(src: str, dst: str, message: Message) -> None:
        if isinstance(message, AvailabilityVote):
            votes.append(message)

    driver.delay = delay
    driver._life.update(n0=0, n1=0)
    for item in history:
        if item == "restart":
            driver.crash("n4")
            driver.start("n4")
        else:
            driver.inject("n4", item[0], BatchMessage(BATCHES[item]))
    said: dict[Any, bytes] = {}
    for vote in votes:
        assert said.setdefault(key_of(vote), vote.batch) == vote.batch
    durable = {(r.clan, r.proposer, r.seq): r.batch for r in driver.logs["n4"] if isinstance(r, BatchKeyRecord)}
    assert said == durable


CERTIFICATE = AvailabilityCertificate(
    0, 0, *key_of(VOTES[("n0", 0, 0), "n0"]), *facts_of(VOTES[("n0", 0, 0), "n0"]), b"\x07",
    tuple(VOTES[("n0", 0, 0), f"n{i}"].signature for i in range(3)),
)  # fmt: skip
CHANGES = st.fixed_dictionaries(
    {},
    optional={
        "epoch": st.integers(0, 1),
        "cycle": st.integers(0, 1),
        "clan": st.integers(0, 2),
        "proposer": st.sampled_from(["n0", "n1", "g0", "x"]),
        "seq": st.integers(0, 2),
        "batch": st.sampled_from([CERTIFICATE.batch, bytes(32)]),
        "tx_count": st.integers(0, 2),
        "byte_length": st.integers(0, 300),
        "created_ms": st.integers(0, 2),
        "signers": st.binary(max_size=2),
        "signatures": st.lists(st.sampled_from([*CERTIFICATE.signatures, bytes(64)]), max_size=4).map(tuple),
    },
)


@settings(max_examples=100, deadline=None)
@given(CHANGES)
def test_no_altered_certificate_is_believed(changes: dict[str, Any]) -> None:
    certificate = altered(CERTIFICATE, **changes)
    driver = lone()
    driver.inject("n4", "n1", certificate)
    believed = [n for _, _, n in driver.unrouted if isinstance(n, Available)]
    assert bool(believed) == (certificate == CERTIFICATE)
    fault = driver.nodes["n4"].core.fault(block_of(CONFIG, 1, certificate), frozenset())
    assert (fault is None) == (certificate == CERTIFICATE)


@settings(max_examples=25, deadline=None)
@given(st.randoms(use_true_random=False), st.sampled_from([0.0, 0.3, 0.6]), st.integers(0, 2))
def test_every_certified_batch_reaches_the_whole_clan_after_the_network_heals(rng: Any, loss: float, dead: int) -> None:
    """Any loss before the heal; up to f_c members stop for good afterwards (claim daqc-availability)."""
    names = [*CLAN, "g0"]

    def make(me: str, committee: Committee) -> XrbcCore:
        return XrbcCore(me, committee, DOMAIN, None if me == "g0" else signer_of(me), VERIFIER)

    def lossy(src: str, dst: str, message: Message) -> int | None:
        return None if rng.random() < loss else rng.randrange(1, 40) * MS

    driver = drive(CONFIG, make, names, delay=lossy)
    for i, name in enumerate(("n0", "n1", "n2")):
        driver.submit(name, 0, Propose(BODIES[i]))
    driver.run(300)
    driver.delay = lambda src, dst, message: 10 * MS
    for name in ("n0", "n1")[:dead]:
        driver.crash(name)
    driver.run(8000)
    certificates = {n.certificate.batch: n.certificate for _, _, n in driver.unrouted if isinstance(n, Available)}
    assert dead or len(certificates) == 3
    ordered = block_of(CONFIG, 1, *(certificates[b] for b in sorted(certificates)))
    for name in sorted(driver.nodes):
        driver.submit(name, 0, Finalised(ordered))
    driver.run(60_000)
    held = {(who, batch_id(n.batch.header)) for _, who, n in driver.unrouted if isinstance(n, Stored)}
    holders = {b for _, b in held}
    assert holders >= set(certificates)
    assert {(name, b) for name in driver.nodes for b in certificates} <= held
    assert all(len(r) == len(set(r)) for r in _repeats(driver))


def _repeats(driver: Driver) -> list[list[bytes]]:
    return [
        [batch_id(n.batch.header) for _, who, n in driver.unrouted if who == name and isinstance(n, Stored)]
        for name in sorted(driver.nodes)
    ]


@settings(max_examples=20, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(CLAN), st.integers(0, 400), st.integers(0, 2)), max_size=200))
def test_memory_of_the_tally_is_bounded_by_the_voters(stream: list[tuple[str, int, int]]) -> None:
    class Anything:
        def verify(self, public_key: bytes, statement: bytes, signature: bytes) -> bool:
            return True

    limit, tally_module.OPEN_VOTES = tally_module.OPEN_VOTES, 8
    try:
        tally = Tally(COMMITTEE, DOMAIN, Anything())
        template = VOTES[("n0", 0, 0), "n0"]
        for voter, seq, variant in stream:
            tally.offer(altered(template, voter=voter, seq=seq, batch=bytes([variant]) * 32))
        assert all(len(mine) <= 8 for mine in tally._open.values())
        pending = sum(len(t) for slot in tally._slots.values() for t in slot.tallies.values())
        assert pending <= 8 * len(CLAN)
    finally:
        tally_module.OPEN_VOTES = limit
