"""Helpers for the xRBC tests: clusters of bare XrbcCores, and batches and votes made by hand."""

from __future__ import annotations

from typing import Any

from nodes.committee import ClusterConfig, Committee
from nodes.crypto import assemble
from nodes.messages import (
    AvailabilityCertificate,
    AvailabilityVote,
    Batch,
    BatchHeader,
    Message,
    batch_id,
)
from nodes.port import Available, Propose
from nodes.xrbc.core import XrbcCore
from nodes.xrbc.make import make_batch, make_vote
from tests.cores import VERIFIER, account_in, appends, drive
from tests.driver import MS, Driver, domain_of, signer_of

Delay = Any


def cluster(config: ClusterConfig, **options: Any) -> Driver:
    names = [m.id for m in (*config.tribe, *config.gateways)]

    def make(name: str, committee: Committee) -> XrbcCore:
        signer = None if name in committee.gateways else signer_of(name)
        return XrbcCore(name, committee, domain_of(config), signer, VERIFIER)

    return drive(config, make, names, **options)


def notices(driver: Driver, kind: type, name: str | None = None) -> list[Any]:
    return [n for _, who, n in driver.unrouted if isinstance(n, kind) and name in (None, who)]


def fields(driver: Driver, event: str, name: str) -> list[Any]:
    return [f for _, who, e, f in driver.trace if e == event and who == name]


def own_batch(config: ClusterConfig, proposer: str, seq: int, count: int = 1, start: int = 0) -> tuple[bytes, Batch]:
    clan = Committee(config).clan_of[proposer]
    transactions = appends(config, count, account_in(config, clan), start)
    return make_batch(domain_of(config), signer_of(proposer), proposer, clan, seq, transactions, 0)


def vote_of(config: ClusterConfig, voter: str, header: BatchHeader) -> AvailabilityVote:
    return make_vote(domain_of(config), signer_of(voter), voter, header, batch_id(header))


def certificate_for(config: ClusterConfig, batch: Batch) -> AvailabilityCertificate:
    """Signed by the first majority of the batch's clan."""
    committee, h = Committee(config), batch.header
    clan = committee.clans[h.clan]
    signatures = {name: vote_of(config, name, h).signature for name in clan}
    signed = assemble(clan, signatures, committee.majority(h.clan))
    return AvailabilityCertificate(
        0, 0, h.clan, h.proposer, h.seq, batch_id(h), h.tx_count, h.byte_length, h.created_ms, *signed
    )


def certified(driver: Driver, config: ClusterConfig, proposer: str = "n1") -> AvailabilityCertificate:
    driver.submit(proposer, 0, Propose(appends(config, 2, account_in(config, 0))))
    driver.run(driver.now / MS + 100)
    return notices(driver, Available, proposer)[-1].certificate


def losing(*kinds: type, to: tuple[str, ...] = (), source: tuple[str, ...] = ()) -> Delay:
    """10 ms everywhere, but messages of these kinds to (or from) these nodes are lost."""

    def delay(src: str, dst: str, message: Message) -> int | None:
        lost = isinstance(message, kinds) and (not to or dst in to) and (not source or src in source)
        return None if lost else 10 * MS

    return delay
