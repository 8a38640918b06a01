"""The ledger's rules, one by one; roots against a plain re-statement of their definition."""

import struct

import msgspec
import pytest

from nodes.committee import Account, Committee, ConfigError, list_shard
from nodes.crypto import Domain, Ed25519Verifier
from nodes.execution.ledger import Ledger, Outcome, account_entry, chain_root, list_entry
from nodes.messages import NO_HASH, Append, Read, Transaction, Transfer, sha256, tx_id
from nodes.wallet import Wallet
from tests.driver import signer_of, small_config
from tests.unit.test_tree import reference

DOMAIN = Domain("test", 0, 0)
COMMITTEE = Committee(small_config(n=4, accounts=4))
A, B = (Wallet(signer_of(f"acct{i}"), DOMAIN) for i in (0, 1))
NEW = Wallet(signer_of("newcomer"), DOMAIN)


@pytest.fixture
def ledger() -> Ledger:
    return Ledger(COMMITTEE, DOMAIN, 0, Ed25519Verifier())


def run(ledger: Ledger, *transactions: Transaction, at_ms: int = 0) -> Outcome:
    return ledger.execute(at_ms, [(tx_id(t), t) for t in transactions])


def reasons(outcome: Outcome) -> list[str]:
    return [reason for _, reason in outcome.aborted]


def test_genesis_root(ledger):
    entries = {b"A" + signer_of(f"acct{i}").public_key: struct.pack(">QQ", 1000, 0) for i in range(4)}
    assert ledger.root == sha256(b"ROOT", reference(entries), NO_HASH)


def test_transfer_moves_money_and_advances_seq(ledger):
    t = A.transfer(0, B.address, 30)
    outcome = run(ledger, t)
    assert outcome.applied == (tx_id(t),) and outcome.aborted == ()
    assert ledger.account(A.address) == (970, 1) and ledger.account(B.address) == (1030, 0)
    assert outcome.before == {A.address: (1000, 0), B.address: (1000, 0)}


def test_root_after_transfer_and_append(ledger):
    genesis = ledger.root
    outcome = run(ledger, A.transaction(0, [Transfer(NEW.address, 5), Append(3, -1), Append(3, 2)]))
    entries = {b"A" + signer_of(f"acct{i}").public_key: struct.pack(">QQ", 1000, 0) for i in range(4)}
    entries[b"A" + A.address] = struct.pack(">QQ", 995, 1)
    entries[b"A" + NEW.address] = struct.pack(">QQ", 5, 0)
    entries[b"L" + struct.pack(">Q", 3)] = struct.pack(">Iqq", 2, -1, 2)
    assert outcome.previous_root == genesis
    assert outcome.root == ledger.root == sha256(b"ROOT", reference(entries), genesis)


def test_an_empty_block_still_chains_the_root(ledger):
    genesis = ledger.root
    first, second = run(ledger), run(ledger)
    assert len({genesis, first.root, second.root}) == 3
    assert second.previous_root == first.root


def test_duplicate_has_no_effect(ledger):
    t = A.transfer(0, B.address, 30)
    outcome = run(ledger, t, t)
    assert outcome.applied == (tx_id(t),) and outcome.aborted == ((tx_id(t), "duplicate"),)
    assert ledger.account(A.address) == (970, 1)


def test_too_new_has_no_effect(ledger):
    assert reasons(run(ledger, A.transfer(1, B.address, 30))) == ["too-new"]
    assert ledger.account(A.address) == (1000, 0)


def test_insufficient_advances_seq_only_and_undoes_the_rest(ledger):
    t = A.transaction(0, [Transfer(B.address, 600), Append(1, 1), Transfer(B.address, 600)])
    outcome = run(ledger, t, A.transfer(1, B.address, 1))
    assert reasons(outcome) == ["insufficient"] and len(outcome.applied) == 1
    assert ledger.account(A.address) == (999, 2) and ledger.values(1) == ()


def test_money_received_from_oneself_counts_once(ledger):
    outcome = run(ledger, A.transaction(0, [Transfer(A.address, 1000), Transfer(B.address, 1000)]))
    assert len(outcome.applied) == 1 and ledger.account(A.address) == (0, 1)
    assert reasons(run(ledger, A.transfer(1, A.address, 1))) == ["insufficient"]


