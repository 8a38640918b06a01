"""`report.html`: one self-contained page a run; opens from disk without a network."""

from __future__ import annotations

from pathlib import Path

from results.report.frontier import write_frontier
from results.report.page import render
from results.store import Run

__all__ = ["write_frontier", "write_report"]


def write_report(run: Run) -> Path:
    """Write report.html into the run directory, whole or not at all, and return its path.

    Raises HistoryError on a damaged run, OSError where nothing can be written.
    """
    path = run.directory / "report.html"
    temporary = path.with_name(f".{path.name}.part")
    try:
        temporary.write_text(render(run), encoding="utf-8")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return path
