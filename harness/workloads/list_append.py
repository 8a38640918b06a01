"""Lists that only grow: the workload from which dependency cycles can be read (Jepsen's list-append)."""

from __future__ import annotations

from random import Random
from typing import Any, ClassVar

from harness.genesis import Wallet
from harness.workloads.port import Task, World, fraction, positive
from nodes.messages import Append, Operation, Read


class ListAppend:
    """Transactions of reads and appends on a few lists of one clan; every appended value is unique."""

    name: ClassVar[str] = "list-append"

    def __init__(
        self,
        world: World,
        rng: Random,
        keys: int = 4,
        max_length: int = 3,
        reads: float = 0.5,
        appends_per_key: int = 32,
    ) -> None:
        self._world = world
        self._rng = rng
        self._keys = positive("keys", keys, 64)
        self._max_length = positive("max_length", max_length, 16)
        self._reads = fraction("reads", reads)
        self._appends_per_key = positive("appends_per_key", appends_per_key)
        self._value = 0
        # Per clan: the lists in use and how many appends each has left; a full one makes room for a fresh key.
        self._left = [dict.fromkeys(owned[:keys], appends_per_key) for owned in world.keys]
        self._used = [keys] * world.clans

    def next(self, sender: Wallet, seq: int) -> Task:
        """One to `max_length` reads and appends on lists that the sender's clan owns."""
        value: list[list[Any]] = []
        operations: list[Operation] = []
        for _ in range(self._rng.randint(1, self._max_length)):
            key = self._rng.choice(list(self._left[sender.clan]))
            if self._rng.random() < self._reads:
                value.append(["r", key, None])
                operations.append(Read(key))
            else:
                self._value += 1
                value.append(["append", key, self._value])
                operations.append(Append(key, self._value))
                self._spend(sender.clan, key)
        return Task("txn", value, tuple(operations))

    def _spend(self, clan: int, key: int) -> None:
        left = self._left[clan]
        left[key] -= 1
        if left[key] == 0:
            owned = self._world.keys[clan]
            del left[key]
            left[owned[self._used[clan] % len(owned)]] = self._appends_per_key
            self._used[clan] += 1
