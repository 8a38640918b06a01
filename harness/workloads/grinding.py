"""Transfers whose amounts are ground until their hash gives each to one chosen primary (B7 of protocol.md 5.7)."""

from __future__ import annotations

from random import Random
from typing import ClassVar

from harness.genesis import Wallet
from harness.workloads.port import Task, World, others, positive, unsigned
from nodes.messages import Transfer, tx_id

TRIES = 400


class Grinding:
    """Every transfer has the first member of its sender's clan as its primary, or one of `victims` if any is of that
    clan: the wallet tries amounts until the hash says so. The whole load of a clan falls on one batch proposer."""

    name: ClassVar[str] = "grinding"

    def __init__(self, world: World, rng: Random, max_amount: int = 1000, victims: list[str] | None = None) -> None:
        self._world = world
        self._rng = rng
        self._max_amount = positive("max_amount", max_amount)
        if world.committee is None:
            raise ValueError("grinding: this workload needs a cluster with families")
        strangers = sorted(set(victims or ()) - set(world.committee.tribe))
        if strangers:
            raise ValueError(f"victims: there is no node {strangers[0]!r}; give nodes of the tribe")
        self._victims = [
            next((node for node in clan if node in (victims or ())), clan[0]) for clan in world.committee.clans
        ]

    def next(self, sender: Wallet, seq: int) -> Task:
        """A transfer of whatever amount makes the victim its primary."""
        assert self._world.committee is not None
        to = self._rng.choice(others(self._world.accounts[sender.clan], sender.address))
        for _ in range(TRIES):
            amount = self._rng.randint(1, self._max_amount)
            transfer = Transfer(to, amount)
            tx = tx_id(unsigned(self._world.chain, sender, seq, (transfer,)))
            if self._world.committee.family(tx, sender.clan)[0] == self._victims[sender.clan]:
                break
        value = {"from": sender.address.hex(), "to": to.hex(), "amount": amount, "seq": seq}
        return Task("transfer", value, (transfer,))
