"""Two implementations of one text: the checkers' arithmetic, hashes and ledger, and the nodes', agree."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from checkers import arithmetic, encoding, ledger
from checkers.evidence import Notary, sha256, wallet_statement
from checkers.registry import judge
from nodes import committee
from nodes.committee import Committee, list_shard
from nodes.crypto import Domain, Ed25519Verifier
from nodes.execution.ledger import Ledger
from nodes.execution.ordering import permute
from nodes.messages import (
    Append,
    Batch,
    BatchHeader,
    Read,
    Transaction,
    Transfer,
    batch_id,
    encode,
    tx_id,
    tx_root,
)
from results.verdict import Status
from tests.driver import domain_of, signer_of, small_config
from tests.golden.plants import signer_counted_twice
from tests.golden.world import World
from tests.runs import small_info

PEOPLE = ("acct0", "acct1", "acct2", "acct3", "stranger")
WORLDS = {clans: small_config(n=4 * clans, clans=clans, gateways=1, accounts=4) for clans in (1, 2)}


@pytest.mark.parametrize("name", ["tribe_faults", "tribe_quorum", "clan_faults", "clan_majority"])
def test_thresholds(name: str) -> None:
    mine, theirs = getattr(arithmetic, name), getattr(committee, name)
    assert [mine(n) for n in range(1, 401)] == [theirs(n) for n in range(1, 401)]


def test_thresholds_mean_what_they_are_for() -> None:
    for n in range(1, 401):
        f, q = arithmetic.tribe_faults(n), arithmetic.tribe_quorum(n)
        assert 3 * f + 1 <= n < 3 * (f + 1) + 1  # f is the bound
        assert 2 * q - n > f and q <= n - f  # quorums share an honest node; the honest alone are one
        assert 2 * (q - 1) - n <= f  # and none smaller does
        c, m = arithmetic.clan_faults(n), arithmetic.clan_majority(n)
        assert m > c and m <= n - c and n <= 2 * c + 2


def test_a_wrong_threshold_of_the_system_does_not_reach_its_judges(monkeypatch: pytest.MonkeyPatch) -> None:
    """I12: were the oracle to ask the system what a quorum is, an undersigned certificate would pass."""
    world = World(plan=(1, 1, 0), seed=0)
    story = world.story().copy()
    for event in story.events("certify"):
        event["signers"], event["signatures"] = event["signers"][:2], event["signatures"][:2]
    monkeypatch.setattr(committee, "tribe_quorum", lambda n: 2)
    monkeypatch.setattr(committee, "tribe_faults", lambda n: 0)
    (verdict,) = judge(story.run(), ["fork"])
    assert verdict.status is Status.FAIL and {a.kind for a in verdict.anomalies} == {"invalid-certificate"}
    again = world.story().copy()
    signer_counted_twice(world, again)
    assert judge(again.run(), ["fork"])[0].status is Status.FAIL


# ---------------------------------------------------------------- encodings
def _operations() -> st.SearchStrategy[tuple[Any, ...]]:
    keys = [signer_of(name).public_key for name in PEOPLE]
    transfer = st.builds(Transfer, st.sampled_from(keys), st.integers(0, 1500))
    lists = st.one_of(st.builds(Append, st.integers(0, 9), st.integers(-9, 9)), st.builds(Read, st.integers(0, 9)))
    return st.lists(st.one_of(transfer, lists), min_size=1, max_size=3).map(tuple)


@st.composite
def transactions(draw: st.DrawFn, clans: int) -> Transaction:
    signer = signer_of(draw(st.sampled_from(PEOPLE)))
    chain = draw(st.sampled_from(["test"] * 9 + ["other"]))
    raw = Transaction(
        chain, signer.public_key, draw(st.integers(0, 4)), draw(st.integers(0, 9)), draw(_operations()),
        draw(st.binary(max_size=3)), bytes(64),
    )  # fmt: skip
    domain = domain_of(WORLDS[clans])
    if draw(st.integers(0, 9)):
        statement = Domain(chain, domain.epoch, domain.cycle).transaction(tx_id(raw))
        return replace(raw, signature=signer.sign(statement))
    return raw  # one in ten is forged


def _decoded(transaction: Transaction) -> encoding.Tx:
    return encoding.transaction(encoding._unpack(encode(transaction)))


@settings(max_examples=60, deadline=None)
@given(st.lists(transactions(1), max_size=5), st.integers(0, 9), st.integers(0, 10**6))
def test_batches_and_transactions_hash_alike(txs: list[Transaction], seq: int, created: int) -> None:
    header = BatchHeader("test", 0, 0, 0, "n1", seq, tx_root(tuple(txs)), len(txs), 77, created)
    body = encoding.body(encode(Batch(header, tuple(txs), bytes(64))))
    assert body.id == batch_id(header).hex()
    assert [tx.raw for tx in body.txs] == [tx_id(t) for t in txs]
    assert (body.clan, body.proposer, body.seq, body.created_ms) == (0, "n1", seq, created)


@settings(max_examples=60, deadline=None)
@given(st.lists(transactions(1), max_size=8, unique_by=tx_id), st.binary(min_size=32, max_size=32))
def test_blocks_are_permuted_alike(txs: list[Transaction], block: bytes) -> None:
    theirs = [tx for tx, _ in permute(block, [(tx_id(t), t) for t in txs])]
    assert [tx.raw for tx in ledger.permuted([_decoded(t) for t in txs], block)] == theirs


def test_statements_are_signed_alike() -> None:
    info = small_info(chain="test", epoch=3, cycle=2)
    notary, domain, block = Notary(info), Domain("test", 3, 2), sha256(b"block")
    assert notary.statement("vote", "normal", 7, block) == domain.vote("normal", 7, block)
    assert notary.statement("commit", 7, block) == domain.commit(7, block)
    assert notary.statement("root", 1, 7, block, bytes(32), block) == domain.root(1, 7, block, bytes(32), block)
    facts = (1, "n4", 9, block, 3, 456, 789)
    assert notary.statement("available", *facts) == domain.available(*facts)
    assert wallet_statement("test", block) == domain.transaction(block)


@pytest.mark.parametrize("clans", [1, 2, 5, 16])
def test_shards_belong_to_the_same_clan(clans: int) -> None:
    config = small_config(n=3 * clans, clans=clans, gateways=1, accounts=4)
    theirs = Committee(config)
    for key in range(64):
        assert ledger.clan_of_list(key, clans) == theirs.clan_of_key(list_shard(key))
        address = sha256(key.to_bytes(2, "big"))
        assert ledger.clan_of(address, clans) == theirs.clan_of_key(address)


# ---------------------------------------------------------------- ledger
@pytest.mark.parametrize("clans", [1, 2])
def test_random_blocks_execute_alike(clans: int) -> None:
    config = WORLDS[clans]
    theirs_of = Committee(config)
    genesis = {account.address: account.balance for account in config.accounts}

    @settings(max_examples=40, deadline=None)
    @given(st.lists(st.lists(transactions(clans), max_size=6), min_size=1, max_size=4))
    def same(blocks: list[list[Transaction]]) -> None:
        for clan in range(clans):
            mine = ledger.Ledger(clan, clans, "test", genesis)
            theirs = Ledger(theirs_of, domain_of(config), clan, Ed25519Verifier())
            root = mine.genesis_root
            for height, txs in enumerate(blocks, 1):
                outcome = theirs.execute(height, [(tx_id(t), t) for t in txs])
                results = [(tx, *mine.execute(tx, height)) for tx in map(_decoded, txs)]
                assert [tx.raw for tx, reason, _ in results if not reason] == list(outcome.applied)
                assert [(tx.raw, reason) for tx, reason, _ in results if reason] == list(outcome.aborted)
                assert outcome.previous_root == root
                root = mine.root(root)
                assert outcome.root == root and theirs.total() == mine.total()
                seen = {tx.raw: reads for tx, reason, reads in results if not reason and reads}
                assert seen == {tx: tuple(map(tuple, r)) for tx, r in outcome.reads.items() if r}

    same()
