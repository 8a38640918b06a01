"""The virtual clock: the order of events, waking the event loop, deadlocks, and Ctrl-C in mid-simulation."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Coroutine, Iterator
from random import Random
from typing import Any

import pytest

from harness.backends.sim.draws import salt, salts
from harness.backends.sim.kernel import SLICE, HeapScheduler, Kernel, Scheduler
from harness.backends.sim.loop import DeadlockError, VirtualLoop
from harness.backends.sim.window import WindowScheduler

SCHEDULERS = pytest.mark.parametrize("scheduler", [HeapScheduler, WindowScheduler])
MONTH_S = 30 * 24 * 3600.0


def virtually(main: Callable[[], Coroutine[Any, Any, Any]], kernel: Kernel | None = None) -> tuple[Any, Kernel]:
    """What `main` returns on a virtual loop, and its kernel."""
    kernel = kernel or Kernel()
    with asyncio.Runner(loop_factory=lambda: VirtualLoop(kernel)) as runner:
        return runner.run(main()), kernel


def tick(kernel: Kernel, period: int = 1_000_000) -> None:
    """Events without end."""
    kernel.at(kernel.now + period, 0, lambda *_: tick(kernel, period))


# ---------------------------------------------------------------- order
@SCHEDULERS
def test_events_come_by_time_then_tie_break_then_sequence(scheduler: Callable[[], Scheduler]) -> None:
    kernel, seen = Kernel(scheduler()), []
    rng = Random(5)
    keys = [(rng.randrange(5) * 700_000, rng.randrange(3), number) for number in range(200)]
    for time, tie, number in keys:
        kernel.at(time, tie, lambda key, now: seen.append((key, kernel.now)), (time, tie, number))
    assert kernel.advance(10**9) and kernel.now == 10**9 and kernel.idle and kernel.events == 200
    assert seen == [(key, key[0]) for key in sorted(keys)]


@SCHEDULERS
def test_an_event_in_the_past_happens_now_and_an_event_can_make_events(scheduler: Callable[[], Scheduler]) -> None:
    kernel, seen = Kernel(scheduler()), []

    def first(name: Any, _: Any) -> None:
        seen.append((name, kernel.now))
        if name == "a":
            kernel.at(3, 0, first, "late")
            kernel.at(kernel.now, 9, first, "same moment")

    kernel.at(100, 5, first, "a")
    kernel.at(100, 7, first, "b")
    kernel.at(101, 0, first, "c")
    assert kernel.advance(200)
    assert seen == [("a", 100), ("late", 100), ("b", 100), ("same moment", 100), ("c", 101)]


@SCHEDULERS
def test_what_is_not_due_stays(scheduler: Callable[[], Scheduler]) -> None:
    kernel, seen = Kernel(scheduler()), []
    for time in (10, 20, 30):
        kernel.at(time, 0, lambda time, _: seen.append(time), time)
    assert kernel.advance(20) and seen == [10, 20] and kernel.now == 20 and not kernel.idle
    assert kernel.advance(25) and seen == [10, 20] and kernel.now == 25
    assert kernel.advance(30) and seen == [10, 20, 30] and kernel.idle


@SCHEDULERS
def test_whoever_wakes_the_loop_stops_the_clock_at_his_event(scheduler: Callable[[], Scheduler]) -> None:
    kernel, seen = Kernel(scheduler()), []

    def wake(time: int, _: Any) -> None:
        seen.append(time)
        kernel.woken = time == 20

    for time in (10, 20, 20, 30):
        kernel.at(time, 0, wake, time)
    assert not kernel.advance(100) and seen == [10, 20] and kernel.now == 20
    assert not kernel.advance(100) and seen == [10, 20, 20]  # the other event of that moment
    assert kernel.advance(100) and seen == [10, 20, 20, 30] and kernel.now == 100


@SCHEDULERS
def test_the_clock_looks_up_after_a_slice_of_events(scheduler: Callable[[], Scheduler]) -> None:
    kernel = Kernel(scheduler())
    tick(kernel, 1)
    assert not kernel.advance(10**12)
    assert kernel.events == SLICE and kernel.now == SLICE


# ---------------------------------------------------------------- the event loop
def test_sleeping_takes_virtual_time_only() -> None:
    async def main() -> float:
        await asyncio.sleep(MONTH_S)
        return asyncio.get_running_loop().time()

    result, kernel = virtually(main)
    assert result == MONTH_S == kernel.now / 1e9


def test_wait_for_and_gather_take_virtual_time_only() -> None:
    async def main() -> list[Any]:
        loop = asyncio.get_running_loop()

        async def after(seconds: float) -> float:
            await asyncio.sleep(seconds)
            return loop.time()

        together = await asyncio.gather(after(30), after(10), after(20))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.sleep(MONTH_S), timeout=60)
        assert loop.time() == 90
        return [*together, await asyncio.wait_for(after(1), timeout=60)]

    assert virtually(main)[0] == [30, 10, 20, 91]


def test_an_event_that_readies_a_coroutine_lets_it_run_at_that_moment() -> None:
    kernel = Kernel()
    tick(kernel, 1_000)

    async def main() -> list[int]:
        future = asyncio.get_running_loop().create_future()
        kernel.at(5_000_500, 0, lambda *_: future.set_result(kernel.now))
        times = [await future, kernel.now]
        await asyncio.sleep(0)  # takes no time
        return [*times, kernel.now]

    assert virtually(main, kernel)[0] == [5_000_500] * 3


def test_timers_of_one_moment_run_in_one_order_every_time() -> None:
    async def main() -> list[int]:
        seen: list[int] = []
        loop = asyncio.get_running_loop()
        for number in range(50):
            loop.call_at(7.0, seen.append, number)
        await asyncio.sleep(8)
        return seen

    once, again = virtually(main)[0], virtually(main)[0]
    assert once == again and sorted(once) == list(range(50))


def test_a_deadlock_is_found_and_named() -> None:
    async def main() -> None:
        await asyncio.sleep(3)
        await asyncio.get_running_loop().create_future()

    with pytest.raises(DeadlockError, match="nothing is to come after 3000000000 ns and every coroutine waits"):
        virtually(main)


# ---------------------------------------------------------------- Ctrl-C
@pytest.fixture(autouse=True)
def _interruptible() -> Iterator[None]:
    """Tests in the background inherit a SIGINT that is ignored; then nothing would ever end these simulations."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_ctrl_c_ends_a_simulation_that_would_never_end() -> None:
    kernel = Kernel()
    tick(kernel)
    kernel.at(10**9, 0, lambda *_: os.kill(os.getpid(), signal.SIGINT))

    async def main() -> None:
        await asyncio.get_running_loop().create_future()

    with pytest.raises(KeyboardInterrupt):
        virtually(main, kernel)
    assert kernel.now >= 10**9


def test_a_signal_handler_of_the_loop_is_heard_between_two_slices() -> None:
    kernel = Kernel()
    tick(kernel)

    async def main() -> bool:
        heard = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGINT, heard.set)
        kernel.at(10**9, 0, lambda *_: os.kill(os.getpid(), signal.SIGINT))
        return await heard.wait()

    assert virtually(main, kernel)[0] is True
    assert 10**9 <= kernel.now <= 10**9 + (SLICE + 1) * 1_000_000


def test_a_signal_is_heard_by_coroutines_that_are_never_idle() -> None:
    async def main() -> bool:
        heard = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGINT, heard.set)
        for number in range(100_000):
            if number == 50:
                os.kill(os.getpid(), signal.SIGINT)
            if heard.is_set():
                return number > 50
            await asyncio.sleep(0.001)
        return False

    assert virtually(main)[0] is True


def test_salts_of_all_pairs_are_those_of_each() -> None:
    names = ("n0", "n1", "g0/x", "é")
    assert salts(7, "tie", names) == [[salt(7, "tie", a, b) for b in names] for a in names]
