"""The load of a run, whatever the system: processes that ask for one operation at a time, and the history of it.

Jepsen's semantics: ok = it took effect, fail = it did not and never will, info = unknown: the process retires, and a
new one takes its place. How an operation is carried out is the business of a `Driver` (wallets and gateways:
harness/client.py; systems that are not ours: harness/targets/driver.py).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, Literal, Protocol, TypeAlias

import msgspec

from harness.backends.port import RunningCluster
from harness.recorder import Recorder


class Clock(Protocol):
    """The run's clock, as `faults.port.Cluster` has it."""

    def now(self) -> int:
        """Nanoseconds since the start of the run."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait on this clock."""
        ...


class Asked(msgspec.Struct, frozen=True):
    """What a process asks for, as the history holds it when it is invoked."""

    f: str
    value: Any
    tx: str = ""
    gateway: str = ""  # whom it asks
    rival: Asked | None = None  # asked at the same time: an operation of a process number of its own, its only one


class Told(msgspec.Struct, frozen=True):
    """How it ended, as the history holds it. `value` None: as it was asked. `tx` "": as it was asked."""

    kind: Literal["ok", "fail", "info"]
    value: Any = None
    error: str = ""
    phase: str = ""
    phases: dict[str, int] = {}
    tx: str = ""
    rival: Told | None = None  # how the rival ended


class Process(Protocol):
    """One process number: sequential, until it retires or the load ends."""

    def next(self) -> Asked:
        """What it asks for next."""
        ...

    async def perform(self) -> Told:
        """Carry out what `next` returned last. Never raises on network trouble."""
        ...


Opening: TypeAlias = Callable[[int], Process]  # process number -> its process


class Driver(Protocol):
    """How a system is asked for things."""

    def open(self, cluster: RunningCluster) -> AbstractAsyncContextManager[Opening]:
        """The connections of all processes to a cluster that is up."""
        ...


class Tally(msgspec.Struct):
    """Operations so far, for progress lines."""

    invoked: int = 0
    ok: int = 0
    fail: int = 0
    info: int = 0


class Load:
    """`clients` processes that together start `rate` operations a second; never more than `clients` in flight, rivals
    apart."""

    def __init__(self, driver: Driver, cluster: RunningCluster, recorder: Recorder, rate: float, clients: int) -> None:
        self._driver = driver
        self._cluster = cluster
        self._recorder = recorder
        self._rate = rate
        self._clients = clients
        self._next_process = 0
        self._next_start = 0  # ns: when the next operation may start
        self._closing = False
        self.tally = Tally()

    async def run(self) -> None:
        """Load the cluster until `close`; returns when nothing is in flight any more.

        Cancelling it turns what is in flight into info. Raises RecordingError.
        """
        self._next_start = self._cluster.now()
        async with self._driver.open(self._cluster) as opening:
            workers = [asyncio.create_task(self._worker(opening)) for _ in range(self._clients)]
            try:
                await asyncio.gather(*workers)
            finally:
                for worker in workers:
                    worker.cancel()
                await asyncio.gather(*workers, return_exceptions=True)

    def close(self) -> None:
        """Start no more operations."""
        self._closing = True

    async def _worker(self, opening: Opening) -> None:
        while not self._closing:
            self._next_process += 1
            number = self._next_process - 1
            await self._until_it_retires(number, opening(number))

    async def _until_it_retires(self, number: int, process: Process) -> None:
        """One process number until an operation of unknown outcome, or the end of the load."""
        while await self._turn():
            if (await self._operation(number, process)).kind == "info":
                return

    async def _turn(self) -> bool:
        """Wait for this worker's slot at the common rate; missed slots are not made up for. False when closing."""
        start = max(self._next_start, self._cluster.now())
        self._next_start = start + int(1e9 / self._rate)
        await self._cluster.sleep(max(0, start - self._cluster.now()) / 1e9)
        return not self._closing

    async def _operation(self, number: int, process: Process) -> Told:
        asked = process.next()
        rival = asked.rival
        other = self._next_process  # the rival's number, if there is one
        self._invoke(number, asked)
        if rival is not None:
            self._next_process += 1
            self._invoke(other, rival)
        try:
            told = await process.perform()
        except asyncio.CancelledError:
            told = Told("info", error="the run ended first")
            self._conclude(number, asked, told)
            if rival is not None:
                self._conclude(other, rival, told)
            raise
        self._conclude(number, asked, told)
        if rival is not None:
            self._conclude(other, rival, told.rival or Told("info", error="nobody told how it ended"))
        return told

    def _invoke(self, number: int, asked: Asked) -> None:
        self._recorder.record(number, "invoke", asked.f, asked.value, tx=asked.tx, gateway=asked.gateway)
        self.tally.invoked += 1

    def _conclude(self, number: int, asked: Asked, told: Told) -> None:
        value = asked.value if told.value is None else told.value
        self._recorder.record(
            number, told.kind, asked.f, value, tx=told.tx or asked.tx, gateway=asked.gateway, phase=told.phase,
            phases=told.phases, error=told.error,
        )  # fmt: skip
        setattr(self.tally, told.kind, getattr(self.tally, told.kind) + 1)
