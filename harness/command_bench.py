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
    "comparison": "harness.bench.comparison",
}
ON_REQUEST = ("comparison",)  # needs another system's program, and minutes


def bench(
    parts: Annotated[
        list[str] | None, typer.Argument(help=f"{', '.join(PARTS)}; without any: all but the last")
    ] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="the table as Markdown, for a page")] = False,
    json: JsonOption = False,
) -> int:
    """Measure speed and memory on this machine, as ratios to peers where these are installed."""
    for part in parts or ():
        if part not in PARTS:
            raise UsageError(f"bench {part}: no such part; {nearest(part, list(PARTS))}")
    load = os.getloadavg()[0]
    rows = []
    for row in _rows(parts or [part for part in PARTS if part not in ON_REQUEST]):
        rows.append(row)
        beside = f" ({row['ratio']} x peer)" if row["ratio"] else f"; {row['note']}" if row.get("note") else ""
        say(f"{row['name']}: {row['value']} {row['unit']}{beside}")
    if json:
        document({"figures": rows, "load_average": load, "cores": os.cpu_count()})
    elif markdown:
        plain(_markdown(rows))
        plain(
            f"\nLoad average {load:.1f} when it began, {os.getloadavg()[0]:.1f} at its end, on {os.cpu_count()} cores."
        )
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


def _markdown(rows: list[dict[str, Any]]) -> str:
    lines = ["| figure | unit | here | peer | ratio | note |", "|---|---|---|---|---|---|"]
    for row in rows:
        cells = (row["name"], row["unit"], row["value"], row["peer"], row["ratio"], row.get("note"))
        lines.append("| " + " | ".join("" if cell is None else str(cell) for cell in cells) + " |")
    return "\n".join(lines)
