"""The run as tables: what charts, exports and notebooks are made of. Times in seconds from the start of the run."""

from __future__ import annotations

from typing import Any

import pandas as pd

from results.store import Run

SECOND = 1_000_000_000
PHASES = ("pre", "ord", "exec")
PHASE_NAMES = {"pre": "pre-confirmed", "ord": "ordered", "exec": "executed"}


def heights(run: Run) -> pd.DataFrame:
    """One row a finalisation: node, seconds, height, view, batches (count)."""
    rows = [
        (e["node"], e["time"] / SECOND, e["height"], e["view"], len(e.get("batches", ())))
        for e in run.events("finalise", honest=False)
    ]
    return pd.DataFrame(rows, columns=["node", "seconds", "height", "view", "batches"])


def views(run: Run) -> pd.DataFrame:
    """One row a view entered: node, seconds, view, via (start, certificate or timeout)."""
    rows = [(e["node"], e["time"] / SECOND, e["view"], e.get("via", "")) for e in run.events("enter", honest=False)]
    return pd.DataFrame(rows, columns=["node", "seconds", "view", "via"])


def phases(run: Run) -> pd.DataFrame:
    """One row a transaction and phase: tx, phase, latency_ms from acceptance, seconds (when), by the first gateway."""
    accepted: dict[str, int] = {}
    seen: set[tuple[str, str]] = set()
    rows = []
    for event in run.events("gateway"):
        tx, phase, time = event["tx"], event["phase"], event["time"]
        if phase == "accepted":
            accepted.setdefault(tx, time)
        elif phase in PHASES and tx in accepted and (tx, phase) not in seen:
            seen.add((tx, phase))
            rows.append((tx, phase, (time - accepted[tx]) / 1e6, time / SECOND))
    return pd.DataFrame(rows, columns=["tx", "phase", "latency_ms", "seconds"])


def commits(run: Run) -> pd.DataFrame:
    """One row an honest finalisation of a block that an honest node proposed: node, height, latency_ms, seconds."""
    proposed: dict[str, int] = {}
    for event in run.events("propose"):
        proposed.setdefault(event["block"], event["time"])
    rows = [
        (e["node"], e["height"], (e["time"] - proposed[e["block"]]) / 1e6, e["time"] / SECOND)
        for e in run.events("finalise")
        if e.get("block") in proposed
    ]
    return pd.DataFrame(rows, columns=["node", "height", "latency_ms", "seconds"])


def operations(run: Run) -> pd.DataFrame:
    """One row a completed client operation: seconds (completion), type, f, latency_ms."""
    begun: dict[Any, int] = {}
    rows = []
    for op in run.history:
        if op.process == "nemesis":
            continue
        if op.type == "invoke":
            begun[op.process] = op.time
        elif op.process in begun:
            rows.append((op.time / SECOND, op.type, op.f, (op.time - begun.pop(op.process)) / 1e6))
    return pd.DataFrame(rows, columns=["seconds", "type", "f", "latency_ms"])


def windows(run: Run) -> pd.DataFrame:
    """One row a fault or behaviour that was really active: id, use, kind, start, stop (seconds), targets, receipts.

    Start and stop are what the receipts say (a start operation is recorded only when the fault is seen to bite).
    """
    begun: dict[Any, Any] = {}
    ended: dict[Any, list[Any]] = {}
    for op in run.history:
        if op.process == "nemesis" and isinstance(op.value, dict) and "id" in op.value:
            if op.f == "start":
                begun[op.value["id"]] = op
            elif op.f == "stop":
                ended.setdefault(op.value["id"], []).append(op)
    rows = []
    for ident, op in begun.items():
        value, stops = op.value, ended.get(ident, [])
        kind = value.get("kind", "fault")
        receipts = [s.value.get("receipt", {}) | {"node": s.value.get("node", "")} for s in stops]
        start, stop = op.time, max((s.time for s in stops), default=run.info.end)
        if kind == "fault":  # in a behaviour's receipt `injected` is a count
            start = min((r["injected"] for r in receipts if r.get("injected")), default=start)
            stop = max((r["healed"] for r in receipts if r.get("healed")), default=stop)
        elif declared := [f for f in run.info.faults if f.id == ident and f.stop]:
            stop = min(stop, declared[0].stop)
        targets = [str(t) for t in value.get("targets", ())]
        rows.append((ident, value.get("use", ""), kind, start / SECOND, stop / SECOND, targets, receipts))
    return pd.DataFrame(rows, columns=["id", "use", "kind", "start", "stop", "targets", "receipts"])


def restarts(run: Run) -> pd.DataFrame:
    """One row a restart: node, seconds, recovered (log records; 0 = the disk was lost)."""
    rows = [(e["node"], e["time"] / SECOND, e.get("recovered", 0)) for e in run.events("restart", honest=False)]
    return pd.DataFrame(rows, columns=["node", "seconds", "recovered"])


def timeouts(run: Run) -> pd.DataFrame:
    """One row a time-out vote: node, seconds, view."""
    rows = [(e["node"], e["time"] / SECOND, e["view"]) for e in run.events("timeout", honest=False)]
    return pd.DataFrame(rows, columns=["node", "seconds", "view"])
