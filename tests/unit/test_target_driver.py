"""What the ending of an operation on somebody else's system means, and what a process does with it."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any

import pytest

from checkers.soundness import history_flaws
from harness.http import NeverSentError, UnansweredError
from harness.load import Asked, Load, Told
from harness.recorder import Recorder
from harness.targets.driver import TargetDriver, concluded
from harness.targets.port import Operation, Outcome
from harness.workloads.registers import Registers
from results.history import read_history
from tests.program_kit import ROSTER, FakeNode, Scripted

WRITE, READ = Operation("write", [1, 2]), Operation("read", [1, None], observes=True)


@pytest.mark.parametrize(
    ("raised", "of_a_write", "of_a_read"),
    [
        (NeverSentError("refused"), "fail", "fail"),
        (ConnectionRefusedError("refused"), "fail", "fail"),
        (UnansweredError("reset"), "info", "fail"),
        (ConnectionResetError("reset"), "info", "fail"),
        (TimeoutError(), "info", "fail"),
        (KeyError("kvs"), "info", "fail"),
        (Outcome("info", error="no leader"), "info", "fail"),
        (Outcome("fail", error="compared"), "fail", "fail"),
        (Outcome("ok", [1, 2]), "ok", "ok"),
    ],
)
async def test_only_what_certainly_did_not_happen_is_a_fail(raised: Any, of_a_write: str, of_a_read: str) -> None:
    target = Scripted()
    target.outcomes = [raised, raised]
    assert (await concluded(target, WRITE, FakeNode())).kind == of_a_write
    assert (await concluded(target, READ, FakeNode())).kind == of_a_read


async def test_an_operation_that_never_ends_is_given_up() -> None:
    class Slow(Scripted):
        patience_s = 0.01

        async def perform(self, operation: Operation, node: Any) -> Outcome:
            await asyncio.Event().wait()
            raise AssertionError

    assert (await concluded(Slow(), WRITE, FakeNode())).kind == "info"


@pytest.mark.parametrize(
    ("kinds", "whole"), [("ok fail info", "ok"), ("fail info fail", "info"), ("fail fail fail", "fail")]
)
async def test_of_several_copies_one_that_took_effect_counts(kinds: str, whole: str) -> None:
    target = Scripted()
    target.outcomes = [Outcome(kind) for kind in kinds.split()]  # type: ignore[arg-type]
    nodes = [FakeNode(name) for name in ROSTER.tribe]
    outcome = await TargetDriver(target, Registers(ROSTER.tribe, Random(1))).perform(WRITE, nodes)
    assert outcome.kind == whole


class Cluster:
    """Time passes only while somebody sleeps."""

    def __init__(self) -> None:
        self.time = 0

    def now(self) -> int:
        return self.time

    async def sleep(self, seconds: float) -> None:
        self.time += int(seconds * 1e9)
        await asyncio.sleep(0)

    def clients(self) -> dict[str, FakeNode]:
        return {name: FakeNode(name) for name in ROSTER.tribe}


async def test_a_process_asks_its_own_node_until_nobody_knows(tmp_path: Path) -> None:
    target: Any = Scripted()
    kinds = iter(["ok", "info", "fail", "ok", "ok", "info", *["ok"] * 1000])
    enough = asyncio.Event()
    target.perform = _perform(kinds, 30, enough)
    cluster: Any = Cluster()
    with Recorder(tmp_path / "h", cluster.now) as recorder:
        load = Load(TargetDriver(target, Registers(ROSTER.tribe, Random(1), reads=0.0)), cluster, recorder, 100, 2)
        running = asyncio.create_task(load.run())
        await enough.wait()
        load.close()
        await running
    history = list(read_history(tmp_path / "h"))
    assert not history_flaws(history)
    assert load.tally.info == 2 and {o.process for o in history} == {0, 1, 2, 3}
    assert {o.process: o.gateway for o in history} == {0: "n0", 1: "n1", 2: "n2", 3: "n0"}


def _perform(kinds: Any, count: int, enough: asyncio.Event) -> Any:
    asked: list[Operation] = []

    async def perform(operation: Operation, node: Any) -> Outcome:
        asked.append(operation)
        if len(asked) == count:
            enough.set()
        return Outcome(next(kinds))

    return perform


async def test_what_is_in_flight_when_the_run_ends_is_info(tmp_path: Path) -> None:
    begun = asyncio.Event()

    class Stuck:
        def next(self) -> Asked:
            return Asked("write", [1, 1])

        async def perform(self) -> Told:
            begun.set()
            await asyncio.Event().wait()
            raise AssertionError

    class Driver:
        @asynccontextmanager
        async def open(self, cluster: Any) -> Any:
            yield lambda number: Stuck()

    cluster: Any = Cluster()
    with Recorder(tmp_path / "h", cluster.now) as recorder:
        load = Load(Driver(), cluster, recorder, 100, 1)
        running = asyncio.create_task(load.run())
        await begun.wait()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    last = list(read_history(tmp_path / "h"))[-1]
    assert (last.type, last.error) == ("info", "the run ended first")
