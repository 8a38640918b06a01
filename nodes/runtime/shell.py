"""The shell round a sans-I/O node: events in, effects out in order, group commit.

1. A step's effects are carried out in order: records and trace events are collected, timers set, and everything that
   leaves the node (messages, replies, trace lines) is held back in the group of the present turn.
2. At the end of the turn the group is sealed and its records are synced; after a busy turn in a thread, so that the
   node thinks on while the disk works (a quiet node has nothing else to do, and switching threads takes time). Then
   the next group fills meanwhile; one sync runs at a time, and many steps share it.
3. When the sync is done, the group is released: first the trace is written, then messages and replies leave. Groups are
   released in order, one without records too. So nothing that follows a `Persist` leaves before it is durable.
4. A core that raises, or a disk that fails, ends the process: `finished` gets the error and nothing more leaves.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Protocol, TypeAlias

from nodes.crypto import Domain
from nodes.messages import Message, NodeId, encode
from nodes.port import (
    CancelTimer,
    Effect,
    Emit,
    Event,
    Expire,
    Multicast,
    Node,
    Persist,
    Receive,
    Reply,
    Send,
    SetTimer,
    Start,
    Submit,
)
from nodes.records import Record
from nodes.runtime.clock import RunClock
from nodes.runtime.rejects import Rejects
from nodes.runtime.trace import TraceWriter
from nodes.runtime.wal import Wal

MAX_REQUESTS = 20_000  # requests of local clients that wait for their reply
MAX_HELD = 5_000  # messages and replies held back; beyond that the node waits for its disk, and its peers for the node
BUSY_STEPS = 4  # steps of a turn from which on its sync goes to the thread

Outward: TypeAlias = Send | Multicast | Reply


class Network(Protocol):
    """What the shell needs of nodes.runtime.links.Links."""

    def send(self, to: NodeId, message: Message) -> None: ...

    def multicast(self, group: str, message: Message) -> None: ...

    def flush(self) -> None: ...


class BusyError(RuntimeError):
    """Too many requests wait for their reply already."""


class StoppingError(RuntimeError):
    """The node stops; this request gets no reply any more."""


class Shell:
    """Runs one node. `finished` resolves on an orderly stop and gets the exception on anything else."""

    def __init__(self, node: Node, clock: RunClock, wal: Wal, trace: TraceWriter, domain: Domain) -> None:
        self.node = node
        self.clock = clock
        self.wal = wal
        self.trace = trace
        self.domain = domain
        self.network: Network | None = None
        self.rejects = Rejects(clock.true, self.emit)
        self._loop = asyncio.get_running_loop()
        self.finished: asyncio.Future[None] = self._loop.create_future()
        self._halted = False
        self._scheduled = False
        self._timers: dict[str, tuple[int, asyncio.TimerHandle]] = {}
        self._requests: dict[int, asyncio.Future[Any]] = {}
        self._next_request = 1
        self._steps = 0  # since the open group was begun
        self._held: list[Outward] = []  # the open group; its trace lines and records are still with trace and log
        self._sealed: tuple[Future[None], list[Outward], bytes] | None = None  # (sync under way, held, trace lines)
        self._disk = ThreadPoolExecutor(1, "log")
        self._handlers: dict[type[Any], Callable[[Any], None]] = {
            Send: self._held.append,
            Multicast: self._held.append,
            SetTimer: self._set_timer,
            CancelTimer: self._cancel_timer,
            Persist: self._persist,
            Emit: self._emit_effect,
            Reply: self._held.append,
        }

    # ---------------------------------------------------------------- events
    def start(self, records: tuple[Record, ...]) -> None:
        """The first event of this incarnation."""
        self.step(Start(records))

    def deliver(self, peer: NodeId, message: Message) -> None:
        """A message of an authenticated peer."""
        self.step(Receive(peer, message))

    def submit(self, body: Any) -> asyncio.Future[Any]:
        """A local client's request; the future gets the reply, or StoppingError. Raises BusyError, StoppingError."""
        if self._halted:
            raise StoppingError("the node is stopping")
        if len(self._requests) >= MAX_REQUESTS:
            raise BusyError(f"{MAX_REQUESTS} requests wait already; ask again later")
        number, self._next_request = self._next_request, self._next_request + 1
        future: asyncio.Future[Any] = self._loop.create_future()
        self._requests[number] = future
        self.step(Submit(number, body))
        return future

    def step(self, event: Event, now: int | None = None) -> None:
        """One event through the node, and its effects."""
        if self._halted:
            return
        self._steps += 1
        try:
            for effect in self.node.step(self.clock.now() if now is None else now, event):
                self.carry_out(effect)
        except Exception as error:  # a core that raises must be seen: the process ends
            self.fail(error)
            return
        self._schedule()

    def carry_out(self, effect: Effect) -> None:
        """One effect of the node."""
        handler = self._handlers.get(type(effect))
        if handler is None:
            raise TypeError(f"the node returned {type(effect).__name__}, which is not an effect that leaves a node")
        handler(effect)

    # ---------------------------------------------------------------- the end of a turn
    def flush(self) -> None:
        """Seal the present group: sync its records if it has any, else release it; not while a sync is under way."""
        self._scheduled = False
        if self._halted or (self._sealed is not None and len(self._held) < MAX_HELD):
            return
        try:
            if self._sealed is not None or (self.wal.dirty and self._steps < BUSY_STEPS):
                self._settle()
            elif self.wal.dirty:
                sync = self._disk.submit(self.wal.write, self.wal.take())
                self._sealed = (sync, self._take_held(), self.trace.take())
                sync.add_done_callback(self._wake)
            else:
                self._release(self._take_held(), self.trace.take())
        except Exception as error:
            self.fail(error)

    def _wake(self, sync: Future[None]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(self._synced, sync)

    def _synced(self, sync: Future[None]) -> None:
        """The thread is done with `sync`: release its group and go on with the next, unless somebody did already."""
        if self._halted or self._sealed is None or self._sealed[0] is not sync:
            return
        try:
            self._release_sealed()
        except Exception as error:
            self.fail(error)
        else:
            self.flush()

    def _settle(self) -> None:
        """Wait for the disk and release everything. Raises WalError, TraceError."""
        self._release_sealed()
        self.wal.sync()
        self._release(self._take_held(), self.trace.take())

    def _release_sealed(self) -> None:
        if self._sealed is not None:
            sync, held, lines = self._sealed
            sync.result()
            self._sealed = None
            self._release(held, lines)

    def _release(self, held: list[Outward], lines: bytes) -> None:
        self.trace.write(lines)
        network = self.network
        for effect in held:
            if isinstance(effect, Reply):
                future = self._requests.pop(effect.request, None)
                if future is not None and not future.done():
                    future.set_result(effect.value)
            elif network is None:
                continue
            elif isinstance(effect, Send):
                network.send(effect.to, effect.message)
            else:
                network.multicast(effect.group, effect.message)
        if network is not None:
            network.flush()

    def _take_held(self) -> list[Outward]:
        self._steps = 0
        held = self._held[:]
        self._held.clear()
        return held

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self.flush)

    # ---------------------------------------------------------------- ends
    def stop(self) -> None:
        """Orderly stop: what was decided so far is recorded and sent."""
        if not self.finished.done():
            try:
                self._settle()
            except Exception as error:
                self.fail(error)
        self._end()
        if not self.finished.done():
            self.finished.set_result(None)

    def fail(self, error: BaseException) -> None:
        """Stop at once; nothing that is queued leaves."""
        self._end()
        if not self.finished.done():
            self.finished.set_exception(error)

    def record(self) -> None:
        """After `fail`: make durable and trace what was decided before it; nothing is sent. Raises as `flush` fails."""
        if self._sealed is not None:
            sync, _, lines = self._sealed
            self._sealed = None
            sync.result()
            self.trace.write(lines)
        self.wal.sync()
        self.trace.flush()

    def close(self) -> None:
        """Wait for a sync under way, then close trace and log."""
        self._disk.shutdown()
        self.trace.close()
        self.wal.close()

    def _end(self) -> None:
        self._halted = True
        for _, handle in self._timers.values():
            handle.cancel()
        self._timers.clear()
        for future in self._requests.values():
            if not future.done():
                future.set_exception(StoppingError("the node is stopping"))
                future.exception()  # seen: nobody may be waiting for this one
        self._requests.clear()

    # ---------------------------------------------------------------- effects
    def emit(self, event: str, fields: dict[str, Any]) -> None:
        """A trace event of the shell's own."""
        self.trace.add(self.clock.true(), event, fields)
        self._schedule()

    def reject(self, reason: str, sender: str) -> None:
        """An input was refused."""
        self.rejects.add(reason, sender)

    def _persist(self, effect: Persist) -> None:
        self.wal.append(encode(effect.record))

    def _emit_effect(self, effect: Emit) -> None:
        if effect.event == "reject":
            self.rejects.trace(effect.fields)
        else:
            self.trace.add(self.clock.true(), effect.event, effect.fields)

    def _set_timer(self, effect: SetTimer) -> None:
        present = self._timers.get(effect.timer)
        if present is not None:
            if present[0] == effect.at:
                return
            present[1].cancel()
        due = self.clock.loop_time(effect.at)
        self._timers[effect.timer] = (effect.at, self._loop.call_at(due, self._expire, effect.timer, effect.at))

    def _cancel_timer(self, effect: CancelTimer) -> None:
        present = self._timers.pop(effect.timer, None)
        if present is not None:
            present[1].cancel()

    def _expire(self, timer: str, at: int) -> None:
        present = self._timers.get(timer)
        if present is None or present[0] != at:
            return
        del self._timers[timer]
        self.step(Expire(timer), self.clock.reached(at))
