"""Builds small run directories for tests of whatever reads them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from results.history import Operation
from results.store import Run, RunInfo
from results.verdict import Verdict

SECOND = 1_000_000_000


def small_info(**fields: Any) -> RunInfo:
    """A 4-node run description; any field can be overridden."""
    tribe = ["n0", "n1", "n2", "n3"]
    base: dict[str, Any] = {
        "scenario": {"name": "small", "description": "a small run"},
        "name": "small",
        "seed": 7,
        "backend": "process",
        "layer": "toxiproxy",
        "target": "supra",
        "expect": {"hold": True},
        "regime": "within",
        "chain": "test",
        "epoch": 0,
        "cycle": 0,
        "tribe": tribe,
        "gateways": ["g0"],
        "clans": [tribe],
        "public_keys": {},
        "honest": tribe,
        "byzantine": [],
        "thresholds": {"faults": 1, "quorum": 3, "clans": [{"size": 4, "faults": 1, "majority": 2}]},
        "md_ms": 50.0,
        "load_end": 10 * SECOND,
        "end": 12 * SECOND,
        "as_expected": True,
    }
    return RunInfo(**{**base, **fields})


def write_run(
    directory: Path,
    info: RunInfo,
    history: list[Operation],
    trace: list[dict[str, Any]],
    verdicts: list[Verdict],
) -> Run:
    """Write the four files of a run directory and open it."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "run.json").write_bytes(msgspec.json.encode(info))
    (directory / "history.jsonl").write_bytes(b"".join(msgspec.json.encode(op) + b"\n" for op in history))
    (directory / "trace.jsonl").write_bytes(b"".join(msgspec.json.encode(event) + b"\n" for event in trace))
    (directory / "verdicts.json").write_bytes(msgspec.json.encode(verdicts))
    return Run(directory)


def event(time: int, node: str, name: str, **fields: Any) -> dict[str, Any]:
    """One trace event of incarnation 0 (or as given)."""
    return {"time": time, "node": node, "incarnation": 0, "event": name, **fields}
