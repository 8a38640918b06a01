"""Transactions on a few keys, each of reads and writes: what Elle's checkers judge, on systems that are not ours."""

from __future__ import annotations

from random import Random
from typing import Any, ClassVar

from faults.port import NodeId
from harness.targets.port import Operation
from harness.workloads.port import fraction, positive


class Lists:
    """Transactions of reads of lists and appends to them; every appended value is unique."""

    name: ClassVar[str] = "lists"
    foreign: ClassVar[bool] = True
    change: ClassVar[str] = "append"

    def __init__(
        self,
        nodes: tuple[NodeId, ...],
        rng: Random,
        keys: int = 4,
        max_length: int = 3,
        reads: float = 0.5,
        changes_per_key: int = 32,
    ) -> None:
        self._rng = rng
        self._max_length = positive("max_length", max_length, 16)
        self._reads = fraction("reads", reads)
        self._changes_per_key = positive("changes_per_key", changes_per_key)
        self._left = dict.fromkeys(range(positive("keys", keys, 1000)), changes_per_key)
        self._next_key = keys
        self._value = 0

    def next(self, process: int) -> Operation:
        """One transaction on one to `max_length` different keys."""
        length = min(self._rng.randint(1, self._max_length), len(self._left))
        value = [self._part(key) for key in self._rng.sample(list(self._left), length)]
        return Operation("txn", value, observes=all(part[0] == "r" for part in value))

    def _part(self, key: int) -> list[Any]:
        if self._rng.random() < self._reads:
            return ["r", key, None]
        self._value += 1
        self._left[key] -= 1
        if not self._left[key]:
            del self._left[key]
            self._left[self._next_key] = self._changes_per_key
            self._next_key += 1
        return [self.change, key, self._value]


class RegisterTransactions(Lists):
    """The same with registers in place of lists; every written value is unique."""

    name: ClassVar[str] = "register-transactions"
    change: ClassVar[str] = "w"
