"""The same signed transaction again and again, through every gateway: it may take effect once."""

from __future__ import annotations

from random import Random
from typing import ClassVar

from harness.genesis import Wallet
from harness.workloads.port import Task, World, positive
from harness.workloads.transfers import Transfers


class Duplicates:
    """Every transfer is submitted through all gateways, `copies` times each; it may take effect once."""

    name: ClassVar[str] = "duplicates"

    def __init__(self, world: World, rng: Random, copies: int = 2, max_amount: int = 100) -> None:
        self._gateways = world.gateways
        self._copies = positive("copies", copies, 100)
        self._transfers = Transfers(world, rng, max_amount, overdraft=0.0)

    def next(self, sender: Wallet, seq: int) -> Task:
        """A transfer to be submitted everywhere."""
        task = self._transfers.next(sender, seq)
        value = {**task.value, "gateways": list(self._gateways), "copies": self._copies}
        return Task(task.f, value, task.operations, self._gateways, self._copies)
