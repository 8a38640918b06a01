"""`moonquake search --generator timing`: climb to the worst schedule of delays up to Delta; keep it as a scenario.

What is found is compared with the bounds L-VIEW and L-COMMIT of protocol.md 6.3; beyond them, or with any violation,
the exit code is 1.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import msgspec
import tomli_w

from harness import commands
from harness.backends.port import MachineError
from harness.backends.sim.backend import SimBackend
from harness.campaign import Budget
from harness.console import document, plain, say
from harness.outcome import Exit, UsageError
from harness.plan import resolve
from harness.progress import Observer
from harness.scenario import Scenario
from harness.timing import Report, Worst, climb, scenario

SAY_EVERY = 20


def search_timing(base: Scenario, budget: Budget, seed: int, root: Path, json: bool) -> Exit:
    """Search within the budget, record the worst run under `root`, report. Raises UsageError for a base that cannot be
    used, MachineError for a disk that cannot be written."""
    begin = time.monotonic()

    def go_on(done: int) -> bool:
        if done and budget.seconds is not None and time.monotonic() - begin >= budget.seconds:
            return False
        return budget.runs is None or done < budget.runs

    def show(run: int, worst: Worst) -> None:
        if run == worst.run or run % SAY_EVERY == 0:
            say(f"  run {run}: at worst {worst.latency.gap:.2f} Delta between finalisations (run {worst.run})")

    try:
        report = climb(base.raw, seed, go_on, show)
    except (KeyError, ValueError) as error:
        raise UsageError(f"{base.source}: {error}") from error
    directory, path = _record(root, report, seed)
    if json:
        document(as_document(report, directory, path, time.monotonic() - begin))
    else:
        _tell(report, directory, path)
    return Exit.SURPRISE if report.failures else Exit.AS_EXPECTED


def as_document(report: Report, directory: Path, path: Path, seconds: float) -> dict[str, Any]:
    """The JSON form: that of `search`, and the worst schedule beside its bounds, in Delta."""
    return {
        "runs": report.runs,
        "failures": [{"anomaly": kind, "seed": run, "run": str(directory)} for kind, _, run in report.failures],
        "runs_per_s": report.runs / seconds if seconds > 0 else 0.0,
        "worst": msgspec.structs.asdict(report.worst.latency),
        "by_chance": msgspec.structs.asdict(report.drawn),
        "bounds": msgspec.structs.asdict(report.bounds),
        "run": str(directory),
        "scenario": str(path),
    }


def _record(root: Path, report: Report, seed: int) -> tuple[Path, Path]:
    """Run the worst again with files, and write its scenario beside them."""
    plan = resolve(scenario(report.worst.values), seed, SimBackend.scheme)
    judged = commands.run_plan(plan, SimBackend(), root, ["found by search --generator timing"], Observer())
    path = judged.directory / "scenario.toml"
    try:
        path.write_text(tomli_w.dumps(report.worst.values), encoding="utf-8")
    except OSError as error:
        raise MachineError(f"{path}: cannot be written: {error.strerror}; make room on the disk") from error
    return judged.directory, path


def _tell(report: Report, directory: Path, path: Path) -> None:
    found, chance, allowed = report.worst.latency, report.drawn, report.bounds
    for name, text in (
        ("gap", "between two finalisations of an honest node"),
        ("commit", "from an honest leader's view to its commit at all honest nodes"),
        ("view", "of an honest node in one view"),
    ):
        worst, drawn, bound = getattr(found, name), getattr(chance, name), getattr(allowed, name)
        verdict = "within" if worst <= bound else "BEYOND"
        plain(f"{worst:6.2f} Delta {text}: {verdict} the bound of {bound:g} (by chance alone {drawn:.2f})")
    for kind, summary, run in report.failures:
        plain(f"{kind} (run {run}): {summary}")
    plain(f"{report.runs} runs; the worst is run {report.worst.run}")
    plain(f"  run:      {directory}\n  scenario: {path}")
