"""What the transactional checkers cost, against the real Elle on the same histories where that is at hand.

Value and peer are those of a process of its own, from its start to its verdict: CPU seconds, and peak memory.
Elle takes part if MOONQUAKE_ELLE_CLI names the standalone jar of elle-cli; ratio is value / peer.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import msgspec

from harness.bench.transactions import Load, Record, simulate
from harness.elle_cli import ENVIRONMENT
from results.export import to_edn


@dataclass(frozen=True)
class Case:
    """A valid history to judge under strict serialisability."""

    name: str
    checker: str
    load: Load


CASES = (
    *(Case(f"list-append, {n:,} transactions", "elle-list-append", Load(n)) for n in (10_000, 100_000, 1_000_000)),
    Case("rw-register, 100,000 transactions", "elle-rw-register", Load(100_000, registers=True)),
)


@dataclass(frozen=True)
class Cost:
    """What a process took, and its verdict in its own word."""

    seconds: float
    megabytes: float
    verdict: str
    said: bytes


def figures(cases: Sequence[Case] = CASES) -> Iterator[dict[str, Any]]:
    """Two rows a case, time and memory: {"name", "value", "unit", "peer", "ratio", "verdict", "note"}."""
    jar = os.environ.get(ENVIRONMENT, "")
    with tempfile.TemporaryDirectory() as directory:
        for case in cases:
            path = Path(directory) / "history.jsonl"
            write(path, simulate(Random(case.name), case.load))
            words = [sys.executable, "-m", "harness.cli", "check", str(path), "--checker", case.checker, "--json"]
            ours = measured(words)
            peer = _elle(jar, path, case) if jar else None
            for what, unit, value, theirs in (
                ("CPU", "CPU s", ours.seconds, peer and peer.seconds),
                ("memory", "MB", ours.megabytes, peer and peer.megabytes),
            ):
                row: dict[str, Any] = {"name": f"{case.name}: {what}", "value": value, "unit": unit}
                row |= {"peer": theirs, "ratio": value / theirs if theirs else None, "verdict": ours.verdict}
                yield row | {"note": f"Elle says {peer.verdict}" if peer else f"no Elle: {ENVIRONMENT} names no jar"}


def write(path: Path, history: Iterator[Record]) -> None:
    """A history.jsonl."""
    with path.open("wb") as file:
        file.writelines(msgspec.json.encode(record) + b"\n" for record in history)


def _elle(jar: str, path: Path, case: Case) -> Cost:
    edn = path.with_suffix(".edn")
    with edn.open("w", encoding="utf-8") as file:
        file.writelines(line + "\n" for line in to_edn(path))
    return measured(["java", "-jar", jar, "--model", case.checker.removeprefix("elle-"), str(edn)])


def measured(words: list[str]) -> Cost:
    """What a command took; its verdict is the first of PASS or FAIL, true or false that it says."""
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(words, stdout=output, stderr=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        said = output.read()
    verdict = next(
        (word for word in ("PASS", "FAIL", "UNKNOWN", "true", "false") if word.encode() in said), "no answer"
    )
    return Cost(usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1000, verdict, said)
