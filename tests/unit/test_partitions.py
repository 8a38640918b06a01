"""Set partitions and Twins schedules: counted exactly, numbered without gaps, drawn uniformly."""

from __future__ import annotations

from collections import Counter
from itertools import permutations, product
from random import Random

import pytest
from scipy.stats import chisquare

from faults.search.partitions import any_partition, bell, random_partition, stirling, unrank
from faults.search.twins import MARK, Canonical, Plain, Space, Step, permuted

P_VALUE = 1e-4  # of a fixed seed: a fair sampler passes for good


@pytest.mark.parametrize(
    ("m", "k", "count"),
    [
        (5, 2, 15),
        (5, 3, 25),
        (9, 2, 255),
        (9, 3, 3025),
        (0, 0, 1),
        (4, 0, 0),
        (3, 5, 0),
        (10, 10, 1),
        (26, 3, 423610750290),
    ],
)
def test_stirling_numbers(m: int, k: int, count: int) -> None:
    assert stirling(m, k) == count


def test_bell_numbers() -> None:
    assert [bell(m) for m in range(11)] == [1, 1, 2, 5, 15, 52, 203, 877, 4140, 21147, 115975]
    with pytest.raises(ValueError, match="at least 0"):
        stirling(-1, 2)


@pytest.mark.parametrize(("m", "k"), [(1, 1), (4, 2), (5, 3), (6, 4)])
def test_every_rank_is_another_partition(m: int, k: int) -> None:
    found = {tuple(map(tuple, unrank(rank, range(m), k))) for rank in range(stirling(m, k))}
    assert len(found) == stirling(m, k)
    for blocks in found:
        assert len(blocks) == k and all(blocks)
        assert sorted(x for block in blocks for x in block) == list(range(m))
        assert [block[0] for block in blocks] == sorted(block[0] for block in blocks)
    with pytest.raises(ValueError, match="there are"):
        unrank(stirling(m, k), range(m), k)


def test_partitions_are_drawn_uniformly() -> None:
    """ByzzFuzz's sampler on four processes: each of the B(4) - 1 = 14 partitions that part anything is as likely."""
    rng = Random(5)
    seen = Counter(str(any_partition(rng, "abcd")) for _ in range(14_000))
    assert len(seen) == 14
    assert chisquare(list(seen.values())).pvalue > P_VALUE
    seen = Counter(str(random_partition(rng, "abcde", 3)) for _ in range(25_000))
    assert len(seen) == 25
    assert chisquare(list(seen.values())).pvalue > P_VALUE
    assert len({str(any_partition(rng, "abcd", trivial=True)) for _ in range(2000)}) == 15
    with pytest.raises(ValueError, match="cannot be split"):
        any_partition(rng, "a")


# ---------------------------------------------------------------- twins
def relabelled(steps: list[Step], honest: tuple[str, ...]) -> tuple[object, ...]:
    """The schedule up to renaming of honest nodes: the least of all its images."""

    def image(names: dict[str, str]) -> tuple[object, ...]:
        return tuple(
            (
                tuple(tuple(sorted(names.get(x, x) for x in group)) for group in step.groups),
                names.get(step.leader, step.leader),
                step.one_way,
            )
            for step in steps
        )  # fmt: skip

    return min((image(dict(zip(honest, order, strict=True))) for order in permutations(honest)), key=str)


def test_plain_schedules_are_counted_as_the_paper_counts() -> None:
    one = Plain(("n1", "n2", "n3"), ("n0",), 3, 1)
    assert one.count == 25 * 4
    assert Plain(("n1", "n2", "n3"), ("n0",), 2, 4).count == (15 * 4 * 3) ** 4  # three ways to cut, two of them one-way
    assert len({str(one.schedule(rank)) for rank in range(one.count)}) == 100


@pytest.mark.parametrize("honest", [2, 3])
@pytest.mark.parametrize("rounds", [1, 2])
def test_canonical_schedules_are_one_of_each_class(honest: int, rounds: int) -> None:
    """Exactly as many as there are classes of labelled schedules under renaming of honest nodes."""
    names = tuple(f"n{i}" for i in range(1, honest + 1))
    canonical, plain = Canonical(names, ("n0",), rounds), Plain(names, ("n0",), 2, rounds)
    ranks = range(0, canonical.count, 1 + canonical.count // 3000)
    found = {relabelled(canonical.schedule(rank), names) for rank in ranks}
    assert len(found) == len(ranks)
    if rounds == 1:
        classes = {relabelled(in_first_group(plain.schedule(rank)), names) for rank in range(plain.count)}
        assert found == classes


def in_first_group(steps: list[Step]) -> list[Step]:
    """Plain schedules number their groups by their first member, which is the first twin: as canonical ones do."""
    assert all("n0" in step.groups[0] for step in steps)
    return steps


def burnside(honest: int, rounds: int) -> int:
    """Classes of labelled two-group schedules with one twin, by counting fixed points of all renamings."""
    names = [f"n{i}" for i in range(1, honest + 1)]
    singles = []
    for sides in product((0, 1), repeat=honest + 1):  # the twin's copy first, then honest nodes
        if any(sides):
            singles += [(sides[0], dict(zip(names, sides[1:], strict=True)), leader) for leader in ("n0", *names)]
    total = 0
    renamings = list(permutations(names))
    for order in renamings:
        to = dict(zip(names, order, strict=True))
        fixed = sum(
            all(sides[to[x]] == sides[x] for x in names) and to.get(leader, leader) == leader
            for _, sides, leader in singles
        )
        total += (3 * fixed) ** rounds
    assert total % len(renamings) == 0
    return total // len(renamings)


@pytest.mark.parametrize("honest", [1, 2, 3, 4])
@pytest.mark.parametrize("rounds", [1, 2, 3, 6])
def test_the_count_is_exact(honest: int, rounds: int) -> None:
    names = tuple(f"n{i}" for i in range(1, honest + 1))
    assert Canonical(names, ("n0",), rounds).count == burnside(honest, rounds)


def test_schedules_are_what_they_say() -> None:
    honest, twinned = ("n2", "n3", "n4", "n5", "n6"), ("n0", "n1")
    spaces: list[Space] = [Canonical(honest, twinned, 4), Plain(honest, twinned, 3, 4)]
    leaders = set()
    for space in spaces:
        for index in range(60):
            steps = space.schedule(permuted(index, space.count, "test"))
            assert len(steps) == 4
            for step in steps:
                names = sorted(name for group in step.groups for name in group)
                assert names == sorted([*honest, *twinned, *(node + MARK for node in twinned)])
                assert all(step.groups)
                leaders.add(step.leader)
    assert leaders == {*honest, *twinned}  # twins lead, too
    with pytest.raises(ValueError, match="there are"):
        spaces[0].schedule(spaces[0].count)
    with pytest.raises(ValueError, match="at least one replica"):
        Canonical(honest, (), 2)


@pytest.mark.parametrize("count", [1, 2, 5, 64, 1000])
def test_the_permutation_is_one(count: int) -> None:
    assert sorted(permuted(i, count, "key") for i in range(count)) == list(range(count))


def test_ranks_are_spread_evenly_and_never_repeat() -> None:
    space = Canonical(("n1", "n2", "n3"), ("n0",), 8)
    ranks = [permuted(i, space.count, "key") for i in range(8000)]
    assert len(set(ranks)) == 8000
    buckets = Counter(rank * 20 // space.count for rank in ranks)
    assert chisquare([buckets[i] for i in range(20)]).pvalue > P_VALUE
