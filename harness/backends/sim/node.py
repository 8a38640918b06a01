"""One simulated node: a core with its timers, disk, trace and counters; the shell that `nodes/runtime` is elsewhere.

A step's effects are carried out in order. Nothing leaves, messages, replies and trace, before a sync has covered every
record written until then: at once where a sync takes no time, else that much later, with everything that the node does
meanwhile behind it (one sync at a time, as the real shell does it). What was not out when the node dies never is.
"""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeAlias

from harness.backends.sim.disk import Disk
from harness.backends.sim.draws import tie_break
from harness.backends.sim.kernel import Kernel
from nodes.messages import Message, NodeId
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
from nodes.runtime.rejects import Rejects

Traced: TypeAlias = tuple[int, int, str, dict[str, Any]]  # time, incarnation, event, fields
Deliver: TypeAlias = Callable[[int, NodeId, Message], Sequence[Effect]]
Outward: TypeAlias = Send | Multicast | Reply


def record_of(node: NodeId, traced: Traced) -> dict[str, Any]:
    """A trace entry of a node as a record (results/trace.py)."""
    time, incarnation, event, fields = traced
    return {"time": time, "node": node, "incarnation": incarnation, "event": event, **fields}


class Outbound(Protocol):
    """Where a node's messages go (links.Links)."""

    def send(self, sender: int, to: NodeId, message: Message) -> None: ...

    def multicast(self, sender: int, group: str, message: Message) -> None: ...


class LocalClock:
    """What the node believes the time to be: skew and drift on the run's clock; never goes back."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._skew = 0
        self._drift = 0
        self._base = 0  # run time at which the drift began
        self._last = 0

    def set(self, skew_ms: float, drift_ppm: float) -> None:
        """From now on the clock is off by `skew_ms` and gains `drift_ppm` on the run's clock."""
        self._skew = int(skew_ms * 1e6)
        self._drift = int(drift_ppm)
        self._base = self._kernel.now

    @property
    def true(self) -> bool:
        """Does it show the run's time?"""
        return not self._skew and not self._drift

    def now(self) -> int:
        """The node's own reading, ns; never negative, never smaller than before."""
        time = self._kernel.now
        reading = time + self._skew + (time - self._base) * self._drift // 1_000_000
        self._last = max(self._last, reading)
        return self._last

    def due(self, at: int) -> int:
        """The first moment of the run, from the last `set` on, at which this clock reads `at` or more."""
        reading = at - self._skew
        if not self._drift:
            return reading
        return self._base - (self._base - reading) * 1_000_000 // (1_000_000 + self._drift)  # rounded up


