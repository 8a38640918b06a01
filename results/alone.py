"""A history on its own, without a run directory round it: in our JSONL, Jepsen's EDN or elle-cli's JSON."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from results.history import HistoryError, Operation
from results.records import operations, read_records
from results.store import Run, RunInfo
from results.trace import TraceEvent
from results.transactions import Transactions, load


class HistoryAlone(Run):
    """Checkers that need more than the history get a HistoryError from `info` and `trace`, and say UNKNOWN."""

    def __init__(self, path: Path) -> None:
        super().__init__(path.parent)
        self.path = path

    @cached_property
    def info(self) -> RunInfo:
        raise HistoryError(f"{self.path} is a history alone; this checker needs a run directory with run.json")

    @cached_property
    def history(self) -> Sequence[Operation]:
        return list(operations(self.path))

    @cached_property
    def columns(self) -> None:
        """A history alone has no trace."""
        return None

    @cached_property
    def trace(self) -> Sequence[TraceEvent]:
        raise HistoryError(f"{self.path} is a history alone; this checker needs a run directory with trace.jsonl")

    @cached_property
    def transactions(self) -> Transactions:
        """Its transactions as columns. Raises HistoryError on damage anywhere in the file."""
        return load(str(self.path), read_records(self.path))
