"""Building and signing transactions."""

import pytest

from nodes.committee import Committee, list_shard
from nodes.crypto import Domain, Ed25519Verifier
from nodes.messages import Append, Read, Transfer, encode, tx_id
from nodes.wallet import Wallet, home_clan, list_keys, list_operations, list_results, sign
from tests.driver import signer_of, small_config

DOMAIN = Domain("test", 0, 0)
WALLET = Wallet(signer_of("alice"), DOMAIN)


def test_a_transfer_carries_a_good_signature():
    transaction = WALLET.transfer(3, signer_of("bob").public_key, 10, expiry_ms=5000)
    assert (transaction.chain, transaction.sender, transaction.seq) == ("test", WALLET.address, 3)
    assert transaction.operations == (Transfer(signer_of("bob").public_key, 10),)
    assert transaction.expiry_ms == 5000
    statement = DOMAIN.transaction(tx_id(transaction))
    assert Ed25519Verifier().verify(WALLET.address, statement, transaction.signature)
    other = Domain("another", 0, 0).transaction(tx_id(transaction))
    assert not Ed25519Verifier().verify(WALLET.address, other, transaction.signature)


def test_signing_again_changes_neither_id_nor_signature():
    transaction = WALLET.transfer(0, WALLET.address, 1)
    assert sign(transaction, signer_of("alice"), DOMAIN) == transaction


def test_padding_makes_it_larger():
    small, large = WALLET.transfer(0, WALLET.address, 1), WALLET.transfer(0, WALLET.address, 1, padding=1000)
    assert len(encode(large)) - len(encode(small)) >= 1000
    assert tx_id(large) != tx_id(small)


def test_list_operations_there_and_back():
    micro = [["append", 7, 1], ["r", 9, None], ["append", 9, -2], ["r", 9, None]]
    transaction = WALLET.list_append(0, micro)
    assert transaction.operations == (Append(7, 1), Read(9), Append(9, -2), Read(9))
    done = list_results(micro, [[4], [4, -2]])
    assert done == [["append", 7, 1], ["r", 9, [4]], ["append", 9, -2], ["r", 9, [4, -2]]]
    assert micro[1] == ["r", 9, None]


def test_odd_micro_operations_are_refused():
    with pytest.raises(ValueError, match="neither"):
        list_operations([["write", 1, 2]])
    with pytest.raises(ValueError, match="1 read results for 0"):
        list_results([["append", 1, 1]], [[1]])


def test_keys_of_a_clan():
    committee = Committee(small_config(n=4, clans=2))
    for clan in (0, 1):
        keys = list_keys(committee, clan, 5)
        assert len(set(keys)) == 5
        assert all(committee.clan_of_key(list_shard(key)) == clan for key in keys)
    assert home_clan(committee, WALLET.address) == committee.clan_of_key(WALLET.address)