class SimNode:
    """`build` makes the core of a new incarnation. `index` is the node's place in the roster."""

    def __init__(
        self,
        index: int,
        name: NodeId,
        salt: int,
        kernel: Kernel,
        network: Outbound,
        disk: Disk,
        build: Callable[[], Node],
        untraced: frozenset[str] = frozenset(),
    ) -> None:
        self.index = index
        self.name = name
        self.kernel = kernel
        self.disk = disk
        self.clock = LocalClock(kernel)
        self.incarnation = 0
        self.up = False
        self.paused = False
        self.halted = ""  # why the process ended by itself
        self.trace: list[Traced] = []
        self.rejects = Rejects(lambda: kernel.now, self.emit)
        self.core: Node | None = None
        self._deliver: Deliver | None = None  # the core's way in for messages without an event, if it has one
        self._salt = salt
        self._network = network
        self._build = build
        self._untraced = untraced
        self._timers: dict[str, int] = {}
        self._waiting: list[Event | tuple[str, tuple[int, int]]] = []  # arrivals and timers while the node was frozen
        self._requests: dict[int, asyncio.Future[Any]] = {}
        self._next_request = 1
        self._held: list[Outward | Traced] = []  # waits for the disk
        self._syncing = False
        self._true_clock = True

    # ------------------------------------------------------------ life
    def start(self) -> None:
        """A new incarnation on what the disk holds."""
        records = self.disk.recover()
        self.incarnation += 1
        self.up, self.paused, self.halted = True, False, ""
        if self.incarnation == 1:
            self.emit("start", {})
        else:
            self.emit("restart", {"recovered": len(records)})
        self.core = self._build()
        self._deliver = getattr(self.core, "receive", None)
        self.step(Start(records))

    def stop(self) -> None:
        """Orderly end: what waited for the disk is recorded."""
        self.up = False
        self.trace += [waiting for waiting in self._held if isinstance(waiting, tuple)]
        self._held.clear()

    def kill(self) -> None:
        """kill -9: timers, requests and everything that was not sent are gone; what was written stays."""
        self.up = self.paused = False
        self.core = self._deliver = None
        self._timers.clear()
        self._waiting.clear()
        self._held.clear()
        self._syncing = False
        requests, self._requests = self._requests, {}
        for future in requests.values():
            if not future.done():
                future.set_exception(ConnectionResetError(f"{self.name} was killed"))
                future.exception()  # seen: nobody may be waiting for this one

    def pause(self) -> None:
        """Freeze: arrivals and timers wait."""
        self.paused = True

    def resume(self) -> None:
        """Thaw: what waited happens now, in order."""
        self.paused = False
        waiting, self._waiting = self._waiting, []
        for event in waiting:
            if isinstance(event, tuple):
                self._expire(*event)  # unless something that came before has cancelled it or set it again
            else:
                self.step(event)

    def set_clock(self, skew_ms: float, drift_ppm: float) -> None:
        """See LocalClock.set; timers that are set keep the reading they were set to."""
        self.clock.set(skew_ms, drift_ppm)
        self._true_clock = False
        for timer, at in self._timers.items():
            self._arm(timer, at)

    # ------------------------------------------------------------ events
    def receive(self, sender: NodeId, message: Message) -> None:
        """A message of an authenticated peer."""
        deliver = self._deliver
        if deliver is None or self.paused or not self._true_clock:
            self.step(Receive(sender, message))
            return
        try:
            effects = deliver(self.kernel.now, sender, message)
        except Exception as error:  # a core that raises ends its process, as in the real runtime
            self.fail(error)
            return
        if effects:
            self.carry_out(effects)

    def submit(self, body: Any) -> asyncio.Future[Any]:
        """A local client's request; the future gets the reply. ConnectionResetError if the node dies first."""
        number, self._next_request = self._next_request, self._next_request + 1
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._requests[number] = future
        self.step(Submit(number, body))
        return future

    def step(self, event: Event) -> None:
        """One event through the core, and its effects."""
        if not self.up:
            return
        if self.paused:
            self._waiting.append(event)
            return
        core = self.core
        assert core is not None
        try:
            effects = core.step(self.kernel.now if self._true_clock else self.clock.now(), event)
        except Exception as error:  # a core that raises ends its process, as in the real runtime
            self.fail(error)
            return
        if effects:
            self.carry_out(effects)

    def fail(self, error: BaseException) -> None:
        """The process ends by itself."""
        self.halted = "".join(traceback.format_exception(error))
        self.emit("halt", {"reason": f"{type(error).__name__}: {error}"})
        self.kill()

    def _expire(self, timer: str, key: tuple[int, int]) -> None:
        """A timer's moment: nothing if it was set again, cancelled, or belongs to an earlier incarnation."""
        incarnation, at = key
        if incarnation != self.incarnation or self._timers.get(timer) != at:
            return
        if self.paused:
            self._waiting.append((timer, key))
        elif self._true_clock or self.clock.now() >= at:  # else the clock was set back: it is armed for later, too
            del self._timers[timer]
            self.step(Expire(timer))

    # ------------------------------------------------------------ effects
    def carry_out(self, effects: Sequence[Effect]) -> None:
        """The effects of one step, in order."""
        outward: list[Outward | Traced] = []
        persisted = False
        slow = self._syncing or self.disk.sync_ns > 0
        for effect in effects:
            kind = type(effect)
            if kind is Multicast or kind is Send or kind is Reply:
                outward.append(effect)  # type: ignore[arg-type]
            elif kind is Emit:
                traced = self._traced(effect)  # type: ignore[arg-type]
                if traced is not None:
                    (outward if slow else self.trace).append(traced)
            elif kind is SetTimer:
                self._set_timer(effect)  # type: ignore[arg-type]
            elif kind is Persist:
                self.disk.append(effect.record)  # type: ignore[union-attr]
                persisted = True
            elif kind is CancelTimer:
                self._timers.pop(effect.timer, None)  # type: ignore[union-attr]
            else:
                raise TypeError(f"{self.name} returned {kind.__name__}, which is not an effect that leaves a node")
        if slow and (self._syncing or not self.disk.all_durable):
            self._held += outward
            self._sync()
        else:
            if persisted:
                self.disk.synced(self.disk.written)
            self._release(outward)

    def _sync(self) -> None:
        """Begin a sync of everything written so far, unless one is under way."""
        if not self._syncing:
            self._syncing = True
            key = (self.incarnation, self.disk.written, len(self._held))
            due = self.kernel.now + self.disk.sync_ns
            self.kernel.at(due, tie_break(self._salt, due), self._synced, key, self.kernel.now)

    def _synced(self, key: tuple[int, int, int], begun: int) -> None:
        incarnation, written, held = key
        if incarnation != self.incarnation or not self._syncing:
            return
        self._syncing = False
        self.disk.synced(written, self.kernel.now - begun)
        leaving, self._held = self._held[:held], self._held[held:]
        self._release(leaving)
        if self._held or not self.disk.all_durable:
            self._sync()

    def _release(self, outward: Sequence[Outward | Traced]) -> None:
        network, index = self._network, self.index
        for effect in outward:
            if type(effect) is Multicast:
                network.multicast(index, effect.group, effect.message)
            elif type(effect) is Send:
                network.send(index, effect.to, effect.message)
            elif type(effect) is tuple:
                self.trace.append(effect)
            else:
                future = self._requests.pop(effect.request, None)  # type: ignore[union-attr]
                if future is not None and not future.done():
                    future.set_result(effect.value)  # type: ignore[union-attr]

    def emit(self, event: str, fields: dict[str, Any]) -> None:
        """A trace event."""
        self.trace.append((self.kernel.now, self.incarnation, event, fields))

    def _traced(self, effect: Emit) -> Traced | None:
        """The effect as a trace record; None for one that is not kept, and for a rejection, which is counted (and
        perhaps traced) elsewhere."""
        if effect.event == "reject":
            self.rejects.trace(effect.fields)
            return None
        if effect.event in self._untraced:
            return None
        return (self.kernel.now, self.incarnation, effect.event, effect.fields)

    def _set_timer(self, effect: SetTimer) -> None:
        if self._timers.get(effect.timer) != effect.at:
            self._timers[effect.timer] = effect.at
            self._arm(effect.timer, effect.at)

    def _arm(self, timer: str, at: int) -> None:
        due = at if self._true_clock else self.clock.due(at)
        self.kernel.at(due, tie_break(self._salt, due), self._expire, timer, (self.incarnation, at))
