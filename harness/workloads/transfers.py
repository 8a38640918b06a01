"""Money moves between accounts of one clan; a small share asks for more than there is and must abort."""

from __future__ import annotations

from random import Random
from typing import ClassVar

from harness.genesis import Wallet
from harness.workloads.port import Task, World, fraction, others, positive
from nodes.messages import Transfer

MORE_THAN_ANYBODY_HAS = 2**60


class Transfers:
    """Transfers of random amounts between accounts of the same clan, `padding` bytes larger than they need to be."""

    name: ClassVar[str] = "transfers"

    def __init__(
        self, world: World, rng: Random, max_amount: int = 100, overdraft: float = 0.02, padding: int = 0
    ) -> None:
        self._world = world
        self._rng = rng
        self._max_amount = positive("max_amount", max_amount)
        self._overdraft = fraction("overdraft", overdraft)
        self._padding = padding if padding == 0 else positive("padding", padding, 65_536)

    def next(self, sender: Wallet, seq: int) -> Task:
        """A transfer to another funded account of the sender's clan."""
        to = self._rng.choice(others(self._world.accounts[sender.clan], sender.address))
        amount = self._rng.randint(1, self._max_amount)
        if self._rng.random() < self._overdraft:
            amount = MORE_THAN_ANYBODY_HAS
        value = {"from": sender.address.hex(), "to": to.hex(), "amount": amount, "seq": seq}
        return Task("transfer", value, (Transfer(to, amount),), padding=self._padding)
