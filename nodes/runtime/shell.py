"""The shell round a sans-I/O node: events in, effects out in order, one sync and one write per turn of the loop.

1. A step's effects are carried out in order: records and trace events are collected, timers set, and messages and
   replies held back here. The links do not get them yet: they write on their own account too (keep-alives, reconnects,
   a peer that reads again), and would take an early message along.
2. At the end of the turn `flush` runs: first the log is synced, then the trace is written, then messages and replies
   leave. So nothing that follows a `Persist` leaves before it is durable, and many steps share one fdatasync.
   (A thread for the fdatasync was measured: on busy cores the two switches cost more than the wait.)
3. A core that raises, or a disk that fails, ends the process: `finished` gets the error and nothing more leaves.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
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
        self._held: list[Outward] = []
        self._next_request = 1
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
        """Sync the log, write the trace, let messages and replies go: in this order."""
        self._scheduled = False
        if self._halted:
            return
        try:
            self.wal.sync()
            self.trace.flush()
        except Exception as error:
            self.fail(error)
            return
        self._release()

    def _release(self) -> None:
        held, network = self._held[:], self.network
        self._held.clear()
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

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self.flush)

    # ---------------------------------------------------------------- ends
    def stop(self) -> None:
        """Orderly stop: what was decided so far is recorded and sent."""
        if not self.finished.done():
            self.flush()
        self._end()
        if not self.finished.done():
            self.finished.set_result(None)

    def fail(self, error: BaseException) -> None:
        """Stop at once; nothing that is queued leaves."""
        self._end()
        if not self.finished.done():
            self.finished.set_exception(error)

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

    def set_clock(self, skew_ms: int, drift_ppm: int) -> None:
        """From now on the node's clock is off; timers that run already expire when it shows their time."""
        self.clock.set(skew_ms, drift_ppm)
        for timer, (at, handle) in list(self._timers.items()):
            handle.cancel()
            self._timers[timer] = (at, self._loop.call_at(self.clock.loop_time(at), self._expire, timer, at))

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
