"""`moonquake bench`: the figures of the performance paper, measured here and now, with their peers in the same run."""

from __future__ import annotations

import os
from collections.abc import Iterator
from importlib import import_module
from typing import Annotated, Any

import typer
from rich.table import Table

from harness.console import JsonOption, document, out, plain, say
from harness.outcome import Exit, UsageError, nearest

PARTS = {
    "campaigns": "harness.bench.campaigns",
    "sim": "harness.bench.sim",
    "cores": "harness.bench.cores",
    "linear": "harness.bench.checkers_linear",
    "elle": "harness.bench.checkers_elle",
    "trace": "harness.bench.checkers_trace",
}


def bench(
    parts: Annotated[list[str] | None, typer.Argument(help=f"{', '.join(PARTS)}; without any: all")] = None,
    json: JsonOption = False,
) -> int:
    """Measure speed and memory on this machine, as ratios to peers where these are installed."""
    for part in parts or ():
        if part not in PARTS:
            raise UsageError(f"bench {part}: no such part; {nearest(part, list(PARTS))}")
    load = os.getloadavg()[0]
    rows = []
    for row in _rows(parts or list(PARTS)):
        rows.append(row)
        beside = f" ({row['ratio']} x peer)" if row["ratio"] else f"; {row['note']}" if row.get("note") else ""
        say(f"{row['name']}: {row['value']} {row['unit']}{beside}")
    if json:
        document({"figures": rows, "load_average": load, "cores": os.cpu_count()})
    else:
        out.print(_table(rows))
        plain(f"load average {load:.1f} when it began, on {os.cpu_count()} cores: only ratios within one run count")
    return Exit.AS_EXPECTED


def _rows(parts: list[str]) -> Iterator[dict[str, Any]]:
    for part in parts:
        yield from import_module(PARTS[part]).figures()


def _table(rows: list[dict[str, Any]]) -> Table:
    table = Table("figure", "value", "unit", "peer", "ratio")
    for row in rows:
        cells = (row["name"], row["value"], row["unit"], row["peer"], row["ratio"])
        table.add_row(*("" if cell is None else str(cell) for cell in cells))
    return table
