"""`moonquake frontier`: how many faulty nodes it takes, measured in the simulator and set against the claimed bound."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import msgspec
import tomli_w
import typer
from rich.live import Live
from rich.table import Table
from rich.text import Text

from harness import frontier as measuring
from harness import rundir
from harness.backends.port import MachineError
from harness.commands import DEFAULT_SEED
from harness.console import RUNS, JsonOption, RunsOption, SeedOption, WorkersOption, err, out, plain, say
from harness.console import document as show_document
from harness.executors import workers as pool_of
from harness.frontier import Sample
from harness.frontier_attacks import Values, find
from harness.outcome import UsageError
from harness.screen import ANSWERS
from harness.sources import code_digest
from results.report import write_frontier

DEFAULT_SEEDS = 5
SAY_EVERY = 10  # percent, where no terminal shows a live line


def frontier(
    attack: Annotated[str, typer.Argument(help="a frontier (moonquake list frontiers), a behaviour, or FILE.py:Class")],
    n: Annotated[str, typer.Option("--n", help="sizes, such as 4,7,10 (default: the attack's own)")] = "",
    b: Annotated[str, typer.Option("--b", help="faulty nodes, such as 2,3 (default: from 0 to past the bound)")] = "",
    seeds: Annotated[int, typer.Option("--seeds", min=1, max=1_000_000, help="runs a point")] = DEFAULT_SEEDS,
    seed: SeedOption = None,
    workers: WorkersOption = "",
    runs: RunsOption = RUNS,
    json: JsonOption = False,
) -> int:
    """Sweep the number of faulty nodes: Byzantine count against verdict, with exact confidence intervals."""
    chosen = find(attack)
    sizes = _numbers("--n", n) or list(chosen.sizes)
    first = DEFAULT_SEED if seed is None else seed
    wanted, scenarios = measuring.tasks(chosen, sizes, _numbers("--b", b), range(first, first + seeds))
    started = rundir.utc_now()
    directory = rundir.fresh(runs / "frontier" / chosen.name, started)
    _write_scenarios(directory, scenarios)
    samples: list[Sample] = []
    with pool_of(workers) as pool, _progress(len(wanted), samples) as take:
        say(f"{chosen.name}: {len(scenarios)} points, {len(wanted)} runs on {pool.size} processes")
        stopped = measuring.measure(wanted, pool, take)
    samples.sort(key=lambda s: (s.n, s.b, s.seed))
    found = measuring.document(chosen, sizes, samples, stopped)
    found |= {"seeds": [first, first + seeds - 1], "directory": str(directory), "utc": started, "code": code_digest()}
    found |= _write(directory, found, samples)
    if json:
        show_document(found)
    else:
        _report(found)
    return int(found["exit"])


def _numbers(option: str, text: str) -> list[int]:
    """A list such as 4,7,10: sorted, each once. Raises UsageError."""
    parts = [part.strip() for part in text.split(",")] if text else []
    if not all(part.isdigit() for part in parts):
        raise UsageError(f"{option} {text}: must be numbers with commas between, such as {option} 4,7")
    return sorted({int(part) for part in parts})


# ---------------------------------------------------------------- what is kept
def _write_scenarios(directory: Path, scenarios: dict[tuple[int, int], Values]) -> None:
    """One file a point, so that `moonquake run` can take any of them up."""
    with _on_disk(directory):
        (directory / "scenarios").mkdir()
        for values in scenarios.values():
            (directory / "scenarios" / f"{values['name']}.toml").write_text(tomli_w.dumps(values), encoding="utf-8")


def _write(directory: Path, found: dict[str, Any], samples: Sequence[Sample]) -> dict[str, str]:
    """frontier.json, .csv and .html, and a line a run in runs.csv. Returns the paths of csv and chart."""
    with _on_disk(directory):
        _table(directory / "frontier.csv", found["points"])
        _table(directory / "runs.csv", [_row(taken) for taken in samples])
        chart = write_frontier(directory, found)
    paths = {"csv": str(directory / "frontier.csv"), "chart": str(chart)}
    rundir.write_json(directory / "frontier.json", found | paths)
    return paths


def _row(taken: Sample) -> dict[str, Any]:
    row = msgspec.structs.asdict(taken)
    return row | {"anomalies": "; ".join(taken.anomalies), "defects": "; ".join(taken.defects)}


def _table(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]) if rows else ["n", "b"])
        writer.writeheader()
        writer.writerows(rows)


@contextmanager
def _on_disk(directory: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise MachineError(
            f"{directory}: cannot be written: {error.strerror}; choose another with --runs DIR"
        ) from error


# ---------------------------------------------------------------- what people see
@contextmanager
def _progress(total: int, samples: list[Sample]) -> Iterator[Callable[[Sample], None]]:
    """Keeps the samples and shows how far it is: a live line on a terminal, elsewhere a sentence now and then."""
    said = 0

    def take(sample: Sample) -> None:
        nonlocal said
        samples.append(sample)
        counts = [sum(s.result == r for s in samples) for r in ("violated", "held", "unknown")]
        line = f"{len(samples)}/{total} runs: {counts[0]} violated, {counts[1]} held, {counts[2]} unknown"
        if err.is_terminal:
            display.update(Text(f"  {line}; last n = {sample.n}, b = {sample.b}"))
        elif len(samples) * 100 // total // SAY_EVERY > said:
            said = len(samples) * 100 // total // SAY_EVERY
            say(f"  {line}")

    with Live(console=err, transient=True, refresh_per_second=2) as display:
        yield take


def _report(found: dict[str, Any]) -> None:
    table = Table("n", "faulty", "violated", f"rate ({found['confidence']:.0%} interval)", "held", "unknown")
    colours = {"broken": "red", "held": "green", "open": "yellow"}
    for point in found["points"]:
        judged = point["violations"] + point["held"]
        rate = f"{point['violations'] / judged:.2f} ({point['low']:.3f} to {point['high']:.3f})" if judged else "?"
        state = f"[{colours[point['state']]}]{point['violations']}[/]"
        table.add_row(str(point["n"]), str(point["b"]), state, rate, str(point["held"]), str(point["unknown"]))
    out.print(table)
    for size in found["sizes"]:
        observed = "open" if size["observed_bound"] is None else size["observed_bound"]
        plain(
            f"{found['counted']} of {size['n']}: observed bound {observed}, claimed bound {size['claimed_bound']};"
            f" as expected: {ANSWERS[size['as_expected']]}"
        )
    for kind in ("anomalies", "unknown_reasons"):
        for name, count in found[kind].items():
            plain(f"{'violated' if kind == 'anomalies' else 'unknown'} in {count} runs: {name}")
    if found["stopped"]:
        plain(f"stopped early: {found['stopped']}; what was measured is kept")
    plain(f"table: {found['csv']}\nchart: {found['chart']}")
