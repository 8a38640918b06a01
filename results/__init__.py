"""What a run leaves behind: history, trace, verdicts, statistics, reports."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from results.notebook import Loaded

__all__ = ["load"]


def load(run_dir: str | Path) -> Loaded:
    """A run as pandas DataFrames, for notebooks (results.notebook). Raises HistoryError if the directory holds none."""
    from results.notebook import load as loaded  # pandas: what checkers import must not wait for it

    return loaded(run_dir)
