"""The same write to several nodes at once: one transaction for a system that knows transactions by their bytes."""

from __future__ import annotations

from random import Random
from typing import ClassVar

from faults.port import NodeId
from harness.targets.port import Operation
from harness.workloads.port import positive


class DuplicateWrites:
    """Each write goes to `copies` nodes at the same time (0: to all); it may take effect once. No value comes twice."""

    name: ClassVar[str] = "duplicate-writes"
    foreign: ClassVar[bool] = True

    def __init__(self, nodes: tuple[NodeId, ...], rng: Random, copies: int = 0, keys: int = 8) -> None:
        if copies:
            positive("copies", copies, len(nodes))
        self._nodes, self._copies, self._rng = nodes, copies or len(nodes), rng
        self._keys = positive("keys", keys)
        self._next = 0

    def next(self, process: int) -> Operation:
        """A write of a value that was never written."""
        self._next += 1
        nodes = tuple(self._rng.sample(self._nodes, self._copies))
        return Operation("write", [self._rng.randrange(self._keys), self._next], nodes=nodes)
