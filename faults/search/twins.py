"""The Twins generator: every way in which t twinned replicas, partitions and leaders can go through R rounds, counted
exactly, and drawn as a uniform rank, each at most once.

A schedule is, for each round, a partition of the n + t copies into k non-empty groups, a leader out of all n (a twinned
one leads with both copies), and a cut that is whole or one-way (a firewall: the attack on Fast-HotStuff needs one).
Honest nodes that have played the same roles so far are interchangeable: with two groups only one schedule of each such
class is counted (`Canonical`): a cell of s like nodes goes into the two groups in s + 1 ways instead of 2^s. With more
groups all S(n+t, k) partitions are counted (`Plain`). A prefix of an ordered list would keep early rounds constant, so
seeds are mapped to ranks by a pseudo-random permutation: without replacement, and a pure function of the seed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from functools import lru_cache
from hashlib import blake2b
from itertools import product
from random import Random
from typing import Any, Protocol, TypeAlias

import msgspec

from faults.port import NodeId
from faults.search.partitions import stirling, unrank
from faults.search.stage import set_up

SIZES = (4, 4, 5, 6, 7)
ROUNDS = (4, 6, 8)
MARK = "'"
CUTS = ("", "0>1", "1>0")
Sizes: TypeAlias = tuple[int, ...]


class Step(msgspec.Struct, frozen=True):
    """One round: groups of node and copy names, its leader, and the direction that is cut ("": both)."""

    groups: tuple[tuple[str, ...], ...]
    leader: NodeId
    one_way: str = ""


class Space(Protocol):
    """All schedules of one shape, numbered."""

    @property
    def count(self) -> int:
        """How many there are."""
        ...

    def schedule(self, rank: int) -> list[Step]:
        """The one with this number, 0 <= rank < count."""
        ...


class Plain:
    """Every labelled schedule: (S(n+t, k) * n * cuts) ^ R of them."""

    def __init__(self, honest: tuple[NodeId, ...], twinned: tuple[NodeId, ...], groups: int, rounds: int) -> None:
        self._names = [*twinned, *honest, *(node + MARK for node in twinned)]
        self._leaders = [*twinned, *honest]
        self._groups, self._rounds = groups, rounds
        self._cuts = CUTS if groups == 2 else CUTS[:1]
        self._partitions = stirling(len(self._names), groups)

    @property
    def count(self) -> int:
        return int((self._partitions * len(self._leaders) * len(self._cuts)) ** self._rounds)

    def schedule(self, rank: int) -> list[Step]:
        _check(rank, self.count)
        steps = []
        for _ in range(self._rounds):
            rank, partition = divmod(rank, self._partitions)
            rank, leader = divmod(rank, len(self._leaders))
            rank, cut = divmod(rank, len(self._cuts))
            groups = unrank(partition, self._names, self._groups)
            steps.append(Step(tuple(map(tuple, groups)), self._leaders[leader], self._cuts[cut]))
        return steps


class Canonical:
    """Two groups, one schedule of each class of like honest nodes. The first twin's first copy is in group 0.

    The state between rounds is the vector of cells, each the honest nodes with one history of roles; a round puts some
    of each cell into group 0 and the rest into group 1, and sets its leader apart.
    """

    def __init__(self, honest: tuple[NodeId, ...], twinned: tuple[NodeId, ...], rounds: int) -> None:
        if not twinned:
            raise ValueError("twins need at least one replica that is twinned")
        self._honest, self._twinned, self._rounds = honest, twinned, rounds

    @property
    def count(self) -> int:
        return paths((len(self._honest),), len(self._twinned), self._rounds)

    def schedule(self, rank: int) -> list[Step]:
        _check(rank, self.count)
        cells = [list(self._honest)]
        steps = []
        for left in range(self._rounds - 1, -1, -1):
            for move, after in choices(tuple(len(cell) for cell in cells), len(self._twinned)):  # noqa: B007 - used below
                below = paths(after, len(self._twinned), left)
                if rank < below:
                    break
                rank -= below
            step, cells = self._play(move, cells)
            steps.append(step)
        return steps

    def _play(self, move: Move, cells: list[list[NodeId]]) -> tuple[Step, list[list[NodeId]]]:
        copies = [*self._twinned, *(node + MARK for node in self._twinned)]
        sides: tuple[list[str], list[str]] = ([], [])
        for name, side in zip(copies, move.twins, strict=True):
            sides[side].append(name)
        parts = [part for cell, count in zip(cells, move.first, strict=True) for part in (cell[:count], cell[count:])]
        for index, part in enumerate(parts):
            sides[index % 2].extend(part)
        leader = self._twinned[move.leader] if move.leader < len(self._twinned) else ""
        after: list[list[NodeId]] = []
        for index, part in enumerate(parts):
            if index == move.leader - len(self._twinned):
                leader, *part = part
                after.append([leader])
            after.append(part)
        return Step((tuple(sides[0]), tuple(sides[1])), leader, move.cut), [cell for cell in after if cell]


class Move(msgspec.Struct, frozen=True):
    """One round on cells: the group of each copy (first copies, then second ones), how many of each cell go into group
    0, who leads (a twin, or the first of a part: cell 0 in group 0, cell 0 in group 1, ...), what is cut."""

    twins: tuple[int, ...]
    first: tuple[int, ...]
    leader: int
    cut: str


def moves(cells: Sizes, twins: int) -> Iterator[Move]:
    """All rounds that cells of these sizes can play, in a fixed order."""
    for copies in product((0, 1), repeat=2 * twins - 1):
        for first in product(*(range(size + 1) for size in cells)):
            if not any(copies) and all(count == size for count, size in zip(first, cells, strict=True)):
                continue  # group 1 would be empty
            parts = [part for count, size in zip(first, cells, strict=True) for part in (count, size - count)]
            leaders = [*range(twins), *(twins + i for i, part in enumerate(parts) if part)]
            for leader in leaders:
                for cut in CUTS:
                    yield Move((0, *copies), first, leader, cut)


def _after(move: Move, cells: Sizes) -> Sizes:
    """Sizes of the cells after a round, in no particular order of roles: sorted, for they are only counted."""
    twins = len(move.twins) // 2
    sizes = []
    for index, (count, size) in enumerate(zip(move.first, cells, strict=True)):
        for side, part in enumerate((count, size - count)):
            if move.leader - twins == 2 * index + side:
                sizes.append(1)
                part -= 1
            sizes.append(part)
    return tuple(sorted(size for size in sizes if size))


@lru_cache(maxsize=256)
def choices(cells: Sizes, twins: int) -> list[tuple[Move, Sizes]]:
    """`moves` with the cells that each leads to."""
    return [(move, _after(move, cells)) for move in moves(cells, twins)]


@lru_cache(maxsize=100_000)
def paths(cells: Sizes, twins: int, rounds: int) -> int:
    """How many canonical schedules of so many rounds begin at cells of these sizes."""
    if rounds == 0:
        return 1
    return sum(paths(after, twins, rounds - 1) * many for after, many in _edges(tuple(sorted(cells)), twins))


@lru_cache(maxsize=10_000)
def _edges(cells: Sizes, twins: int) -> tuple[tuple[Sizes, int], ...]:
    """The cells that one round leads to, with the number of rounds that lead there."""
    found: dict[Sizes, int] = {}
    for _, after in choices(cells, twins):
        found[after] = found.get(after, 0) + 1
    return tuple(found.items())


def _check(rank: int, count: int) -> None:
    if not 0 <= rank < count:
        raise ValueError(f"rank {rank}: there are {count} schedules")


def permuted(index: int, count: int, key: str) -> int:
    """The `index`-th number of a pseudo-random permutation of 0..count-1: a Feistel network over the next even number
    of bits, walked until it lands inside. Different indices below `count` give different numbers."""
    half = max(1, (max(1, count - 1).bit_length() + 1) // 2)
    mask = (1 << half) - 1
    value = index % count
    while True:
        left, right = value >> half, value & mask
        for round_ in range(4):
            digest = blake2b(f"{key}/{round_}/{right}".encode(), digest_size=(half + 7) // 8).digest()
            left, right = right, left ^ (int.from_bytes(digest, "big") & mask)
        value = left << half | right
        if value < count:
            return value


def twins(base: Mapping[str, Any], seed: int, regime: str = "within", fixed: Collection[str] = ()) -> dict[str, Any]:
    """The scenario of this seed, as a TOML document's values. Raises ValueError for a base that brings faults.

    Seeds with the same remainder by the number of shapes walk through one space, each schedule at most once.
    """
    shapes = [(n, groups, rounds) for n in SIZES for groups in (2, 2, 3) for rounds in ROUNDS]
    index, shape = divmod(seed, len(shapes))
    n, groups, rounds = shapes[shape]
    rng = Random(f"moonquake/twins/{seed}")
    stage = set_up(base, "twins", seed, rng, (n,), regime, "cluster" in fixed)
    space: Space = (
        Canonical(stage.honest, stage.byzantine, rounds)
        if groups == 2
        else Plain(stage.honest, stage.byzantine, groups, rounds)
    )
    steps = space.schedule(permuted(index, space.count, f"twins/{shape}"))
    stage.lead([step.leader for step in steps])
    tables = [_table(stage.first + i, step) for i, step in enumerate(steps)]
    values = stage.values
    values["adversary"] = {
        "nodes": list(stage.byzantine), "behaviour": [{"use": "twins", "options": {"rounds": tables}}]
    }  # fmt: skip
    parted = [cut for i, step in enumerate(steps) if (cut := _honest_cut(stage.first + i, step, stage.honest))]
    if parted:
        values["fault"] = [{"use": "round-partition", "rounds": parted}]
    return values


def _table(view: int, step: Step) -> dict[str, Any]:
    table: dict[str, Any] = {"view": view, "groups": [list(group) for group in step.groups]}
    return {**table, "one_way": step.one_way} if step.one_way else table


def _honest_cut(view: int, step: Step, honest: tuple[NodeId, ...]) -> dict[str, Any] | None:
    """What the network does to honest nodes in this round; None where no two of them are parted."""
    groups = [[name for name in group if name in honest] for group in step.groups]
    groups = groups if step.one_way else [group for group in groups if group]
    if len(groups) < 2 or not all(groups):
        return None
    if not step.one_way:
        return {"view": view, "groups": groups}
    source, target = (int(end) for end in step.one_way.split(">"))
    return {"view": view, "one_way": [[a, b] for a in groups[source] for b in groups[target]]}
