"""The observer of a node that is not ours: what it writes, and what it must not."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from harness.http import UnansweredError
from harness.targets.agent import Agent, status_of
from harness.targets.port import Report, finalised
from results.trace import TraceEvent, read_trace
from tests.program_kit import FakeNode, Scripted


def watcher(place: Path, *reports: Any) -> tuple[Agent, Scripted]:
    target = Scripted()
    target.reports = list(reports)
    clock = iter(range(1, 1000))
    agent = Agent(target, FakeNode(), place / "trace.jsonl", lambda: next(clock))
    agent.born()
    return agent, target


def written(place: Path) -> list[TraceEvent]:
    return list(read_trace(place / "trace.jsonl"))


async def test_blocks_are_written_once_a_life_and_progress_when_it_is_news(tmp_path: Path) -> None:
    one, two = finalised(1, "a", ""), finalised(2, "b", "a")
    agent, target = watcher(
        tmp_path, Report(2, 5, "n1", [one, two]), Report(2, 5, "n1"), Report(2, 6), Report(2, 6, "n0", [one, two])
    )
    for _ in range(3):
        await agent.observe()
    agent.born()
    await agent.observe()
    await agent.close()
    told = [(e["event"], e["incarnation"], e.get("height")) for e in written(tmp_path)]
    first = [("start", 1, None), ("finalise", 1, 1), ("finalise", 1, 2), ("progress", 1, 2), ("progress", 1, 2)]
    again = [("restart", 2, None), ("finalise", 2, 1), ("finalise", 2, 2), ("progress", 2, 2)]
    assert told == first + again
    assert target.asked == [0, 2, 2, 0]


async def test_silence_is_no_answer_and_the_last_leader_is_remembered(tmp_path: Path) -> None:
    agent, _ = watcher(tmp_path, Report(1, 1, "n2"), UnansweredError("reset"), TimeoutError(), None, Report(1, 2, ""))
    assert [await agent.observe() is not None for _ in range(5)] == [True, False, False, False, True]
    assert agent.leader == "n2"
    await agent.close()


async def test_what_was_asked_before_the_kill_is_not_written_after_it(tmp_path: Path) -> None:
    agent, target = watcher(tmp_path)
    answered = asyncio.Event()

    async def late(node: Any, since: int) -> Report:
        await answered.wait()
        return Report(9)

    target.status = late  # type: ignore[method-assign]
    asking = asyncio.create_task(agent.observe())
    await asyncio.sleep(0)
    agent.upset(down=True)
    answered.set()
    assert await asking is None
    assert await agent.observe() is None, "nobody need ask one that is down"
    agent.born()
    assert await agent.observe() == Report(9)
    await agent.close()
    assert [e["event"] for e in written(tmp_path)] == ["start", "restart", "progress"]


def test_what_is_decided_counts_as_executed() -> None:
    status = status_of("n0", Report(7, 3), 2, 99)
    assert (status.up, status.height, status.executed, status.view, status.incarnation, status.pid) == (
        True, 7, 7, 3, 2, 99,
    )  # fmt: skip
    assert not status_of("n0", None, 2, 0).up
