"""`report.html`: one self-contained page a run; opens from disk without a network."""

from __future__ import annotations

from pathlib import Path

from results.report.page import render
from results.store import Run

__all__ = ["write_report"]


def write_report(run: Run) -> Path:
    """Write report.html into the run directory and return its path. Raises HistoryError on a damaged run."""
    path = run.directory / "report.html"
    path.write_text(render(run), encoding="utf-8")
    return path
