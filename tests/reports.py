"""A run store with a few small runs, one of them full of hostile text: for tests of pages, exports and the server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from results.history import Operation
from results.store import FaultInfo, Run
from results.verdict import Anomaly, Status, Verdict
from tests.runs import SECOND, event, small_info, write_run

EVIL = '</script><img src=x onerror="window.hacked=1"><script>window.hacked=1</script>'
MS = 1_000_000
BLOCKS = ("a" * 64, "b" * 64)


def run_of(directory: Path, started: str = "20260102T030405Z", text: str = "", slow: int = 1, **fields: Any) -> Run:
    """A judged 4-node run with a partition, a restart, a fork at height 3 and 20 transactions.

    `text` is put wherever a run may hold words of others; `slow` stretches latencies.
    """
    info = small_info(
        name=directory.parent.name,
        scenario={"name": "small", "description": f"a small run {text}"},
        started_utc=started,
        byzantine=["n3"],
        honest=["n0", "n1", "n2"],
        notes=[f"a note {text}"] if text else [],
        faults=[FaultInfo(1, f"partition{text}", "fault", 2 * SECOND, 4 * SECOND, ["n0>n1", "n1>n0"])],
        versions={"python": "3.11", "code": text or "c0de"},
        **fields,
    )
    return write_run(directory, info, _history(text), _trace(slow, text), _verdicts(text))


def _history(text: str) -> list[Operation]:
    value = {"id": 1, "use": f"partition{text}", "kind": "fault", "targets": ["n0>n1", f"n1>n0{text}"]}
    receipt = {
        "matched": 2, "dropped": 9, "bit": True, "heal_verified": True, "injected": 2 * SECOND, "healed": 4 * SECOND,
        "evidence": f"9 messages stopped {text}",
    }  # fmt: skip
    rows: list[tuple[int, int | str, str, str, Any, str]]
    rows = [(2 * SECOND + MS, "nemesis", "info", "start", value, "")]
    rows += [(4 * SECOND + MS, "nemesis", "info", "stop", {**value, "receipt": receipt}, "")]
    for number in range(20):
        begin = SECOND + number * 300 * MS
        rows.append((begin, number, "invoke", "txn", [["append", 1, number]], ""))
        end = ("ok", "ok", "ok", "fail", "info")[number % 5]
        rows.append((begin + 400 * MS, number, end, "txn", [["append", 1, number]], text if end == "fail" else ""))
    rows.sort(key=lambda row: row[0])
    return [
        Operation(index, time, process, kind, f, value, error=error)  # type: ignore[arg-type]
        for index, (time, process, kind, f, value, error) in enumerate(rows)
    ]


def _trace(slow: int, text: str) -> list[dict[str, Any]]:
    events = [event(0, node, "start") for node in ("n0", "n1", "n2", "n3", "g0")]
    for height in range(1, 30):
        block = f"{height:064x}"
        at = height * 200 * MS + (2 * SECOND if height > 12 else 0)
        events.append(event(at, "n0", "propose", view=height, height=height, block=block, parent="", kind="normal"))
        for offset, node in enumerate(("n0", "n1", "n2", "n3", "g0")):
            events.append(event(at, node, "enter", view=height, via="certificate"))
            body = BLOCKS[node != "n0"] if height == 3 else block
            events.append(
                event(at + (150 + offset) * MS, node, "finalise", height=height, view=height, block=body, batches=[])
            )
    for block, voters in zip(BLOCKS, (("n0", "n3"), ("n1", "n2", "n3")), strict=True):
        events.append(event(600 * MS, "n0", "propose", view=3, height=3, block=block, parent="", kind="normal"))
        events += [event(650 * MS, n, "vote", view=3, kind="normal", block=block) for n in voters if n != "n3"]
        events.append(event(700 * MS, voters[0], "certify", view=3, kind="normal", block=block, signers=list(voters)))
    for number in range(20):
        at, tx = SECOND + number * 300 * MS, f"{number:064x}"
        for phase, after in (
            ("accepted", 0),
            ("pre", 100),
            ("ord", 275 * slow + number),
            ("exec", 300 * slow + number),
        ):
            events.append(event(at + after * MS, "g0", "gateway", tx=tx, phase=phase, root_ok=True))
    events.append(event(3 * SECOND, "n1", "timeout", view=9, lock_view=8))
    events.append(event(4 * SECOND, "n2", "restart", recovered=12))
    events.append(event(4 * SECOND, "n1", "reject", reason=text or "stale", sender="n3"))
    return events


def _verdicts(text: str) -> list[Verdict]:
    witness = [
        {"time": 750 * MS, "node": "n0", "event": "finalise", "block": BLOCKS[0], "height": 3, "said": text},
        {"time": 751 * MS, "node": "n1", "event": "finalise", "block": BLOCKS[1], "height": 3},
    ]
    summary = f"height 3: n0 finalised aa.., n1 finalised bb..; neither extends the other {text}"
    recovery = {"n": 3, "mean": 200.0, "p50": 200.0, "p99": 300.0, "max": 300.0}
    return [
        Verdict("prefix", Status.PASS, 6, [], {"heights": 3}),
        Verdict("fork", Status.FAIL, 6, [Anomaly("fork", summary, witness)], {"gap_bound_ms": 5}),
        Verdict("dedup", Status.UNKNOWN, 0, [], {}, reason=f"no transaction {text}"),
        Verdict("liveness", Status.PASS, 3, [], {"recovery_ms": recovery, "bound_ms": 6000.0, f"said {text}": text}),
    ]


def store_of(root: Path) -> Path:
    """A store with four runs: a surprise, its slower twin as expected, one of another backend, and a hostile one."""
    run_of(root / "small" / "20260102T030405Z-1", as_expected=False)
    run_of(root / "small" / "20260103T030405Z-2", "20260103T030405Z", slow=3, as_expected=True, seed=2)
    run_of(root / "other" / "20260104T030405Z-3", "20260104T030405Z", as_expected=None, backend="sim", layer="sim")
    run_of(root / "evil" / "20260105T030405Z-4", "20260105T030405Z", EVIL, as_expected=False)
    return root


def campaign(**fields: Any) -> dict[str, Any]:
    """The document of a search that found something; any field can be overridden."""
    failure = {
        "property": "fork", "anomaly": "fork", "causes": ["partition", "double-voter"], "seed": 7, "summary": EVIL,
        "surprise": True, "regime": "within", "run": "runs/x/1", "scenario": "", "reproduced": True, "count": 3,
    }  # fmt: skip
    return {
        "runs": 200, "failures": [failure], "runs_per_s": 4.5, "seconds": 44.0, "generator": "swarm",
        "regime": "within",
        "resumed": 0, "interrupted": False, "clean": 190, "upper_bound": None,
        "unknown": {"did not bite": 4, "nothing to examine": 1, "other": 0},
        "unknown_reasons": {f"dedup: {EVIL}": 1}, "errors": [{"seed": 9, "error": EVIL}],
        "properties": {"fork": {"pass": 197, "fail": 3}},
        "coverage": {"cells": 12, "states": 40, "views": 9000, "goals": {"state certified": 150, "batch void": 0}},
        "state": "runs/search/x/state.jsonl", **fields,
    }  # fmt: skip


CHECKERS = (
    "liveness", "fork", "votes", "ancestry", "prefix", "dedup", "locks", "state-root", "acknowledged", "availability",
    "timeouts", "finality-bounds", "conservation", "xrbc-agreement", "censorship", "proposals", "memory",
)  # fmt: skip


def teeth(**fields: Any) -> dict[str, Any]:
    """The document of a kill matrix with as many checkers as there may be; any field can be overridden."""
    breaks = "the highest certificate of a timeout certificate may be below a lock view in it, and that is long"
    mutant = {
        "killed": True, "runs": 1, "seconds": 0.43, "seeds": 5, "group": "B", "breaks": f"{breaks} {EVIL}",
        "rule": "1.3 DURABLE", "witness": "b9", "random": {}, "best": None, "errors": [],
    }  # fmt: skip
    share = {"runs": 20, "hits": 0, "low": 0.0, "high": 0.168, "first": None, "by": {}, "seconds": 0.1, "unjudged": 0}
    lab = {"id": "I1", "caught": True, "signs": ["receipts UNKNOWN"], "seconds": 0.4, "error": "", "what": breaks}
    return {
        "mutants": [{**mutant, "id": f"M{number}", "by": [name]} for number, name in enumerate(CHECKERS)],
        "clean_runs": 20, "false_alarms": 0, "false_alarms_high": 0.168, "rule_of_three": 0.15, "clean_unjudged": 0,
        "clean": {"schedule": {**share, "search": None}}, "survivors": [], "kill_rate": 1.0, "lab": [lab],
        "unnoticed": [], "unplayed": [], "checkers": dict.fromkeys(CHECKERS, 1), "gaps": [],
        "left_out": [{"id": "A3", "why": "there is no stake: every vote of the tribe counts one"}], "whole": True,
        "utc": "20260102T030405Z", "code": "c0de", "interrupted": False, "seconds": 40.6, **fields,
    }  # fmt: skip
