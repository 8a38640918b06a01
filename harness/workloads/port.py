"""The shape of a workload: it is asked for one task at a time and never sees a clock, a socket or an answer.

A workload is built as `Workload(world, rng, **options)` with the options of `[workload.options]`, validated there
(ValueError). Equal seeds and equal sequences of calls give equal tasks.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Protocol

import msgspec

from harness.genesis import Genesis, Wallet
from nodes.committee import Committee
from nodes.messages import Operation, Transaction
from nodes.wallet import list_keys

EXPIRY_MS = 86_400_000  # a day of run time: fixed, so that a seed gives the same transactions in every run
BALANCE = "balance"  # the `f` of a task that asks for an account and submits nothing


class Task(msgspec.Struct, frozen=True):
    """One operation of one process: what the history says of it, and the transaction's operations.

    `gateways` empty: the process's own gateway. `copies` how often it is submitted through each of them. `padding`:
    bytes that make the transaction larger and mean nothing. `lifetime_ms`: the transaction expires so long after it is
    signed, and the history's value, a mapping then, tells when (`expiry_ms`); None: at EXPIRY_MS, which no run reaches.
    `forgery`: in which way it is signed wrongly (harness/forging.py); "": it is not. `account`: the sender and number
    that it names, if they are not the process's own. `rival`: what is submitted at the same time under the same number.
    """

    f: str  # "transfer" | "txn" | "balance": a question, without operations
    value: Any  # as history.jsonl holds it on invoke
    operations: tuple[Operation, ...]
    gateways: tuple[str, ...] = ()
    copies: int = 1
    padding: int = 0
    lifetime_ms: int | None = None
    forgery: str = ""
    account: tuple[bytes, int] | None = None
    rival: Task | None = None


class World(msgspec.Struct, frozen=True):
    """What a workload may know of the cluster."""

    gateways: tuple[str, ...]
    clans: int
    accounts: tuple[tuple[bytes, ...], ...]  # funded addresses by owning clan
    keys: tuple[tuple[int, ...], ...]  # list keys by owning clan, plenty
    chain: str = ""
    committee: Committee | None = None  # who is in which family: nothing secret, every wallet can work it out

    @staticmethod
    def of(genesis: Genesis, keys_per_clan: int = 512) -> World:
        """The world of a cluster: its funded accounts and, for each clan, the first list keys that it owns."""
        committee = genesis.committee
        clans = range(len(committee.clans))
        addresses = [bytes.fromhex(account.address) for account in genesis.config.accounts]
        return World(
            committee.gateways,
            len(committee.clans),
            tuple(tuple(a for a in addresses if committee.clan_of_key(a) == clan) for clan in clans),
            tuple(list_keys(committee, clan, keys_per_clan) for clan in clans),
            genesis.domain.chain,
            committee,
        )


class Workload(Protocol):
    """A kind of traffic. One workload, one file, one entry point in pyproject.toml."""

    name: ClassVar[str]

    def next(self, sender: Wallet, seq: int) -> Task:
        """What this account asks for next; `seq` is its next sequence number."""
        ...


def is_foreign(kind: type) -> bool:
    """Is this workload for systems that are not ours (harness/workloads/traffic.py)?"""
    return bool(getattr(kind, "foreign", False))


def unsigned(
    chain: str,
    sender: Wallet,
    seq: int,
    operations: tuple[Operation, ...],
    padding: int = 0,
    expiry_ms: int = EXPIRY_MS,
) -> Transaction:
    """The transaction that a task becomes, without its signature: what its id is made of. `padding`: bytes."""
    return Transaction(chain, sender.address, seq, expiry_ms, operations, bytes(padding), bytes(64))


def fraction(name: str, value: float) -> float:
    """`value` if it is a probability; raises ValueError naming the option."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise ValueError(f"{name} must lie between 0 and 1, not {value!r}")
    return float(value)


def positive(name: str, value: int, high: int = 1_000_000) -> int:
    """`value` if it is a whole number in [1, high]; raises ValueError naming the option."""
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= high:
        raise ValueError(f"{name} must be a whole number from 1 to {high}, not {value!r}")
    return value


def others(accounts: Sequence[bytes], sender: bytes) -> list[bytes]:
    """Accounts that are not the sender's; the sender itself if there is no other (a transfer to oneself)."""
    return [address for address in accounts if address != sender] or [sender]
