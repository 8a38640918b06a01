"""A run as pandas DataFrames, for notebooks: `results.load("runs/latest")`.

    run = results.load("runs/latest")
    run                                   # what it was and what came of it (a notebook shows the verdicts as a table)
    run.latencies.groupby("phase").latency_ms.quantile([0.5, 0.99])
    run.trace[run.trace.event == "timeout"]

Tables are read when they are first asked for. Times are nanoseconds since the start of the run where a column is called
`time`, seconds where it is called `seconds`, milliseconds where its name ends in `_ms`. docs/notebooks.md lists all
columns.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cached_property
from html import escape
from pathlib import Path
from typing import Literal

import msgspec
import pandas as pd

from results.claim import Figure
from results.report import frames, words
from results.store import Run, RunInfo

HISTORY = ("index", "time", "process", "type", "f", "value", "tx", "phase", "gateway", "error")


class Loaded:
    """A run directory as tables. Raises HistoryError, saying what is missing, when a table is asked for."""

    def __init__(self, directory: Path) -> None:
        self.run = Run(directory.resolve())
        self.info: RunInfo = self.run.info

    @cached_property
    def history(self) -> pd.DataFrame:
        """One row an operation, as recorded: index, time, process, type, f, value, tx, phase, gateway, error."""
        rows = [[getattr(op, name) for name in HISTORY] for op in self.run.history]
        return pd.DataFrame(rows, columns=list(HISTORY))

    @cached_property
    def operations(self) -> pd.DataFrame:
        """One row a completed client operation: seconds, type, f, latency_ms."""
        return frames.operations(self.run)

    @cached_property
    def trace(self) -> pd.DataFrame:
        """One row an event, by time: time, node, incarnation, event, and every field that some event has."""
        return pd.DataFrame.from_records(list(self.run.trace))

    @cached_property
    def verdicts(self) -> pd.DataFrame:
        """One row a property: property, status, examined, anomalies (count), reason, measures (dict)."""
        rows = [
            (v.property, v.status.value, v.examined, len(v.anomalies), v.reason, v.measures) for v in self.run.verdicts
        ]
        return pd.DataFrame(rows, columns=["property", "status", "examined", "anomalies", "reason", "measures"])

    @cached_property
    def anomalies(self) -> pd.DataFrame:
        """One row an anomaly: property, kind, summary, witness (list of records)."""
        rows = [(v.property, a.kind, a.summary, a.witness) for v, a in words.anomalies(self.run)]
        return pd.DataFrame(rows, columns=["property", "kind", "summary", "witness"])

    @cached_property
    def metrics(self) -> pd.DataFrame:
        """One row a metric: name, value, low, high, n, unit, method."""
        rows = [msgspec.structs.astuple(figure) for figure in self.run.metrics.figures]
        return pd.DataFrame(rows, columns=list(Figure.__struct_fields__))

    @cached_property
    def latencies(self) -> pd.DataFrame:
        """One row a transaction and finality phase: tx, phase (pre, ord, exec), latency_ms from acceptance, seconds."""
        return frames.phases(self.run)

    @cached_property
    def commits(self) -> pd.DataFrame:
        """One row an honest finalisation of an honest block: node, height, latency_ms from its proposal, seconds."""
        return frames.commits(self.run)

    @cached_property
    def faults(self) -> pd.DataFrame:
        """One row a fault or behaviour that was on: id, use, kind, start, stop (seconds), targets, receipts."""
        return frames.windows(self.run)

    @cached_property
    def heights(self) -> pd.DataFrame:
        """One row a finalisation: node, seconds, height, view, batches (count)."""
        return frames.heights(self.run)

    @cached_property
    def views(self) -> pd.DataFrame:
        """One row a view entered: node, seconds, view, via."""
        return frames.views(self.run)

    def __repr__(self) -> str:
        _, word = words.outcome(self.run)
        return f"<run {self.info.name}, seed {self.info.seed}, {self.info.backend}: {word}>"

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        return f"<p>{escape(repr(self))}</p>{self.verdicts.drop(columns='measures').to_html(index=False)}"


TABLES: dict[str, Callable[[Loaded], pd.DataFrame]] = {
    "history": lambda run: run.history,
    "operations": lambda run: run.operations,
    "verdicts": lambda run: run.verdicts,
    "anomalies": lambda run: run.anomalies,
    "metrics": lambda run: run.metrics,
    "latencies": lambda run: run.latencies,
    "commits": lambda run: run.commits,
    "faults": lambda run: run.faults,
    "heights": lambda run: run.heights,
    "views": lambda run: run.views,
}


JUDGED = ("verdicts", "anomalies")  # of these tables


def load(run_dir: str | Path) -> Loaded:
    """The run in a directory, as DataFrames. Raises HistoryError for a directory that holds no run."""
    return Loaded(Path(run_dir))


def write_tables(run: Loaded, directory: Path, kind: Literal["csv", "parquet"]) -> list[Path]:
    """Write every table but the trace; lists and objects in a cell are JSON. Returns the files written.

    A run that has not been judged yet has no verdicts and no anomalies to write.

    Raises HistoryError for a damaged run, OSError where nothing can be written.
    """
    directory.mkdir(parents=True, exist_ok=True)
    written = []
    judged = (run.run.directory / "verdicts.json").exists()
    for name, table in TABLES.items():
        if name in JUDGED and not judged:
            continue
        path = directory / f"{name}.{kind}"
        cells = plain(table(run))
        if kind == "csv":
            cells.to_csv(path, index=False, lineterminator="\n")
        else:
            cells.to_parquet(path, index=False)
        written.append(path)
    return written


def plain(table: pd.DataFrame) -> pd.DataFrame:
    """The table with JSON text where a cell is no plain value, and text where a column mixes numbers and words."""
    nested = [
        name for name in table.columns if table[name].map(lambda cell: isinstance(cell, list | dict | tuple)).any()
    ]
    table = table.assign(**{name: table[name].map(lambda cell: json.dumps(cell, sort_keys=True)) for name in nested})
    mixed = [name for name in table.columns if table[name].map(type).nunique() > 1 and table[name].dtype == object]
    return table.assign(**{name: table[name].map(str) for name in mixed})
