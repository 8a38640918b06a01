"""A trace judged on its columns has the verdict of the same one judged record by record, whatever is wrong with it."""

from __future__ import annotations

from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from checkers.judge import Judge
from checkers.registry import judge, load, names
from results.store import Run
from results.trace_parquet import write_trace
from results.verdict import Status, Verdict
from tests.golden.plants import PLANTS
from tests.golden.story import Story
from tests.golden.world import World

COLUMNAR = [name for name in names() if isinstance(checker := load(name), Judge) and checker.columnar]
KINDS = sorted((checker, kind) for checker, kinds in PLANTS.items() for kind in kinds)
CONSENSUS = sorted((checker, kind) for checker in COLUMNAR for kind in PLANTS[checker])
PLAN = (5, 2, 0, 1)
FIELDS = ("view", "height", "block", "parent", "kind", "batches", "signers", "signatures", "node", "time", "applied")


def columns(story: Story, directory: Path) -> Run:
    """The story as a run directory with a trace.parquet."""
    (directory / "run.json").write_bytes(msgspec.json.encode(story.info))
    (directory / "history.jsonl").write_bytes(b"".join(msgspec.json.encode(r) + b"\n" for r in story.history))
    write_trace(directory / "trace.parquet", sorted(story.trace, key=lambda e: int(e["time"])))
    return Run(directory)


def told(verdict: Verdict) -> dict[str, Any]:
    """A verdict as it is compared: which signatures were remembered does not matter."""
    plain: dict[str, Any] = msgspec.to_builtins(verdict)
    plain["measures"].pop("signatures", None)
    if "crashed" in verdict.reason or "do not have" in verdict.reason:  # a field that is not there
        return {"property": plain["property"], "status": plain["status"], "reason": "unreadable"}
    return plain


def alike(story: Story) -> None:
    """Both ways give the same verdicts, with the same anomalies, examined and measures."""
    with TemporaryDirectory() as directory:
        run = columns(story, Path(directory))
        assert run.columns is not None
        by_columns = [told(verdict) for verdict in judge(run, COLUMNAR)]
    by_records = [told(verdict) for verdict in judge(story.run(), COLUMNAR)]
    for ours, theirs in zip(by_columns, by_records, strict=True):
        assert ours == theirs


@pytest.fixture(scope="module")
def world() -> World:
    return World(plan=PLAN)


def test_the_safety_checkers_read_columns() -> None:
    assert set(COLUMNAR) >= {"fork", "prefix", "order", "ancestry", "votes", "locks", "dedup", "timeouts"}


@settings(max_examples=5, deadline=None)
@given(
    shape=st.sampled_from([(4, 1, 1), (7, 1, 2), (5, 2, 1)]),
    plan=st.lists(st.integers(0, 3), min_size=1, max_size=5),
    copies=st.booleans(),
    seed=st.integers(0, 10**6),
)
def test_valid_runs(shape: tuple[int, int, int], plan: list[int], copies: bool, seed: int) -> None:
    alike(World(*shape, plan=plan, copies=copies, seed=seed).story())


@pytest.mark.parametrize(("checker", "kind"), KINDS)
def test_every_planted_violation(checker: str, kind: str, world: World) -> None:
    story = world.story().copy()
    PLANTS[checker][kind](world, story)
    alike(story)


@settings(max_examples=15, deadline=None)
@given(plants=st.lists(st.sampled_from(CONSENSUS), min_size=2, max_size=4, unique=True), seed=st.integers(0, 10**6))
def test_several_violations_in_records_of_any_order(plants: list[tuple[str, str]], seed: int) -> None:
    world = World(5, plan=PLAN, seed=seed)
    story = world.story().copy()
    for checker, kind in plants:
        try:
            PLANTS[checker][kind](world, story)
        except IndexError:  # what it alters is gone already
            continue
    alike(story.shuffled(Random(seed)))


@settings(max_examples=60, deadline=None)
@given(data=st.data(), seed=st.integers(0, 1000))
def test_records_altered_at_random(data: st.DataObject, seed: int) -> None:
    """Fields swapped between records, records doubled, moved and taken away; nodes called Byzantine or crashed."""
    story = World(4, gateways=1, plan=(2, 1, 0), seed=seed).story().copy()
    for _ in range(data.draw(st.integers(1, 4))):
        event = data.draw(st.sampled_from(story.trace))
        match data.draw(st.sampled_from(["swap", "swap", "swap", "double", "drop", "move", "again"])):
            case "swap":
                field = data.draw(st.sampled_from([f for f in FIELDS if f in event]))
                others = [e for e in story.trace if e["event"] == event["event"] and field in e]
                event[field] = data.draw(st.sampled_from(others))[field]
            case "double":
                story.add(event, time=event["time"] + data.draw(st.integers(0, 3)) * 50_000_000)
            case "drop":
                story.drop(event["event"], **({"node": event["node"]} if data.draw(st.booleans()) else {}))
            case "move":
                event["time"] = data.draw(st.integers(0, 1_000_000_000))
            case "again":
                story.add(event, event="restart", recovered=3, incarnation=2)
        if not story.trace:
            break
    for role in ("byzantine", "crashed", "amnesiac"):
        if data.draw(st.integers(0, 4)) == 0:
            story.info[role] = [data.draw(st.sampled_from(story.info["tribe"]))]
    if story.trace:
        alike(story)


def test_a_missing_field_is_unknown_both_ways(tmp_path: Path) -> None:
    story = World(plan=(1, 0)).story().copy()
    for event in story.events("finalise"):
        del event["height"]
    (verdict,) = judge(columns(story, tmp_path), ["fork"])
    assert (
        verdict.status is Status.UNKNOWN and "finalise records do not have a whole number as 'height'" in verdict.reason
    )
    assert judge(story.run(), ["fork"])[0].status is Status.UNKNOWN
