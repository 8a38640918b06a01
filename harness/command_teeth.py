"""`moonquake teeth`: mutants against the checkers, mutants of the lab itself, false alarms of the clean build."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from harness import rundir
from harness.catalogue import gaps, read_catalogue
from harness.console import RUNS, JsonOption, document, out, plain, say
from harness.executors import make_executor, stop, workers_of
from harness.mutants import MUTANTS_DIR, Mutant
from harness.outcome import Exit, RecordingError, UsageError, nearest
from harness.sources import code_digest
from harness.teeth import GENERATORS, Done, Task, mutants, play, traps
from harness.teeth_plan import Aim, Ledger
from harness.teeth_state import Line, State, open_state
from harness.toml import duration

BUDGET_SEEDS = 5
SAY_EVERY_S = 20.0

IdsArgument = Annotated[list[str] | None, typer.Argument(help="mutants by id, such as MM3 or I7; without any: all")]
GeneratorOption = Annotated[
    list[str] | None, typer.Option("--generator", help=f"of random runs: {', '.join(GENERATORS)}")
]


def teeth(
    ids: IdsArgument = None,
    seeds: Annotated[int, typer.Option("--seeds", min=1, help="seeds of each witness")] = 1,
    random: Annotated[int, typer.Option("--random", min=0, help="random runs with each mutant and generator")] = 0,
    clean: Annotated[int, typer.Option("--clean", min=0, help="random runs of the clean build")] = 20,
    generator: GeneratorOption = None,
    budget: Annotated[str | None, typer.Option("--budget", help="how long to go on, such as 1h: all of it")] = None,
    workers: Annotated[str, typer.Option("--workers", help="processes (default 1)")] = "1",
    resume: Annotated[bool, typer.Option("--resume", help="go on with the newest sitting of this code")] = False,
    directory: Annotated[Path, typer.Option("--runs-dir", help="where the page and the state go")] = RUNS,
    json: JsonOption = False,
) -> int:
    """Would the lab notice? Every mutant under its witness, every trap, and as many random runs as are asked for."""
    chosen, set_up = _chosen(ids or ())
    seconds = None if budget is None else duration(budget, lambda message: UsageError(f"--budget: {message}"))
    aim = Aim(seeds, random, clean, _generators(generator, ("schedule",)))
    if seconds is not None:
        aim = Aim(max(seeds, BUDGET_SEEDS), None, None, _generators(generator, GENERATORS))
    count = workers_of(workers)
    with open_state(directory, resume) as state:
        say(f"teeth: {len(chosen)} mutants, {len(set_up)} traps, {count} workers; state: {state.directory}")
        ledger = Ledger(chosen, set_up, aim, state.done)
        interrupted = _play_all(ledger, state, count, seconds)
        found = _document(ledger, not ids, interrupted)
        found["page"] = str(_page(state.directory, found))
    if json:
        document(found)
    else:
        _print(found)
    return exit_of(found)


def exit_of(found: dict[str, Any]) -> Exit:
    """1: a survivor, a trap that went unnoticed, or a false alarm; 2: something could not be played; else 0."""
    unnoticed = [row["id"] for row in found["lab"] if not row["caught"] and not row["error"]]
    survivors = [row["id"] for row in found["mutants"] if not row["killed"] and not row["errors"] and row["seeds"]]
    if survivors or unnoticed or found["false_alarms"]:
        return Exit.SURPRISE
    missing = [row["id"] for row in (*found["mutants"], *found["lab"]) if row.get("errors") or row.get("error")]
    doubtful = missing or found["clean_unjudged"] or found["unplayed"] or found["gaps"] or found["interrupted"]
    return Exit.INCONCLUSIVE if doubtful else Exit.AS_EXPECTED


# ---------------------------------------------------------------- what to play
def _chosen(ids: Sequence[str]) -> tuple[list[Mutant], list[str]]:
    if not MUTANTS_DIR.is_dir():
        raise UsageError(
            f"teeth: there is no {MUTANTS_DIR}; mutants are no part of the package: run it from a checkout"
        )
    for name in ids:
        if name not in mutants() and name not in traps():
            raise UsageError(f"teeth {name}: no such mutant; {nearest(name, [*mutants(), *traps()])}")
    if not ids:
        return list(mutants().values()), list(traps())
    return [mutants()[name] for name in ids if name in mutants()], [name for name in ids if name in traps()]


def _generators(asked: Sequence[str] | None, otherwise: tuple[str, ...]) -> tuple[str, ...]:
    for name in asked or ():
        if name not in GENERATORS:
            raise UsageError(f"--generator {name}: no such generator; {nearest(name, list(GENERATORS))}")
    return tuple(dict.fromkeys(asked or otherwise))


def _play_all(ledger: Ledger, state: State, workers: int, seconds: float | None) -> bool:
    """Play until all is played, or the time of this sitting is over. True if Ctrl-C ended it, or a worker died."""
    begun = said = time.monotonic()
    executor = make_executor(workers)
    pending: dict[Future[Done], Task] = {}
    try:
        while True:
            while len(pending) < workers and (seconds is None or time.monotonic() - begun < seconds):
                task = ledger.next()
                if task is None:
                    break
                pending[executor.submit(play, task)] = task
            if not pending:
                return False
            finished, _ = wait(pending, return_when=FIRST_COMPLETED)
            for future in finished:
                del pending[future]
                done = future.result()
                ledger.add(done)
                state.append(Line(done=done))
                _tell(done)
            if time.monotonic() - said > SAY_EVERY_S:
                said = time.monotonic()
                say(f"teeth: {len(ledger.done)} steps in {said - begun:.0f} s")
    except (KeyboardInterrupt, BrokenProcessPool):
        return True
    finally:
        stop(executor)


def _tell(done: Done) -> None:
    """One line for what people wait for: the first seed of each witness, each trap, and every alarm."""
    task = done.task
    if done.error:
        say(f"{task.kind} {task.id} seed {task.seed}: no verdict: {done.error.strip().splitlines()[-1]}")
    elif task.kind == "trap":
        say(f"{task.id}: {'noticed: ' + done.by[0] if done.hit else 'NOT NOTICED'}")
    elif task.kind == "witness" and (task.seed == 1 or not done.hit):
        say(f"{task.id}: {'killed by ' + ', '.join(done.by) if done.hit else 'SURVIVED'} (seed {task.seed})")
    elif task.kind == "clean" and done.hit:
        say(f"FALSE ALARM: {task.generator} seed {task.seed}: {', '.join(done.by)}")


# ---------------------------------------------------------------- what came of it
def _document(ledger: Ledger, whole: bool, interrupted: bool) -> dict[str, Any]:
    """The JSON shape of architecture section 7, and what stands behind the numbers."""
    rows, lab = ledger.rows(), ledger.lab()
    fired: dict[str, int] = {}
    for row in rows:
        for name in {*row["by"], *(name for share in row["random"].values() for name in share["by"])}:
            fired[name] = fired.get(name, 0) + 1
    what = {trap.id: trap.what for trap in traps().values()}
    return {
        "mutants": rows,
        **ledger.clean(),
        "survivors": [row["id"] for row in rows if row["seeds"] and not row["killed"]],
        "kill_rate": sum(row["killed"] for row in rows) / len(rows) if rows else None,
        "lab": [{**row, "what": what[row["id"]]} for row in lab],
        "unnoticed": [row["id"] for row in lab if not row["caught"]],
        "unplayed": ledger.unplayed(),
        "checkers": dict(sorted(fired.items(), key=lambda item: (-item[1], item[0]))),
        "gaps": gaps(list(mutants().values())) if whole else [],
        "left_out": [{"id": entry.id, "why": entry.why} for entry in read_catalogue().left_out],
        "whole": whole,
        "utc": rundir.utc_now(),
        "code": code_digest(),
        "interrupted": interrupted,
        "seconds": round(sum(done.seconds for done in ledger.done.values()), 1),
    }


def _page(directory: Path, found: dict[str, Any]) -> Path:
    from results.report.teeth import write_teeth  # pandas and all: half a second that a refusal can do without

    try:
        return write_teeth(directory, found)
    except OSError as error:
        raise RecordingError(f"{directory}: the page cannot be written: {error.strerror}; make room") from error


def _print(found: dict[str, Any]) -> None:
    out.print(_matrix(found["mutants"]))
    rows, lab = found["mutants"], found["lab"]
    if rows:
        plain(f"kill rate: {found['kill_rate']:.1%} ({sum(row['killed'] for row in rows)} of {len(rows)})")
    plain(f"survivors: {', '.join(found['survivors']) or 'none'}")
    if lab:
        plain(f"traps unnoticed: {', '.join(found['unnoticed']) or 'none'}; {len(lab)} set")
    if found["unplayed"]:
        plain(f"not played: {', '.join(found['unplayed'])}; go on with --resume")
    for gap in found["gaps"]:
        plain(f"gap: {gap}")
    if found["clean_runs"]:
        plain(
            f"clean build: {found['false_alarms']} false alarms in {found['clean_runs']} random runs"
            f" (95 % upper bound {found['false_alarms_high']:.2g})"
        )
    plain(f"page: {found['page']}")


def _matrix(rows: list[dict[str, Any]]) -> Table:
    """Who kills which mutant; the median of its witness's seconds and over how many seeds; random runs. A column for
    each checker, as in the page, would leave what a mutant breaks no room on a terminal."""
    table = Table("mutant", "breaks", "killed by", "seconds (seeds)", "random runs")
    table.columns[1].min_width = 24
    for row in rows:
        reach = row["random"].get(row["best"] or "")
        text = f"{reach['hits']}/{reach['runs']} {row['best']}" if reach else ""
        if reach and reach["search"]:
            text += f", first kill after {reach['search']['runs']:g}"
        seconds = "" if row["seconds"] is None else f"{row['seconds']:g} ({row['seeds']})"
        table.add_row(row["id"], row["breaks"], ", ".join(row["by"]), seconds, text)
    return table
