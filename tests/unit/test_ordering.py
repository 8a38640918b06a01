"""Effective batches (EQ-FIRST, EQ-BOTH), the permutation of a block, ownership."""

import hashlib
from itertools import permutations

import pytest

from nodes.chainrules import EffectiveBatches, foreign_part
from nodes.committee import Committee, list_shard
from nodes.crypto import Domain
from nodes.execution.ordering import concatenate, permute
from nodes.messages import Append, AvailabilityCertificate, Batch, BatchHeader, Read, Transaction, Transfer, tx_id
from nodes.wallet import Wallet
from tests.driver import signer_of, small_config

DOMAIN = Domain("test", 0, 0)


def certificate(proposer="n0", seq=0, batch=b"b", clan=0) -> AvailabilityCertificate:
    return AvailabilityCertificate(0, 0, clan, proposer, seq, batch.ljust(32, b"."), 1, 100, 0, b"\x03", ())


def tx(name: str, seq: int, value: int = 0) -> tuple[bytes, Transaction]:
    transaction = Wallet(signer_of(name), DOMAIN).transaction(seq, [Append(1, value)])
    return tx_id(transaction), transaction


def test_first_of_a_key_wins_whatever_the_batch():
    batches = EffectiveBatches("first")
    one, two, other = certificate(batch=b"1"), certificate(batch=b"2"), certificate(proposer="n1", batch=b"3")
    assert batches.split([one, two, other]) == ((one, other), (two,))
    assert batches.split([two, certificate(seq=1)]) == ((certificate(seq=1),), (two,))
    assert batches.split([certificate(clan=1)]) == ((certificate(clan=1),), ())


def test_both_of_a_key_count_under_eq_both():
    batches = EffectiveBatches("both")
    one, two = certificate(batch=b"1"), certificate(batch=b"2")
    assert batches.split([one, two]) == ((one, two), ())


@pytest.mark.parametrize("order", list(permutations([0, 1, 2, 5])))
def test_runs_of_sequence_numbers_in_any_order(order):
    batches = EffectiveBatches("first")
    for seq in order:
        assert batches.split([certificate(seq=seq)])[0]
        assert batches.split([certificate(seq=seq)])[1]
    assert batches.split([certificate(seq=s) for s in (3, 4, 6)])[1] == ()
    assert batches.split([certificate(seq=s) for s in range(7)])[0] == ()


def test_concatenate_keeps_payload_order_and_copies():
    a, b = tx("a", 0), tx("b", 0)
    header = BatchHeader("test", 0, 0, 0, "n0", 0, bytes(32), 2, 0, 0)
    batches = [Batch(header, (a[1], b[1]), bytes(64)), Batch(header, (a[1],), bytes(64))]
    assert concatenate(batches) == [a, b, a]


def test_permutation_follows_the_text():
    block = b"\x07" * 32
    txs = [tx(f"w{i}", 0, i) for i in range(20)]
    seed = hashlib.sha256(b"SEED" + block).digest()
    expected = sorted(txs, key=lambda pair: hashlib.sha256(b"ORDER" + seed + pair[0]).digest())
    assert permute(block, txs) == expected != txs
    assert permute(b"\x08" * 32, txs) != expected


def test_one_sender_ascends_within_its_own_positions():
    block = b"\x09" * 32
    mixed = [tx("a", seq) for seq in (5, 3, 4, 1, 2)] + [tx(f"w{i}", 0) for i in range(5)]
    result = permute(block, mixed)
    seed = hashlib.sha256(b"SEED" + block).digest()
    plain = sorted(mixed, key=lambda pair: hashlib.sha256(b"ORDER" + seed + pair[0]).digest())
    sender = signer_of("a").public_key
    assert [i for i, (_, t) in enumerate(result) if t.sender == sender] == [
        i for i, (_, t) in enumerate(plain) if t.sender == sender
    ]
    assert [t.seq for _, t in result if t.sender == sender] == [1, 2, 3, 4, 5]
    assert sorted(result, key=lambda pair: pair[0]) == sorted(mixed, key=lambda pair: pair[0])


def test_nothing_to_permute():
    assert permute(bytes(32), []) == []


def test_ownership_of_everything_touched():
    committee = Committee(small_config(n=4, clans=2, accounts=0))
    owners = {name: committee.clan_of_key(signer_of(name).public_key) for name in "abcdefgh"}
    mine = [n for n in owners if owners[n] == 0]
    theirs = [n for n in owners if owners[n] == 1]
    own_list = next(k for k in range(99) if committee.clan_of_key(list_shard(k)) == 0)
    their_list = next(k for k in range(99) if committee.clan_of_key(list_shard(k)) == 1)
    wallet = Wallet(signer_of(mine[0]), DOMAIN)
    own = [Transfer(signer_of(mine[1]).public_key, 1), Append(own_list, 1), Read(own_list)]
    assert foreign_part(committee, wallet.transaction(0, own), 0) is None
    assert "sender" in (foreign_part(committee, wallet.transaction(0, own), 1) or "")
    for bad in (Transfer(signer_of(theirs[0]).public_key, 1), Append(their_list, 1), Read(their_list)):
        assert "of clan 1" in (foreign_part(committee, wallet.transaction(0, [*own, bad]), 0) or "")


def test_a_single_clan_owns_everything():
    committee = Committee(small_config(n=4, clans=1))
    transaction = Wallet(signer_of("a"), DOMAIN).transaction(0, [Append(77, 1)])
    assert foreign_part(committee, transaction, 0) is None
