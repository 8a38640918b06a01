"""The nemesis: which fault when. Every fault lives inside its context manager, so it is healed however a run ends.

Each injection is a pair of nemesis operations in the history, start and stop; the stop carries the receipt. Where time
is real, a fault takes a while to be applied: its window then begins later, and lasts as long as it was to last; the
stop says for how many nanoseconds the fault was held.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from random import Random
from typing import Any

import msgspec

from faults.port import Cluster, Fault, Receipt
from harness.recorder import Recorder
from results.store import FaultInfo
from results.trace import TraceEvent

HEAL_LIMIT_S = 60.0


class Planned(msgspec.Struct, frozen=True):
    """A fault and its window, nanoseconds on the run's clock."""

    info: FaultInfo
    fault: Fault
    rng: Random


class Nemesis:
    """Injects the planned faults, each in its window, and heals them all before `run` returns."""

    def __init__(self, cluster: Cluster, recorder: Recorder, planned: list[Planned]) -> None:
        self._cluster = cluster
        self._recorder = recorder
        self._planned = planned
        self._over = asyncio.Event()
        self.active: dict[int, str] = {}  # id -> name, for progress lines
        self.targets: dict[int, tuple[str, ...]] = {}  # id -> what it hit
        self.healed: list[int] = []  # when each fault was healed
        self.notes: list[str] = []

    async def run(self) -> None:
        """Returns when every window is over and every fault healed, or soon after `finish`.

        A fault that cannot be injected or healed is noted and leaves a receipt that says so; it never stops the others.
        """
        await asyncio.gather(*(self._one(planned) for planned in self._planned))

    def finish(self) -> None:
        """End all windows now: what is active is healed, what has not begun never does."""
        self._over.set()

    async def _one(self, planned: Planned) -> None:
        info = planned.info
        if await self._until(info.start):
            return  # never injected: no start operation, and the receipts checker will say so
        receipt = Receipt(info.use)
        started, more = False, dict[str, Any]()
        try:
            async with planned.fault.inject(self._cluster, planned.rng) as receipt:
                info.targets = list(receipt.targets)
                record_start(self._recorder, info)
                started = True
                self.active[info.id] = info.use
                applied = self._cluster.now()
                slipped = 0 if self._cluster.backend == "sim" else max(0, applied - info.start)
                await self._until(info.stop + slipped)
                if slipped:
                    more = {"held": self._cluster.now() - applied}
        except Exception as error:
            receipt.evidence = f"{receipt.evidence}; {type(error).__name__}: {error}".lstrip("; ")
            receipt.heal_verified = False
            self.notes.append(f"fault {info.id} ({info.use}): {type(error).__name__}: {error}")
        finally:
            self.active.pop(info.id, None)
            self.targets[info.id] = receipt.targets
            self.healed.append(receipt.healed or self._cluster.now())
            if not started and not self._recorder.broken:
                record_start(self._recorder, info)
            if not self._recorder.broken:
                record_stop(self._recorder, info, msgspec.to_builtins(receipt), **more)

    async def _until(self, time: int) -> bool:
        """Wait until the run's clock shows `time`; True if `finish` was called first."""
        delay = (time - self._cluster.now()) / 1e9
        if delay <= 0:
            return self._over.is_set()
        over, sleep = asyncio.ensure_future(self._over.wait()), asyncio.ensure_future(self._cluster.sleep(delay))
        try:
            await asyncio.wait((over, sleep), return_when=asyncio.FIRST_COMPLETED)
        finally:
            over.cancel()
            sleep.cancel()
        return self._over.is_set()


def record_start(recorder: Recorder, info: FaultInfo) -> None:
    """The nemesis operation that opens a fault or behaviour."""
    value = {
        "id": info.id, "use": info.use, "kind": info.kind, "targets": info.targets, "parameters": info.parameters
    }  # fmt: skip
    recorder.record("nemesis", "info", "start", value)


def record_stop(recorder: Recorder, info: FaultInfo, receipt: dict[str, Any], **more: Any) -> None:
    """The nemesis operation that closes it, with its receipt."""
    value = {"id": info.id, "use": info.use, "kind": info.kind, "targets": info.targets, **more, "receipt": receipt}
    recorder.record("nemesis", "info", "stop", value)


def behaviour_receipts(events: Iterable[TraceEvent], info: FaultInfo) -> list[tuple[str, dict[str, Any]]]:
    """(node, receipt) of every node that ran the behaviour: its last `behaviour` event, or an empty receipt.

    `events`: `behaviour` events, oldest first.
    """
    said = {str(event["node"]): event for event in events if event.get("id") == info.id}
    receipts = []
    for node in info.targets:
        last = said.get(node, {})
        receipt: dict[str, Any] = {key: int(last.get(key, 0)) for key in ("matched", "changed", "dropped", "injected")}
        receipt["bit"] = receipt["changed"] + receipt["dropped"] + receipt["injected"] > 0
        if last.get("error"):
            receipt["error"] = str(last["error"])  # its own code raised: from then on the node was no attacker
        receipts.append((node, receipt))
    return receipts
