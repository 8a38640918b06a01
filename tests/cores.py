"""Helpers for tests that drive single cores: notices go in through Submit, transactions come from test accounts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from nodes.committee import ClusterConfig, Committee
from nodes.crypto import Ed25519Verifier
from nodes.messages import AvailabilityCertificate, Block, Transaction, tx_id
from nodes.port import Core, Effect, Event, Submit
from nodes.wallet import Wallet
from tests.driver import Driver, domain_of, signer_of

VERIFIER = Ed25519Verifier()


class Fed:
    """A core as a Node: `Submit(_, notice)` is handed to `notify`."""

    def __init__(self, core: Core) -> None:
        self.core: Any = core

    def step(self, now: int, event: Event) -> Sequence[Effect]:
        if isinstance(event, Submit):
            return self.core.notify(now, event.body)
        return self.core.step(now, event)


def drive(
    config: ClusterConfig, make: Callable[[str, Committee], Core], names: Sequence[str], **options: Any
) -> Driver:
    """A driver of bare cores."""
    committee = Committee(config)
    return Driver(committee, lambda name: Fed(make(name, committee)), names, **options)


def wallet_of(config: ClusterConfig, account: str = "acct0") -> Wallet:
    return Wallet(signer_of(account), domain_of(config))


def account_in(config: ClusterConfig, clan: int) -> str:
    """The first test account that `clan` owns."""
    committee = Committee(config)
    return next(
        name
        for name in (f"acct{i}" for i in range(len(config.accounts)))
        if committee.clan_of_key(signer_of(name).public_key) == clan
    )


def appends(config: ClusterConfig, count: int, account: str = "acct0", start: int = 0) -> tuple[Transaction, ...]:
    """`count` signed transactions of one account, consecutive sequence numbers."""
    wallet = wallet_of(config, account)
    return tuple(wallet.list_append(seq, [["append", 1, seq]]) for seq in range(start, start + count))


def transaction_for(
    config: ClusterConfig, wanted: Callable[[tuple[str, ...]], bool], account: str = "acct0", expiry_ms: int = 2**62
) -> Transaction:
    """A transaction with sequence number 0 whose family satisfies `wanted`."""
    committee, wallet = Committee(config), wallet_of(config, account)
    clan = committee.clan_of_key(wallet.address)
    for value in range(1000):
        transaction = wallet.list_append(0, [["append", 1, value]], expiry_ms)
        if wanted(committee.family(tx_id(transaction), clan)):
            return transaction
    raise AssertionError("no such family in a thousand transactions")


def block_of(
    config: ClusterConfig, height: int, *certificates: AvailabilityCertificate, timestamp_ms: int = 0
) -> Block:
    """A block that holds `certificates`; parents do not matter to the cores under test."""
    return Block(config.chain, config.epoch, height, height, bytes(32), "n0", timestamp_ms, certificates)


def altered(value: Any, **changes: Any) -> Any:
    """A copy of a frozen Struct with some fields changed."""
    return msgspec.structs.replace(value, **changes)
