"""Wallets that cheat: transfers that nobody signed, or another, or for another chain or clan, and money spent twice."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import ClassVar

from msgspec.structs import replace

from harness.forging import DOUBLE_SPEND, FORGERIES, OTHER_ACCOUNT, OTHER_CLAN
from harness.genesis import Wallet
from harness.workloads.port import Task, World, fraction, others
from harness.workloads.transfers import Transfers
from nodes.messages import Transfer


class Hostile:
    """A share `honest` of plain transfers; the rest is one of `forgeries` (default: all that the cluster allows).

    Every forgery takes money if it is executed: its number is the next of its account, and its amount can be paid.
    """

    name: ClassVar[str] = "hostile"

    def __init__(
        self,
        world: World,
        rng: Random,
        honest: float = 0.5,
        max_amount: int = 100,
        forgeries: Sequence[str] = (),
    ) -> None:
        self._world = world
        self._rng = rng
        self._honest = fraction("honest", honest)
        self._transfers = Transfers(world, rng, max_amount, overdraft=0.0)
        self._kinds = _kinds(forgeries, world.clans)
        self._seqs: dict[bytes, int] = {}  # sender -> the number of its newest transaction: what a thief knows of it

    def next(self, sender: Wallet, seq: int) -> Task:
        """A transfer of the sender, or something that pretends to be one."""
        self._seqs[sender.address] = seq
        honest = self._rng.random() < self._honest
        task = self._transfers.next(sender, seq)
        if honest:
            return task
        kind = self._rng.choice(self._kinds)
        task = replace(task, value={**task.value, "forgery": kind}, forgery=kind)
        if kind == DOUBLE_SPEND:
            return self._double(task, sender)
        if kind == OTHER_ACCOUNT:
            return self._stolen(task, sender)
        if kind == OTHER_CLAN:
            return self._abroad(task, sender)
        return task

    def _double(self, task: Task, sender: Wallet) -> Task:
        """The transfer and a rival under the same number, through two gateways; through one if there is but one."""
        gateways = self._world.gateways
        first, second = self._rng.sample(gateways, 2) if len(gateways) > 1 else gateways * 2
        to = self._rng.choice(others(self._world.accounts[sender.clan], sender.address))
        amount = task.value["amount"] + 1  # so that they differ, whoever is paid
        told = {**task.value, "to": to.hex(), "amount": amount, "gateway": second}
        rival = replace(task, value=told, operations=(Transfer(to, amount),), gateways=(second,))
        return replace(task, value={**task.value, "gateway": first}, gateways=(first,), rival=rival)

    def _stolen(self, task: Task, sender: Wallet) -> Task:
        """The same, but from somebody else's account, to the thief's own."""
        victim = self._rng.choice(others(self._world.accounts[sender.clan], sender.address))
        seq = self._seqs.get(victim, 0)
        value = {**task.value, "from": victim.hex(), "to": sender.address.hex(), "seq": seq}
        operations = (Transfer(sender.address, task.value["amount"]),)
        return replace(task, value=value, operations=operations, account=(victim, seq))

    def _abroad(self, task: Task, sender: Wallet) -> Task:
        """The same, but to an account of another clan."""
        clan = self._rng.choice([clan for clan in range(self._world.clans) if clan != sender.clan])
        to = self._rng.choice(self._world.accounts[clan])
        return replace(task, value={**task.value, "to": to.hex()}, operations=(Transfer(to, task.value["amount"]),))


def _kinds(forgeries: Sequence[str], clans: int) -> tuple[str, ...]:
    """The forgeries to draw from. Raises ValueError naming the option."""
    possible = tuple(kind for kind in FORGERIES if kind != OTHER_CLAN or clans > 1)
    if not isinstance(forgeries, list | tuple):
        raise ValueError(f"forgeries must be a list of names, not {forgeries!r}")
    for kind in forgeries:
        if kind not in FORGERIES:
            raise ValueError(f"forgeries: there is no {kind!r}; choose from {', '.join(FORGERIES)}")
        if kind not in possible:
            raise ValueError(f"forgeries: {kind!r} needs a cluster of two clans or more")
    return tuple(forgeries) or possible