def test_zero_amounts_and_unknown_accounts(ledger):
    assert len(run(ledger, NEW.transfer(0, B.address, 0)).applied) == 1
    assert ledger.account(NEW.address) == (0, 1)
    assert reasons(run(ledger, NEW.transfer(1, B.address, 1))) == ["insufficient"]
    assert ledger.account(NEW.address) == (0, 2)


def test_an_entry_exists_from_its_first_write(ledger):
    other = Ledger(COMMITTEE, DOMAIN, 0, Ed25519Verifier())
    assert run(ledger, A.transfer(0, NEW.address, 0)).root != run(other, A.transfer(0, B.address, 0)).root


@pytest.mark.parametrize("reads", [0, 1])
def test_a_read_leaves_no_entry(ledger, reads):
    other = Ledger(COMMITTEE, DOMAIN, 0, Ed25519Verifier())
    padding = [Transfer(B.address, 0)]
    with_read = run(ledger, A.transaction(0, [*padding, *[Read(5)] * reads]))
    assert with_read.root == run(other, A.transaction(0, padding)).root


def test_reads_see_own_appends_in_order(ledger):
    run(ledger, A.transaction(0, [Append(5, 10)]))
    t = B.transaction(0, [Read(5), Append(5, 11), Read(5), Read(6)])
    assert run(ledger, t).reads == {tx_id(t): ((10,), (10, 11), ())}
    assert ledger.values(5) == (10, 11)


def test_expired_has_no_effect_and_the_bound_is_inclusive(ledger):
    t = A.transfer(0, B.address, 1, expiry_ms=100)
    assert reasons(run(ledger, t, at_ms=101)) == ["expired"]
    assert ledger.account(A.address) == (1000, 0)
    assert len(run(ledger, t, at_ms=100).applied) == 1


def test_invalid_signature_or_chain(ledger):
    good = A.transfer(0, B.address, 1)
    forged = msgspec.structs.replace(good, signature=bytes(64))
    elsewhere = Wallet(signer_of("acct0"), Domain("other", 0, 0)).transfer(0, B.address, 1)
    stolen = msgspec.structs.replace(good, sender=B.address)
    assert reasons(run(ledger, forged, elsewhere, stolen)) == ["invalid"] * 3
    assert ledger.account(A.address) == (1000, 0)


def test_foreign_has_no_effect():
    committee = Committee(small_config(n=4, clans=2, accounts=8))
    wallets = [Wallet(signer_of(f"acct{i}"), DOMAIN) for i in range(8)]
    home = [w for w in wallets if committee.clan_of_key(w.address) == 0]
    away = [w for w in wallets if committee.clan_of_key(w.address) == 1]
    ledger = Ledger(committee, DOMAIN, 0, Ed25519Verifier())
    key = next(k for k in range(99) if committee.clan_of_key(list_shard(k)) == 1)
    bad = [
        home[0].transfer(0, away[0].address, 1),
        home[0].transaction(0, [Read(key)]),
        away[0].transfer(0, away[0].address, 1),
    ]
    assert reasons(run(ledger, *bad)) == ["foreign"] * 3
    assert ledger.account(home[0].address) == (1000, 0)
    assert ledger.account(away[0].address) == (0, 0)
    assert ledger.total() == 1000 * len(home)


def test_genesis_that_cannot_be_encoded_is_refused():
    config = msgspec.structs.replace(small_config(accounts=0), accounts=(Account("aa" * 32, 2**64),))
    with pytest.raises(ConfigError, match="genesis"):
        Ledger(Committee(config), DOMAIN, 0, Ed25519Verifier())


def test_entries():
    assert account_entry(b"x" * 32, (1, 2)) == (b"A" + b"x" * 32, bytes(7) + b"\1" + bytes(7) + b"\2")
    assert list_entry(1, [-1]) == (b"L" + bytes(7) + b"\1", b"\0\0\0\1" + b"\xff" * 8)
    assert chain_root(b"t" * 32, b"p" * 32) == sha256(b"ROOT" + b"t" * 32 + b"p" * 32)
