"""What the safety checkers cost on a trace of ten million records read from Parquet, valid and with violations planted.

Value is that of a process of its own, `moonquake check`, from its start to its verdicts: CPU seconds, and peak memory.
All signatures of the simulated run (`ideal`) are verified; of the other (Ed25519, 55 us each) as many as by default.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from harness.bench.checkers_elle import measured
from harness.bench.trace_plants import PLANTS
from harness.bench.traces import Shape, generate, save


@dataclass(frozen=True)
class Case:
    """A trace to judge; `planted`: with one violation for each checker."""

    name: str
    shape: Shape
    planted: bool = False


CASES = (
    Case("10 M records", Shape(7000)),
    Case("10 M records, one violation per checker", Shape(7000), planted=True),
    Case("1.4 M records, Ed25519", Shape(1000, scheme="ed25519")),
)


def figures(cases: Sequence[Case] = CASES) -> Iterator[dict[str, Any]]:
    """Two rows a case, time and memory: {"name", "value", "unit", "peer", "ratio", "verdict", "note"}; no peer."""
    chosen = [word for checker in PLANTS for word in ("--checker", checker)]
    for case in cases:
        with tempfile.TemporaryDirectory() as directory:
            made = generate(case.shape)
            if case.planted:
                for _, plant in PLANTS.values():
                    plant(made)
            save(made, Path(directory))
            records = made.records
            del made
            cost = measured([sys.executable, "-m", "harness.cli", "check", directory, *chosen, "--json"])
        for what, unit, value in (("CPU", "CPU s", cost.seconds), ("memory", "MB", cost.megabytes)):
            row: dict[str, Any] = {"name": f"safety checkers, {case.name}: {what}", "value": value, "unit": unit}
            said = msgspec.json.decode(cost.said)["verdicts"]
            verdicts = " ".join(sorted({verdict["status"] for verdict in said}))
            note = f"{records:,} records, {len(PLANTS)} checkers"
            if case.planted:
                note += f", {found(said)} of {len(PLANTS)} planted violations found"
            yield row | {"peer": None, "ratio": None, "verdict": verdicts, "note": note}


def found(verdicts: Sequence[dict[str, Any]]) -> int:
    """How many of the planted violations their checkers found, by the kind of anomaly."""
    told = {verdict["property"]: {anomaly["kind"] for anomaly in verdict["anomalies"]} for verdict in verdicts}
    return sum(kind in told.get(checker, ()) for checker, (kind, _) in PLANTS.items())
