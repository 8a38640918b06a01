"""The shell carries effects out in order, lets nothing leave before the sync, and dies visibly."""

from __future__ import annotations

import asyncio
import errno
import threading
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
from nodes.records import BatchKeyRecord, Record, decode_record
from nodes.runtime.clock import RunClock
from nodes.runtime.shell import Shell, StoppingError
from nodes.runtime.trace import TraceWriter
from nodes.runtime.wal import Wal, WalError, scan

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


class Disk:
    """A log file that takes its time: a sync returns when the test says so (`free`), or fails with `error`."""

    def __init__(self, order: list[str]) -> None:
        self.order = order
        self.free = threading.Event()
        self.free.set()
        self.waiting = threading.Event()
        self.error: OSError | None = None
        self.content = b""
        self.durable = b""

    def write(self, data: bytes) -> int:
        self.content += data
        return len(data)

    def sync(self) -> None:
        self.waiting.set()
        assert self.free.wait(60), "the test never let the disk go on"
        if self.error is not None:
            raise self.error
        self.durable = self.content
        self.order.append("sync")

    def truncate(self, size: int) -> None:
        self.content = self.content[:size]

    def close(self) -> None:
        return

    def records(self) -> list[Record]:
        return [decode_record(body) for body in scan(self.durable, "wal")[0]]


class Watched:
    """A shell on a disk of the test's own; `order` is what became visible, in order."""

    def __init__(self, tmp_path: Path, answer: Callable[[Event], Sequence[Effect]]) -> None:
        self.order: list[str] = []
        self.disk = Disk(self.order)
        self.wal = Wal(tmp_path / "wal.log", self.disk)
        self.order.clear()  # the sync of the empty log
        self.disk.waiting.clear()
        self.trace = TraceWriter(tmp_path / "trace.jsonl", "n0", 1)
        self.trace.watchers.add(lambda: self.order.append("trace"))
        self.node = Scripted(answer)
        self.shell = Shell(self.node, RunClock(0), self.wal, self.trace, Domain("c", 0, 0))
        self.shell.network = self
        self._queued: list[str] = []

    def send(self, to: str, message: Message) -> None:
        self._queued.append(f"send {to}")

    def multicast(self, group: str, message: Message) -> None:
        self._queued.append(f"multicast {group}")

    def flush(self) -> None:
        self.order += self._queued
        self._queued.clear()

    async def until(self, *last: str) -> None:
        """Wait until `order` ends so."""
        for _ in range(20_000):
            if self.order[-len(last) :] == list(last):
                return
            await asyncio.sleep(0.001)
        raise AssertionError(f"{self.order} never came to end with {last}")


async def test_several_steps_share_one_sync_and_nothing_leaves_before_it(tmp_path: Path) -> None:
    effects = (Send("n1", MESSAGE), Persist(RECORD), Emit("vote", {}), Multicast("tribe", MESSAGE))
    watched = Watched(tmp_path, lambda event: effects)
    watched.shell.start(())
    watched.shell.deliver("n1", MESSAGE)
    assert watched.order == []
    await watched.until("send n1", "multicast tribe", "send n1", "multicast tribe")
    assert watched.order == ["sync", "trace", "send n1", "multicast tribe", "send n1", "multicast tribe"]
    assert watched.disk.records() == [RECORD, RECORD]


async def test_while_the_disk_hangs_nothing_leaves(tmp_path: Path) -> None:
    def answer(event: Event) -> Sequence[Effect]:
        match event:
            case Start():
                return (Emit("vote", {}), Persist(RECORD), Multicast("tribe", MESSAGE))
            case Submit(request, _):
                return (Reply(request, "yes"),)
        return (Send("n1", MESSAGE), Emit("later", {}))  # records nothing itself, but follows what is not durable

    watched = Watched(tmp_path, answer)
    watched.disk.free.clear()
    watched.shell.start(())
    watched.shell.deliver("n1", MESSAGE)
    reply = watched.shell.submit("question")
    watched.flush()  # the links write on their own account too: before the sync ...
    turn = threading.Thread(target=watched.shell.flush)
    turn.start()
    assert watched.disk.waiting.wait(60)
    watched.flush()  # ... and during it
    assert watched.order == [] and not reply.done() and watched.trace.size == 0
    watched.disk.free.set()
    turn.join(60)
    assert watched.order == ["sync", "trace", "multicast tribe", "send n1"] and reply.result() == "yes"


async def test_an_orderly_stop_sends_and_a_crash_does_not(tmp_path: Path) -> None:
    for crash in (False, True):
        watched = Watched(tmp_path, lambda event: (Persist(RECORD), Emit("vote", {}), Send("n1", MESSAGE)))
        watched.shell.start(())
        if crash:
            watched.shell.fail(ZeroDivisionError("bug"))
            with pytest.raises(ZeroDivisionError):
                await watched.shell.finished
        else:
            watched.shell.stop()
        await asyncio.sleep(0)
        assert watched.order == ([] if crash else ["sync", "trace", "send n1"])


async def test_replies_come_after_the_sync(tmp_path: Path) -> None:
    def answer(event: Event) -> Sequence[Effect]:
        return (Persist(RECORD), Reply(event.request, {"ok": 1})) if isinstance(event, Submit) else ()

    watched = Watched(tmp_path, answer)
    reply = watched.shell.submit("question")
    assert not reply.done()
    assert await reply == {"ok": 1} and watched.order[0] == "sync"


async def test_a_full_disk_stops_the_node_and_nothing_leaves(tmp_path: Path) -> None:
    watched = Watched(tmp_path, lambda event: (Persist(RECORD), Multicast("tribe", MESSAGE)))
    watched.disk.error = OSError(errno.ENOSPC, "no space left on device")
    watched.shell.start(())
    with pytest.raises(WalError, match="no space"):
        await asyncio.wait_for(watched.shell.finished, 20)
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
