"""The shell carries effects out in order, lets nothing leave before the sync, and dies visibly."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from nodes.crypto import Domain
from nodes.messages import BlockRequest, Message
from nodes.port import (
    CancelTimer,
    Effect,
    Emit,
    Event,
    Expire,
    Multicast,
    Persist,
    Reply,
    Send,
    SetTimer,
    Start,
    Submit,
)
from nodes.records import BatchKeyRecord, decode_record
from nodes.runtime.clock import RunClock
from nodes.runtime.shell import Shell, StoppingError
from nodes.runtime.trace import TraceWriter
from nodes.runtime.wal import Wal, WalError

MESSAGE = BlockRequest(bytes(32), 0)
RECORD = BatchKeyRecord(0, "n0", 1, bytes(32))


class Scripted:
    """Answers each event with what the test says, and remembers the events."""

    def __init__(self, answer: Callable[[Event], Sequence[Effect]]) -> None:
        self.answer = answer
        self.events: list[Event] = []

    def step(self, now: int, event: Event) -> Sequence[Effect]:
        self.events.append(event)
        return self.answer(event)


class Watched:
    """A shell on real files; `order` is what became visible, in order."""

    def __init__(self, tmp_path: Path, answer: Callable[[Event], Sequence[Effect]]) -> None:
        self.order: list[str] = []
        self.wal = Wal(tmp_path / "wal.log")
        self.trace = TraceWriter(tmp_path / "trace.jsonl", "n0", 1)
        self.node = Scripted(answer)
        self.shell = Shell(self.node, RunClock(0), self.wal, self.trace, Domain("c", 0, 0))
        self.shell.network = self
        self._queued: list[str] = []
        sync, flush = self.wal.sync, self.trace.flush

        def synced() -> None:
            if self.wal.dirty:
                self.order.append("sync")
            sync()

        def traced() -> None:
            flush()
            self.order.append("trace")

        self.wal.sync = synced  # type: ignore[method-assign]
        self.trace.flush = traced  # type: ignore[method-assign]

    def send(self, to: str, message: Message) -> None:
        self._queued.append(f"send {to}")

    def multicast(self, group: str, message: Message) -> None:
        self._queued.append(f"multicast {group}")

    def flush(self) -> None:
        self.order += self._queued
        self._queued.clear()


async def test_several_steps_share_one_sync_and_nothing_leaves_before_it(tmp_path: Path) -> None:
    effects = (Send("n1", MESSAGE), Persist(RECORD), Emit("vote", {}), Multicast("tribe", MESSAGE))
    watched = Watched(tmp_path, lambda event: effects)
    watched.shell.start(())
    watched.shell.deliver("n1", MESSAGE)
    assert watched.order == []
    await asyncio.sleep(0)
    assert watched.order == ["sync", "trace", "send n1", "multicast tribe", "send n1", "multicast tribe"]
    watched.wal.close()
    again = Wal(tmp_path / "wal.log")
    assert [decode_record(r) for r in again.records] == [RECORD, RECORD]
    again.close()


async def test_replies_come_after_the_sync(tmp_path: Path) -> None:
    def answer(event: Event) -> Sequence[Effect]:
        return (Persist(RECORD), Reply(event.request, {"ok": 1})) if isinstance(event, Submit) else ()

    watched = Watched(tmp_path, answer)
    reply = watched.shell.submit("question")
    assert not reply.done()
    assert await reply == {"ok": 1} and watched.order[0] == "sync"


async def test_a_full_disk_stops_the_node_and_nothing_leaves(tmp_path: Path) -> None:
    watched = Watched(tmp_path, lambda event: (Persist(RECORD), Multicast("tribe", MESSAGE)))

    def full() -> None:
        raise WalError("no space left on device")

    watched.wal.sync = full  # type: ignore[method-assign]
    watched.shell.start(())
    with pytest.raises(WalError, match="no space"):
        await watched.shell.finished
    watched.shell.deliver("n1", MESSAGE)
    await asyncio.sleep(0)
    assert watched.order == [] and len(watched.node.events) == 1


@pytest.mark.parametrize("effects", [None, (object(),)])
async def test_a_core_that_raises_or_talks_nonsense_ends_the_process(tmp_path: Path, effects: Any) -> None:
    def answer(event: Event) -> Sequence[Effect]:
        if effects is None:
            raise ZeroDivisionError("bug")
        result: Sequence[Effect] = effects
        return result

    watched = Watched(tmp_path, answer)
    watched.shell.start(())
    with pytest.raises((ZeroDivisionError, TypeError)):
        await watched.shell.finished
    with pytest.raises(StoppingError):
        watched.shell.submit("too late")


async def test_timers_fire_in_order_are_replaced_and_cancelled(tmp_path: Path) -> None:
    def answer(event: Event) -> Sequence[Effect]:
        if isinstance(event, Start):
            now = watched.shell.clock.now()
            return (
                SetTimer("late", now + 40_000_000),
                SetTimer("moved", now + 1_000_000),
                SetTimer("never", now + 1_000_000),
                SetTimer("moved", now + 20_000_000),
                CancelTimer("never"),
                CancelTimer("unknown"),
                SetTimer("past", 0),
            )
        if event == Expire("late"):
            watched.shell.stop()
        return ()

    watched = Watched(tmp_path, answer)
    watched.shell.start(())
    await asyncio.wait_for(watched.shell.finished, 20)
    assert watched.node.events[1:] == [Expire("past"), Expire("moved"), Expire("late")]


async def test_rejects_are_counted_and_their_trace_is_bounded(tmp_path: Path) -> None:
    watched = Watched(tmp_path, lambda event: (Emit("reject", {"reason": "x", "sender": "n1"}),))
    for _ in range(1000):
        watched.shell.reject("bad hello", "1.2.3.4:5")
        watched.shell.deliver("n1", MESSAGE)
    watched.shell.flush()
    lines = (tmp_path / "trace.jsonl").read_bytes().splitlines()
    assert watched.shell.rejects.total == 2000
    assert 50 <= len(lines) < 200


def test_skew_and_drift_bend_the_nodes_clock_but_not_the_runs() -> None:
    plain, bent = RunClock(0), RunClock(0, skew_ms=5000, drift_ppm=100_000)
    elapsed = plain.true()
    ahead = bent.now() - elapsed
    assert ahead >= 5_000_000_000 + elapsed // 10
    assert bent.true() - elapsed < 1_000_000_000
    at = bent.now() + 1_100_000_000
    assert bent.loop_time(at) * 1e9 - plain.true() <= 1_000_000_000 + 1_000_000
    assert bent.reached(at) >= at and bent.now() >= at
