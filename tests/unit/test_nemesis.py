"""The nemesis: windows, receipts, and healing in every case."""

from __future__ import annotations

import asyncio
from pathlib import Path
from random import Random
from typing import Any

import pytest

from faults.port import Fault
from harness.nemesis import Nemesis, Planned, behaviour_receipts
from harness.recorder import Recorder
from results.history import Operation, read_history
from results.store import FaultInfo
from tests.fakes import FakeFault

MS = 1_000_000


class Bench:
    """A clock, links that can be cut, and a roster of three."""

    backend = "process"

    class roster:
        nodes = ("n0", "n1", "n2")

    def __init__(self) -> None:
        self.cuts: list[Any] = []
        self.hurt = asyncio.Event()
        self._start = asyncio.get_running_loop().time()

    def now(self) -> int:
        return int((asyncio.get_running_loop().time() - self._start) * 1e9)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def cut(self, links: Any) -> None:
        self.cuts += links
        self.hurt.set()

    async def heal(self, links: Any) -> None:
        for link in links:
            self.cuts.remove(link)


def planned(number: int, start_ms: int, stop_ms: int, **parameters: Any) -> Planned:
    fault: Fault = FakeFault(**parameters)
    info = FaultInfo(number, "fake", "fault", start_ms * MS, stop_ms * MS, [], parameters)
    return Planned(info, fault, Random(1))


def operations(path: Path) -> list[Operation]:
    return list(read_history(path))


async def test_a_window_leaves_start_stop_and_receipt(tmp_path: Path) -> None:
    bench: Any = Bench()
    with Recorder(tmp_path / "h", bench.now) as recorder:
        nemesis = Nemesis(bench, recorder, [planned(3, 20, 60)])
        running = asyncio.create_task(nemesis.run())
        await bench.hurt.wait()
        await running
    start, stop = operations(tmp_path / "h")
    assert (start.process, start.type, start.f, stop.f) == ("nemesis", "info", "start", "stop")
    assert start.value["id"] == stop.value["id"] == 3
    assert start.value["targets"] == ["n0>n1", "n0>n2"]
    assert stop.value["receipt"]["bit"] is True
    assert stop.value["receipt"]["heal_verified"] is True
    assert start.time >= 20 * MS
    assert stop.time >= 60 * MS
    assert bench.cuts == []
    assert nemesis.healed == [stop.value["receipt"]["healed"]]


async def test_faults_overlap(tmp_path: Path) -> None:
    bench: Any = Bench()
    with Recorder(tmp_path / "h", bench.now) as recorder:
        await Nemesis(bench, recorder, [planned(1, 0, 60), planned(2, 10, 30)]).run()
    assert [(o.f, o.value["id"]) for o in operations(tmp_path / "h")] == [
        ("start", 1), ("start", 2), ("stop", 2), ("stop", 1),
    ]  # fmt: skip


async def test_finish_heals_what_is_on_and_skips_what_is_not(tmp_path: Path) -> None:
    bench: Any = Bench()
    with Recorder(tmp_path / "h", bench.now) as recorder:
        nemesis = Nemesis(bench, recorder, [planned(1, 0, 3_600_000), planned(2, 1_800_000, 3_600_000)])
        running = asyncio.create_task(nemesis.run())
        await bench.hurt.wait()
        nemesis.finish()
        await running
    assert [(o.f, o.value["id"]) for o in operations(tmp_path / "h")] == [("start", 1), ("stop", 1)]
    assert bench.cuts == []


async def test_cancelling_heals(tmp_path: Path) -> None:
    bench: Any = Bench()
    with Recorder(tmp_path / "h", bench.now) as recorder:
        running = asyncio.create_task(Nemesis(bench, recorder, [planned(1, 0, 3_600_000)]).run())
        await bench.hurt.wait()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
    assert bench.cuts == []
    assert [o.f for o in operations(tmp_path / "h")] == ["start", "stop"]


@pytest.mark.parametrize("when", ["inject", "heal"])
async def test_a_fault_that_breaks_does_not_stop_the_others(tmp_path: Path, when: str) -> None:
    bench: Any = Bench()
    with Recorder(tmp_path / "h", bench.now) as recorder:
        nemesis = Nemesis(bench, recorder, [planned(1, 0, 20, fail=when), planned(2, 0, 40)])
        await nemesis.run()
    assert nemesis.notes == [f"fault 1 (fake): RuntimeError: cannot be {when}ed"]
    found = operations(tmp_path / "h")
    broken = next(o.value["receipt"] for o in found if o.f == "stop" and o.value["id"] == 1)
    whole = next(o.value["receipt"] for o in found if o.f == "stop" and o.value["id"] == 2)
    assert broken["heal_verified"] is False
    assert f"cannot be {when}ed" in broken["evidence"]
    assert whole["bit"] is True
    assert bench.cuts == []


def test_behaviours_receipts_are_their_last_words() -> None:
    info = FaultInfo(2, "liar", "behaviour", targets=["n1", "n2"])
    said = [
        {"id": 1, "matched": 9, "changed": 9},
        {"id": 2, "matched": 1, "changed": 0, "dropped": 0, "injected": 0},
        {"id": 2, "matched": 4, "changed": 2, "dropped": 1, "injected": 0},
    ]
    receipts = behaviour_receipts([{**event, "node": "n1"} for event in said], info)
    assert receipts == [
        ("n1", {"matched": 4, "changed": 2, "dropped": 1, "injected": 0, "bit": True}),
        ("n2", {"matched": 0, "changed": 0, "dropped": 0, "injected": 0, "bit": False}),
    ]


@pytest.mark.parametrize(("backend", "late"), [("process", True), ("sim", False)])
async def test_a_fault_that_is_slow_to_apply_is_held_as_long_as_it_was_to_last(
    tmp_path: Path, backend: str, late: bool
) -> None:
    """On a virtual clock what takes time takes it by design, and the window stays where it was."""

    class Clock(Bench):
        time = 0

        def now(self) -> int:
            return self.time

        async def sleep(self, seconds: float) -> None:
            self.time += int(seconds * 1e9)

        async def cut(self, links: Any) -> None:
            await super().cut(links)
            self.time += 25 * MS

    Clock.backend = backend
    bench: Any = Clock()
    with Recorder(tmp_path / "h", bench.now) as recorder:
        await Nemesis(bench, recorder, [planned(1, 20, 60)]).run()
    start, stop = operations(tmp_path / "h")
    assert start.time == 45 * MS
    assert stop.time == (85 if late else 60) * MS
    assert stop.value.get("held") == (40 * MS if late else None)
