"""Reads, writes and compare-and-sets of a few registers: what `linearizable` judges, on systems that are not ours."""

from __future__ import annotations

from random import Random
from typing import ClassVar

from faults.port import NodeId
from harness.targets.port import Operation
from harness.workloads.port import fraction, positive


class Registers:
    """Of all operations `reads` read and `cas` compare and set; the others write a value that was never written before.

    A compare-and-set expects one of the last few values of its register, so that some succeed and some do not. After
    `writes_per_key` changes a register is left alone and a fresh one takes its place: long histories of one register
    are hard to judge.
    """

    name: ClassVar[str] = "registers"
    foreign: ClassVar[bool] = True

    def __init__(
        self,
        nodes: tuple[NodeId, ...],
        rng: Random,
        keys: int = 4,
        reads: float = 0.5,
        cas: float = 0.1,
        writes_per_key: int = 100,
    ) -> None:
        self._rng = rng
        self._reads = fraction("reads", reads)
        self._cas = fraction("cas", cas)
        if self._reads + self._cas > 1:
            raise ValueError(f"reads = {reads}, cas = {cas}: together they must not exceed 1")
        self._writes_per_key = positive("writes_per_key", writes_per_key)
        self._keys = list(range(positive("keys", keys, 1000)))
        self._next_key = keys
        self._recent: dict[int, list[int]] = {key: [] for key in self._keys}
        self._changes = dict.fromkeys(self._keys, 0)
        self._value = 0

    def next(self, process: int) -> Operation:
        """One operation on one register."""
        key, chance = self._rng.choice(self._keys), self._rng.random()
        if chance < self._reads:
            return Operation("read", [key, None], observes=True)
        self._value += 1
        value, recent = self._value, self._recent[key]
        if chance < self._reads + self._cas and recent:
            operation = Operation("cas", [key, [self._rng.choice(recent[-3:]), value]])
        else:
            operation = Operation("write", [key, value])
        recent.append(value)
        self._changed(key)
        return operation

    def _changed(self, key: int) -> None:
        self._changes[key] += 1
        if self._changes[key] < self._writes_per_key:
            return
        self._keys[self._keys.index(key)] = fresh = self._next_key
        self._next_key += 1
        self._recent[fresh], self._changes[fresh] = [], 0
