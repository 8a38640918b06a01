"""`moonquake export`: a run's history in Jepsen's EDN, its trace as columns, its tables as CSV or Parquet."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from harness.console import JsonOption, document, plain, tidy
from harness.outcome import Exit, UsageError


def export(
    run_dir: Annotated[Path, typer.Argument(help="a run directory; for --edn also a history.jsonl")],
    edn: Annotated[bool, typer.Option("--edn", help="the history to standard output, one operation a line")] = False,
    csv: Annotated[bool, typer.Option("--csv", help="history, verdicts, latencies, faults, ... as CSV files")] = False,
    parquet: Annotated[
        bool,
        typer.Option("--parquet", help="the same tables as Parquet files, and trace.parquet for judging"),
    ] = False,
    out: Annotated[Path | None, typer.Option("--out", help="where the tables go (default: RUN_DIR/export)")] = None,
    json: JsonOption = False,
) -> int:
    """Write a run in another format: Jepsen's EDN, columns for millions of records, tables for other programs."""
    if edn + csv + parquet != 1:
        raise UsageError("export: say which format: moonquake export RUN_DIR --edn, --csv or --parquet")
    tidy()
    return _edn(run_dir, json) if edn else _tables(run_dir, out, "csv" if csv else "parquet", json)


def _edn(place: Path, json: bool) -> Exit:
    from results.export import to_edn

    path = place / "history.jsonl" if place.is_dir() else place
    if json:
        document({"edn": list(to_edn(path))})
        return Exit.AS_EXPECTED
    for line in to_edn(path):
        sys.stdout.write(line + "\n")
    return Exit.AS_EXPECTED


def _tables(place: Path, out: Path | None, kind: Literal["csv", "parquet"], json: bool) -> Exit:
    from harness import judging
    from results.notebook import load, write_tables

    if not place.is_dir():
        raise UsageError(f"{place}: is not a run directory; the newest one is runs/latest")
    written = write_tables(load(place), out or place / "export", kind)
    found: dict[str, object] = {kind: [str(path) for path in written]}
    if kind == "parquet":
        columns, records = judging.write_columns(place)
        written = [*written, columns]
        found |= {"trace": str(columns), "records": records}
    if json:
        document(found)
    else:
        for path in written:
            plain(str(path))
    return Exit.AS_EXPECTED
