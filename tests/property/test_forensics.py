"""Forensics over random forked runs: at least 2Q-n culprits for every fork, and nobody honest, ever."""

from __future__ import annotations

import tomllib
from collections import Counter
from importlib.resources import files
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from checkers.culprits import needed, proofs_against
from harness.scenario import parse
from harness.toml import Source
from harness.trial import trial
from results.verdict import Status
from tests.forked import Fork, Walk

SIZES = ((4, 2), (7, 3), (5, 2), (10, 4))  # n, b = f + 1 (5: two quorums share 3)


def culprits(fork: Fork) -> dict[str, set[str]]:
    """node -> rules that its shown statements break."""
    found = {name: {p.rule for p in proofs_against(name, shown)} for name, shown in fork.shown.items()}
    return {name: rules for name, rules in found.items() if rules}


def walk(n: int, b: int, seed: int, steps: int = 300) -> Fork:
    return Walk(n, b, Random(seed)).run(steps)


@settings(max_examples=80, deadline=None)
@given(size=st.sampled_from(SIZES), more=st.integers(0, 1), seed=st.integers(0, 10**9))
def test_nobody_honest_is_ever_accused(size: tuple[int, int], more: int, seed: int) -> None:
    n, b = size
    fork = walk(n, b + more, seed)
    assert culprits(fork).keys() <= fork.byzantine


@settings(max_examples=80, deadline=None)
@given(size=st.sampled_from(SIZES[:2]), seed=st.integers(0, 10**9))
def test_every_fork_has_enough_culprits(size: tuple[int, int], seed: int) -> None:
    n, b = size
    fork = walk(n, b, seed)
    if fork.conflict:
        assert len(culprits(fork)) >= needed(n), fork.conflict


def test_both_kinds_of_forks_were_explained() -> None:
    """The walks above do fork, within a view and across views, and both kinds of guilt are needed for that."""
    kinds: Counter[str] = Counter()
    rules: Counter[str] = Counter()
    for seed in range(150):
        fork = walk(4, 2, seed)
        if fork.conflict:
            kinds[fork.conflict] += 1
            guilty = culprits(fork)
            assert len(guilty) >= needed(4) and guilty.keys() <= fork.byzantine
            rules.update(rule for broken in guilty.values() for rule in broken)
    assert kinds["same-view"] >= 5 and kinds["cross-view"] >= 5, kinds
    assert rules["lock-denied"] and rules["double-vote"], rules


@pytest.mark.parametrize("seed", range(60))
def test_within_the_bound_nothing_forks(seed: int) -> None:
    """The model itself: correct rules and f Byzantine replicas never fork it."""
    assert not walk(4, 1, seed, 200).conflict


@pytest.mark.parametrize("seed", range(2))
def test_forked_clusters_name_their_coalition(seed: int) -> None:
    """The same over the simulated cluster, from its trace alone, with signatures."""
    text = files("harness.scenarios.boundary").joinpath("tribe-past-bound.toml").read_text()
    text = text.replace('"10s"', '"4s"').replace('until = "9s"', 'until = "4s"').replace('quiet = "5s"', 'quiet = "1s"')
    run = trial(parse(tomllib.loads(text), Source("fork.toml", text)), seed, ["fork", "forensics"])
    fork, forensics = run.verdicts
    assert fork.status is Status.FAIL and forensics.status is Status.PASS, forensics
    assert set(forensics.measures["culprits"]) == {"n4", "n5", "n6"} and forensics.measures["needed"] == 3
