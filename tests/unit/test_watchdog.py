"""A hook that never returns ends, is told with its own line, and leaves the same trace each time."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from faults.byzantine.watchdog import WATCHDOG, HookOverdueError, Watchdog
from harness.commands import read_scenario
from harness.scenario import Scenario, parse
from harness.toml import Source
from harness.trial import Trial, trial
from results.verdict import Status

HEAD = """\
import itertools
import threading
import time

from faults.byzantine.port import Behaviour


class Mine(Behaviour):
    def act(self, node):
        if node.view < 9:
            self.receipt.injected += 1
            return ()
"""
ENDLESS = {  # name: what comes after line 12, and the line to be told
    "a loop": ("        while True:\n            node.view\n", 13),
    "a loop in a helper": ("        return self._search(node)\n\n    def _search(self, node):\n        while node.id:\n"
                           "            pass\n", 16),
    "a loop round another": ("        for i in itertools.count():\n            for j in range(i % 50):\n"
                             "                pass\n", 13),
    "a comprehension": ("        return [x for x in itertools.count() if x < 0]\n", 13),
    "a hook that catches all": ("        while True:\n            try:\n                time.sleep(0.001)\n"
                                "            except Exception:\n                pass\n", 13),
    "a wait": ("        threading.Event().wait()\n", 13),
}  # fmt: skip


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(WATCHDOG, "tick_s", 0.02)
    monkeypatch.setattr(WATCHDOG, "cpu_s", 0.1)
    monkeypatch.setattr(WATCHDOG, "most_ticks", 100)


def attacked(file: Path) -> Trial:
    base = read_scenario("fault-free-4").raw
    values = {**base, "workload": {**base["workload"], "duration": "2s"}}
    values["adversary"] = {"nodes": ["n3"], "behaviour": [{"use": f"{file}:Mine"}]}
    scenario: Scenario = parse(values, Source("a test"))
    return trial(scenario, 1)


@pytest.mark.parametrize("name", ENDLESS)
def test_a_hook_that_never_returns_makes_the_run_unknown_and_shows_its_line(
    impatient: None, tmp_path: Path, name: str
) -> None:
    file = tmp_path / "mine.py"
    body, line = ENDLESS[name]
    file.write_text(HEAD + body)
    first, second = attacked(file), attacked(file)
    receipts = next(v for v in first.verdicts if v.property == "receipts")
    assert receipts.status is Status.UNKNOWN
    assert f"mine.py:{line}: HookOverdueError: act did not return" in receipts.reason
    assert first.digest == second.digest, "what was said depends on when the tick came"


def test_a_hook_that_yields_for_ever_ends_before_the_memory_does(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(
        HEAD + "        from nodes.messages import BatchRequest\n\n"
        "        return (('n0', BatchRequest(bytes(32))) for _ in itertools.count())\n"
    )
    receipts = next(v for v in attacked(file).verdicts if v.property == "receipts")
    assert receipts.status is Status.UNKNOWN
    assert "act yielded more than 100000 messages" in receipts.reason


def test_many_calls_that_return_are_left_alone() -> None:
    """Together they take longer than one call may; and after the last one nothing is owed."""
    dog = Watchdog(0.01, 0.25, 1_000_000)
    with dog.watching():
        for _ in range(150):
            dog.calls += 1
            dog.inside = True
            sum(range(200_000))
            dog.inside = False
        sum(range(30_000_000))


def test_the_signal_is_given_back_and_one_watch_is_enough() -> None:
    before = signal.getsignal(signal.SIGALRM)
    dog = Watchdog(0.01, 0.02, 3)
    with dog.watching():
        with dog.watching():
            pass
        dog.calls += 1
        dog.inside = True
        with pytest.raises(HookOverdueError):
            while True:
                pass
    assert signal.getsignal(signal.SIGALRM) is before
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
