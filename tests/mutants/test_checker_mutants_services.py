"""Plausible bugs of the judges of culprits, blame, order and batches, one changed line each: golden runs kill them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from checkers import accountability, culprits, families, order, preconfirmation, xrbc_agreement
from checkers.index import index_of
from checkers.registry import judge
from results.evidence import Statement
from results.verdict import Status
from tests.golden.make import good, world
from tests.golden.planting import bounds
from tests.golden.plants import PLANTS
from tests.golden.plants_services import _never_ordered, _slot_twice, split
from tests.golden.world import MS, World
from tests.mutants.test_checker_mutants_linear import mutate

JUDGES = ("forensics", "accountability", "order", "xrbc-agreement", "preconfirmation")
MUTANTS: dict[str, tuple[Any, str, str]] = {
    "votes of any two views": (culprits.contradiction, "first.view != second.view or", ""),
    "one block twice is two": (culprits.contradiction, "first.block == second.block", "False"),
    "an own later time-out is guilt": (culprits.contradiction, "second.view == first.view - 1", "second.view >= 0"),
    "an earlier time-out denies a lock": (culprits.contradiction, "second.view >= first.view and", ""),
    "the voted view is the lock": (culprits._lock_shown, "vote.view - 1 if", "vote.view if"),
    "a signature is not looked at": (culprits.signature_fault, "if notary.signed", "if True or notary.signed"),
    "anybody is a primary": (accountability._ordered, "key.proposer != members[0]", "key.proposer not in members"),
    "any receipt is believed": (accountability._receipts, "index.notary.signed(", "True or index.notary.signed("),
    "any record will do": (accountability._faults, 'event["primary"] != rescue.primary or', ""),
    "one record or more": (accountability._faults, "len(found) > 1", "len(found) > 9"),
    "families are not salted": (families.family, "+ beacon", ""),
    "only heights are compared": (order._batches, 'event["block"], tuple(event["batches"])', "(0,)"),
    "the set is executed": (order._executed, 'tuple(event["applied"])', 'len(event["aborted"])'),
    "any height will do": (order._wrongly_told, 'event["height"] not in heights', "not heights"),
    "void is effective": (xrbc_agreement._effects, "and not both", "and both"),
    "the chain does not choose": (xrbc_agreement._choices, 'event["batches"] == due[at]', "True"),
    "all proposers may": (xrbc_agreement._honest, "if key.proposer in trusted:", "if False:"),
    "late is in time": (preconfirmation.Preconfirmation.judge, "due and promise.honest:", "due * 9:"),
    "lost is pending": (preconfirmation.Preconfirmation.judge, "due > index.end", "due > 0"),
    "pending is lost": (preconfirmation.Preconfirmation.judge, "due > index.end", "False"),
}


def mistakes(origin: World) -> Iterator[str]:
    """What the judges get wrong about the golden runs, and about a few that are right."""
    base = origin.story()
    for name in JUDGES:
        if judge(good(name, base).run(), [name])[0].status is not Status.PASS:
            yield f"{name}: a good run does not pass"
        for kind, plant in PLANTS[name].items():
            story = base.copy()
            plant(origin, story)
            if kind not in {anomaly.kind for anomaly in judge(story.run(), [name])[0].anomalies}:
                yield f"{name}: {kind} is not found"
    yield from _leniency(origin)


def _leniency(origin: World) -> Iterator[str]:
    story = origin.story().copy()
    _never_ordered(story)
    story.info["end"] = 1000 * MS
    if judge(story.run(), ["preconfirmation"])[0].anomalies:
        yield "what may still come is lost"
    story = origin.story().copy()
    bounds(story, inclusion_ms=10**6)
    first, second = _slot_twice(story)
    story.drop("availability_vote", batch=second)  # whose traces here are honest: nobody votes for both
    for event in story.events("execute", height=2):
        event |= {"batches": [], "void": [second]}
    if judge(story.run(), ["xrbc-agreement"])[0].anomalies:
        yield f"{first} counts, and {second} is held against it"
    evidence = culprits.evidence(index_of(split(origin, origin.story().copy()).run()))
    vote = evidence.proofs[0].first
    forged = Statement(vote.kind, vote.view, "00" * 64, vote.block)
    if culprits.signature_fault(index_of(origin.story().run()).notary, "n2", forged) is None:
        yield "a forged signature counts"
    vote, commit = Statement("optimistic", 5, "", "aa"), Statement("commit", 5, "", "aa")
    innocent = [
        (vote, Statement("optimistic", 6, "", "bb")),
        (vote, Statement("normal", 5, "", "aa")),
        (vote, Statement("timeout", 5, "", lock_view=4)),
        (commit, Statement("timeout", 4, "", lock_view=3)),
    ]
    yield from (f"{one} and {two} are guilt" for one, two in innocent if culprits.contradiction(one, two))


@pytest.fixture(scope="module")
def origin() -> World:
    return world()


def test_the_judges_themselves_make_no_mistake(origin: World) -> None:
    assert list(mistakes(origin)) == []


@pytest.mark.parametrize("name", MUTANTS)
def test_each_mutant_is_killed(name: str, origin: World, monkeypatch: pytest.MonkeyPatch) -> None:
    mutate(monkeypatch, *MUTANTS[name])
    assert next(mistakes(origin), None) is not None
