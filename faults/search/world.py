"""A cluster while its scenario is being drawn: who there is, how long things take, and what the bounds still allow.

The budget is counted as harness/regime.py counts it: f_t of the tribe for replicas that are Byzantine or forget, f_c of
each clan for the same, n_c - M of each clan for replicas that may be silent at one time (protocol.md section 0).
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any, TypeVar

from faults.port import NodeId
from faults.search.partitions import random_partition
from nodes.committee import clan_faults, clan_majority, tribe_faults

READY_MS = 500.0  # when a healthy cluster is found ready, and its load starts
T = TypeVar("T")
Clans = Sequence[Sequence[NodeId]]


class Budget:
    """Who is corrupted, loses its disk or goes down so far; `slack` replicas more than each bound may be taken."""

    def __init__(self, clans: Clans, slack: int = 0) -> None:
        self._clans = [tuple(clan) for clan in clans]
        self._home = {node: i for i, clan in enumerate(self._clans) for node in clan}
        self._faults = tribe_faults(len(self._home)) + slack
        self._slack = slack
        self.byzantine: list[NodeId] = []
        self.amnesiacs: list[NodeId] = []
        self.crashed: list[NodeId] = []
        self.crashes = 0  # victims over all crashes: at least what can be down at one time

    def corrupt(self, node: NodeId) -> bool:
        """Make the node Byzantine, if the bounds allow."""
        return self._take(node, self.byzantine)

    def forget(self, node: NodeId) -> bool:
        """Let the node lose its disk, if the bounds allow (once: every loss counts as another Byzantine replica)."""
        return node not in self.amnesiacs and self._take(node, self.amnesiacs)

    def crash(self, node: NodeId) -> bool:
        """Let the node be down for a while, if the bounds allow."""
        if node not in self.crashed:
            if node in self.byzantine or node in self.amnesiacs or self._silent(node) >= self._most_silent(node):
                return False
            self.crashed.append(node)
        self.crashes += 1
        return True

    def _take(self, node: NodeId, kind: list[NodeId]) -> bool:
        lost = {*self.byzantine, *self.amnesiacs}
        clan = self._clans[self._home[node]]
        fits = (
            node not in lost
            and len(self.byzantine) + len(self.amnesiacs) < self._faults
            and len(lost.intersection(clan)) < clan_faults(len(clan)) + self._slack
            and node not in self.crashed  # who forgets and goes down besides would count twice
            and self._silent(node) < self._most_silent(node)
        )
        if fits:
            kind.append(node)
        return fits

    def _silent(self, node: NodeId) -> int:
        """Members of the node's clan that may be silent at one time, so far."""
        taken = {*self.byzantine, *self.amnesiacs, *self.crashed}
        return len(taken.intersection(self._clans[self._home[node]]))

    def _most_silent(self, node: NodeId) -> int:
        size = len(self._clans[self._home[node]])
        return size - clan_majority(size) + self._slack


class World:
    """What the descriptors of faults and behaviours draw from. Times in ms: `slowest_ms` is the slowest link's delay
    with its jitter, `sync_ms` what a sync takes before any fault. `halves` is a division that several pieces of one
    scenario can share: an equivocator and a partition that agree find more than two that do not. `pairs`: the coalition
    must lead two views in a row, even if it is one replica."""

    def __init__(
        self, rng: Random, tribe: Sequence[NodeId], gateways: Sequence[NodeId], clans: Clans, slack: int = 0
    ) -> None:
        self.rng = rng
        self.tribe = tuple(tribe)
        self.gateways = tuple(gateways)
        self.clans = [tuple(clan) for clan in clans]
        self.budget = Budget(clans, slack)
        self.byzantine: tuple[NodeId, ...] = ()
        self.load_ms = 0
        self.md_ms = 0.0
        self.slowest_ms = 0.0
        self.sync_ms = 0.0
        self.halves: list[list[NodeId]] | None = None
        self.pairs = False

    @property
    def honest(self) -> tuple[NodeId, ...]:
        """Tribe nodes that are not corrupted."""
        return tuple(node for node in self.tribe if node not in self.byzantine)

    def chance(self, probability: float) -> bool:
        """True with this probability."""
        return self.rng.random() < probability

    def some(self, among: Sequence[T], most: int | None = None) -> list[T]:
        """At least one and at most `most` of them, in their own order."""
        count = self.rng.randint(1, max(1, min(len(among), most or len(among))))
        return [among[i] for i in sorted(self.rng.sample(range(len(among)), count))]

    def groups(self) -> list[list[NodeId]]:
        """Two or three groups of tribe and gateways that a partition keeps apart; who is in none bridges them."""
        if self.halves is not None and self.chance(0.5):
            return self.halves
        return random_partition(self.rng, [*self.tribe, *self.gateways], self.rng.choice((2, 2, 3)))

    def victims(self, most: int | None = None) -> list[NodeId]:
        """Honest tribe nodes whom a fault that costs nothing hits."""
        return self.some(self.honest, most)

    def views(self) -> range:
        """Views that the load passes through while all is well: the cluster has run for a while when it begins."""
        first = round(READY_MS / self.md_ms) + 3
        return range(first, first + max(1, round(self.load_ms / self.md_ms / 2)))

    def window(self) -> dict[str, Any]:
        """`from` and `until` inside the load; often from its start, sometimes to its end."""
        load = self.load_ms
        start = 0 if self.chance(0.2) else self.rng.randrange(0, load // 2 + 1)
        stop = load if self.chance(0.2) else self.rng.randint(min(load, start + load // 3), load)
        return {"from": f"{start}ms", "until": f"{stop}ms"}
