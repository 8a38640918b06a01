"""What linearizability costs, against Porcupine on the same histories in the same run where Go is at hand.

Value and peer are CPU seconds from a history in memory to the verdict; ratio is value / peer: below 1 we are the faster
one. A peer that found no verdict within its time has what it used as its figure, and a note: the ratio is at most that.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from checkers.linear.calls import ANY, registers
from checkers.linearizable import Linearizable
from harness.bench.registers import Load, simulate
from results.history import Operation
from results.verdict import Verdict

SOURCE = Path(__file__).parent / "porcupine"
PEER_SECONDS = 5.0  # of wall time; it takes a gigabyte in a few seconds of search, so not longer
BUILD_SECONDS = 300.0
REPEATS = 3  # of ours; the fastest counts


@dataclass(frozen=True)
class Case:
    """A history to judge. `wrong`: one read in its last tenth returns what another one of its key did long before."""

    name: str
    load: Load
    wrong: bool = False


CASES = (
    *(Case(f"100 keys, 100 k operations, {n} clients", Load(n, 100_000, 100, 5)) for n in (10, 50)),
    *(Case(f"100 keys, 100 k with compare-and-set, {n} clients", Load(n, 100_000, 100, 5, 0.4, 0.3)) for n in (10, 50)),
    *(Case(f"one register, unique writes, 1 k operations, {n} clients", Load(n, 1000)) for n in (10, 20, 50)),
    *(Case(f"one register, unique writes, 100 k operations, {n} clients", Load(n, 100_000)) for n in (10, 50, 200)),
    Case("one register, unique writes, 100 k operations, 200 clients, violated", Load(200, 100_000), wrong=True),
    *(
        Case(f"one register, compare-and-set, 1 k operations, {n} clients", Load(n, 1000, 0, 5, 0.4, 0.3))
        for n in (5, 20)
    ),
    Case("one register, 50 values, 1 k operations, 10 clients, violated", Load(10, 1000, 0, 50), wrong=True),
)


def figures(cases: Sequence[Case] = CASES) -> Iterator[dict[str, Any]]:
    """One row a case: {"name", "value", "unit", "peer", "ratio", "verdict", "note"}; peer None without Go."""
    with porcupine() as binary:
        for case in cases:
            history = made(case)
            seconds, verdict = ours(history)
            row = {"name": f"linearizable: {case.name}", "value": seconds, "unit": "CPU s", "peer": None, "ratio": None}
            row |= {"verdict": verdict.status.value, "note": "no Go toolchain, or Porcupine could not be had"}
            if binary is not None:
                row |= _peer(binary, history, seconds)
            yield row


def made(case: Case) -> list[Operation]:
    """The history of a case, always the same."""
    history = simulate(Random(case.name), case.load)
    if case.wrong:
        reads = [operation for operation in history if operation.f == "read" and operation.type == "ok"]
        reads[-len(reads) // 10].value = reads[len(reads) // 2].value
    return history


def ours(history: list[Operation]) -> tuple[float, Verdict]:
    """Seconds and verdict."""
    best = float("inf")
    for _ in range(REPEATS):
        start = time.process_time()
        verdict = Linearizable().over(history)
        best = min(best, time.process_time() - start)
    return best, verdict


@contextmanager
def porcupine() -> Iterator[Path | None]:
    """The peer's program, built outside the repository for as long as the context lasts; None if it cannot be."""
    with tempfile.TemporaryDirectory() as directory:
        yield _built(Path(directory))


def _built(directory: Path) -> Path | None:
    go = shutil.which("go")
    if go is None:
        return None
    for name in ("main.go", "go.mod", "go.sum"):
        shutil.copy(SOURCE / name, directory / name)
    binary = directory / "porcupine"
    try:
        command = [go, "build", "-o", str(binary), "."]
        subprocess.run(command, cwd=directory, check=True, capture_output=True, timeout=BUILD_SECONDS)
    except (OSError, subprocess.SubprocessError):
        return None
    return binary


def _peer(binary: Path, history: list[Operation], seconds: float) -> dict[str, Any]:
    try:
        done = subprocess.run(
            [str(binary), str(PEER_SECONDS)], input=_lines(history), capture_output=True, text=True, check=True,
            timeout=PEER_SECONDS + 60,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError) as error:
        return {"note": f"Porcupine broke off: {error}"}
    result, taken = done.stdout.split()
    note = f"Porcupine says {result}"
    if result == "Unknown":
        note = f"Porcupine did not finish in {PEER_SECONDS:g} s: the ratio is at most this"
    return {"peer": float(taken), "ratio": seconds / float(taken), "note": note}


def _lines(history: list[Operation]) -> str:
    """The history as main.go reads it."""
    lines = []
    for key, register in enumerate(registers(history)):
        for call in register.calls:
            client = history[call.begin].process
            f = "w" if call.expects == ANY else "r" if call.observes else "c"
            expects = call.leaves if call.expects == ANY else call.expects
            lines.append(f"{client} {call.begin} {call.end} {key} {f} {expects} {call.leaves}\n")
    return "".join(lines)
