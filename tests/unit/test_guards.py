"""Guard rails of search workers: a run whose time stands still, or that never ends, is an answer and not a hang."""

from __future__ import annotations

import asyncio
import signal
from typing import Any

import pytest

from harness import chunk
from harness.backends.sim import kernel as kernel_module
from harness.backends.sim import loop as loop_module
from harness.backends.sim.kernel import Kernel, LivelockError
from harness.backends.sim.loop import VirtualLoop
from harness.backends.sim.window import WindowScheduler
from harness.chunk import Job, RunLimit, limited, outcome_of
from harness.commands import read_scenario
from harness.mutants import Mutant, Patch, applied

JOB = Job(read_scenario("fault-free-4").raw, "seeds")


def mutated(target: str, wrap: Any) -> Mutant:
    return Mutant("X", "X", "", "spins", (Patch(target, wrap),), ("fork",))


@pytest.mark.parametrize("scheduler", [None, WindowScheduler])
def test_events_that_beget_events_in_one_instant_end(scheduler: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel_module, "INSTANT", 50_000)
    kernel = Kernel(scheduler() if scheduler else None)

    def again(first: Any, second: Any) -> None:
        kernel.at(kernel.now, 0, again)

    kernel.at(7, 0, again)
    with pytest.raises(LivelockError, match="50000 events in one instant, at 7 ns"):
        while True:
            kernel.advance(1_000)
    assert kernel.idle and kernel.advance(1_000) and kernel.now == 1_000


@pytest.mark.parametrize("scheduler", [None, WindowScheduler])
def test_coroutines_clear_up_in_peace_after_a_livelock(scheduler: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing that was to come happens any more, and what waits for a time is still woken."""
    monkeypatch.setattr(kernel_module, "INSTANT", 50_000)
    kernel, cleared = Kernel(scheduler() if scheduler else None), []

    def again(first: Any, second: Any) -> None:
        kernel.at(kernel.now, 0, again)

    async def main() -> None:
        try:
            kernel.at(7, 0, again)
            await asyncio.sleep(100)
        finally:
            events = kernel.events
            await asyncio.sleep(2)
            cleared.append((kernel.now, kernel.events - events))

    with (
        pytest.raises(LivelockError),
        asyncio.Runner(loop_factory=lambda: VirtualLoop(kernel)) as runner,
    ):
        runner.run(main())
    assert cleared == [(2_000_000_007, 0)] and kernel.idle


@pytest.mark.parametrize("scheduler", [None, WindowScheduler])
def test_an_event_that_raises_is_the_last_one(scheduler: Any) -> None:
    kernel, made = Kernel(scheduler() if scheduler else None), []

    def strike(first: Any, second: Any) -> None:
        raise RunLimit

    kernel.at(5, 0, strike)
    kernel.at(6, 0, lambda first, second: made.append(kernel.now))
    kernel.at(10**9, 0, lambda first, second: made.append(kernel.now))
    with pytest.raises(RunLimit):
        kernel.advance(10)
    assert kernel.idle and kernel.advance(2 * 10**9) and made == []


def test_as_many_events_as_that_in_many_instants_are_no_livelock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel_module, "INSTANT", 30_000)
    kernel = Kernel()

    def again(left: int, second: Any) -> None:
        if left:
            kernel.at(kernel.now + 1, 0, again, left - 1)

    kernel.at(1, 0, again, 100_000)
    while not kernel.advance(200_000):
        pass
    assert kernel.events == 100_001


def test_coroutines_that_only_wake_each_other_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop_module, "_IDLE_SELECTS", 1_000)

    async def main() -> None:
        await asyncio.sleep(2)
        while True:  # noqa: ASYNC110 - the mistake that is to be found
            await asyncio.sleep(0)

    with (
        asyncio.Runner(loop_factory=lambda: VirtualLoop(Kernel())) as runner,
        pytest.raises(LivelockError, match="coroutines wake each other at 2000000000 ns"),
    ):
        runner.run(main())


@pytest.mark.filterwarnings("error")  # its event loop is left in order
def test_a_livelock_is_an_outcome_and_the_next_seed_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel_module, "INSTANT", 50_000)

    def echo(original: Any) -> Any:
        def receive(self: Any, sender: str, message: Any) -> None:
            original(self, sender, message)
            if self.kernel.now > 10**9:
                self.kernel.at(0, 0, lambda first, second: self.receive(sender, message))

        return receive

    with applied(mutated("harness.backends.sim.node:SimNode.receive", echo)):
        found = outcome_of(JOB, 1)
    assert "LivelockError" in found.error and found.seed == 1 and not found.passed
    monkeypatch.undo()
    assert outcome_of(JOB, 2).error == ""


def test_a_run_that_never_ends_is_an_outcome(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunk, "RUN_CPU_S", 0.5)

    def stuck(original: Any) -> Any:
        def on_vote(self: Any, *args: Any) -> Any:
            while self.height > 3:
                pass
            return original(self, *args)

        return on_vote

    before = signal.getsignal(signal.SIGPROF)
    with applied(mutated("nodes.moonshot.core:MoonshotCore._on_vote", stuck)):
        found = outcome_of(JOB, 1)
    assert found.error == "nothing was judged: the run took more than 0.5 s of processor time"
    assert signal.getsignal(signal.SIGPROF) == before


def test_a_limit_that_is_swallowed_strikes_again() -> None:
    """An event loop takes what a callback raises; the next strike may hit where it can be felt."""
    struck = 0
    with limited(0.05):
        signal.setitimer(signal.ITIMER_PROF, 0.05, 0.05)
        while struck < 3:
            try:
                while True:
                    pass
            except RunLimit:
                struck += 1
    assert signal.getitimer(signal.ITIMER_PROF) == (0.0, 0.0)
