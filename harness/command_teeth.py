"""`moonquake teeth`: mutants of the cores against the checkers, and the false alarms of the clean build."""

from __future__ import annotations

import time
from collections.abc import Sequence
from statistics import median
from typing import Annotated, Any

import msgspec
import typer
from rich.table import Table

from harness.console import JsonOption, document, out, plain, say
from harness.mutants import MUTANTS_DIR, Mutant, kills, load_mutants
from harness.outcome import Exit, UsageError, nearest
from harness.teeth import false_alarms, share, under_witness


def teeth(
    mutants: Annotated[list[str] | None, typer.Argument(help="mutants by id, such as MM3; without any: all")] = None,
    seeds: Annotated[int, typer.Option("--seeds", min=1, help="seeds of each witness")] = 1,
    random: Annotated[int, typer.Option("--random", min=0, help="random runs with each mutant as well")] = 0,
    clean: Annotated[int, typer.Option("--clean", min=0, help="random runs of the clean build")] = 20,
    json: JsonOption = False,
) -> int:
    """Would the lab notice? Every mutant under its witness, and as many random runs as are asked for."""
    rows = [_row(mutant, seeds, random) for mutant in _chosen(mutants or ())]
    alarms = false_alarms(clean) if clean else None
    survivors = [row["id"] for row in rows if not row["killed"]]
    hits = alarms.hits if alarms else 0
    if json:
        summary = {"clean_runs": clean, "false_alarms": hits, "false_alarms_high": alarms.high if alarms else 1.0}
        document({"mutants": rows, **summary, "survivors": survivors})
    else:
        out.print(_matrix(rows))
        plain(f"survivors: {', '.join(survivors) or 'none'}; {len(rows) - len(survivors)} of {len(rows)} killed")
        if alarms:
            plain(f"clean build: {hits} false alarms in {clean} random runs (95 % upper bound {alarms.high:.3f})")
    return Exit.SURPRISE if survivors or hits else Exit.AS_EXPECTED


def _chosen(ids: Sequence[str]) -> list[Mutant]:
    if not MUTANTS_DIR.is_dir():
        raise UsageError(
            f"teeth: there is no {MUTANTS_DIR}; mutants are no part of the package: run it from a checkout"
        )
    known = {mutant.id: mutant for mutant in load_mutants()}
    for name in ids:
        if name not in known:
            raise UsageError(f"teeth {name}: no such mutant; {nearest(name, list(known))}")
    return [known[name] for name in ids] if ids else list(known.values())


def _row(mutant: Mutant, seeds: int, random: int) -> dict[str, Any]:
    """Killed: by the witness at every seed. `runs` and `seconds` to the first kill, the median over the seeds."""
    by: dict[str, int] = {}
    took, caught = [], 0
    for seed in range(1, seeds + 1):
        begun = time.monotonic()
        result, _ = under_witness(mutant, seed)
        took.append(time.monotonic() - begun)
        caught += bool(kills(mutant, result))
        for name in result.violated():
            by[name] = by.get(name, 0) + 1
    row: dict[str, Any] = {
        "id": mutant.id,
        "killed": caught == seeds,
        "by": sorted(by, key=lambda name: (-by[name], name)),
        "runs": 1 if caught == seeds else None,
        "seconds": round(median(took), 2),
        "breaks": mutant.breaks,
        "rule": mutant.rule,
        "witness": mutant.witness,
    }
    if random:
        row["random"] = msgspec.to_builtins(share(mutant, random))
    say(f"{mutant.id}: {'killed by ' + ', '.join(row['by']) if row['killed'] else 'SURVIVED'}")
    return row


def _matrix(rows: list[dict[str, Any]]) -> Table:
    """Mutants by checkers."""
    checkers = sorted({name for row in rows for name in row["by"]})
    table = Table("mutant", "breaks", *checkers, "random runs")
    for row in rows:
        found = row.get("random")
        share_text = f"{found['hits']}/{found['runs']}" if found else ""
        table.add_row(row["id"], row["breaks"], *("x" if name in row["by"] else "" for name in checkers), share_text)
    return table
