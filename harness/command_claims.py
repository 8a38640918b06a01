"""`moonquake claims`: every promise of the stack against what was observed, with the evidence and its limits."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from harness import rundir, screen
from harness.claims import documents, gather, store, work
from harness.claims.experiments import EXPERIMENTS
from harness.console import RUNS, JsonOption, RunsOption, err, out, plain, say
from harness.console import document as show_document
from harness.executors import workers_of
from harness.outcome import Exit, UsageError, nearest
from harness.toml import duration
from results.claim import Ruling, Sample, experiments_of, register

SAY_EVERY = 5  # percent, where no terminal shows a bar


def claims(
    ids: Annotated[list[str] | None, typer.Argument(help="claims (moonquake list claims); without any: a tier")] = None,
    tier: Annotated[int, typer.Option("--tier", min=1, max=3, help="all claims up to this tier")] = 1,
    budget: Annotated[str | None, typer.Option("--budget", help="stop starting runs after, such as 20m")] = None,
    workers: Annotated[str, typer.Option("--workers", help="processes (default: one a core)")] = "",
    resume: Annotated[bool, typer.Option("--resume", help="insist on results of an earlier call")] = False,
    source: Annotated[Path | None, typer.Option("--from", help="judge by these run directories, run nothing")] = None,
    runs: RunsOption = RUNS,
    json: JsonOption = False,
) -> int:
    """Observed against claimed: run each claim's experiments and decide it by its rule. Finished runs are kept."""
    chosen = _chosen(ids or (), tier)
    if source is not None:
        if resume or budget or workers:
            raise UsageError("claims --from: runs nothing, so --budget, --workers and --resume have no meaning there")
        samples, made = _found(source)
    else:
        seconds = None if budget is None else duration(budget, lambda message: UsageError(f"--budget: {message}"))
        samples, made = _run(chosen, runs, workers_of(workers), seconds, resume)
    directory = rundir.fresh(runs / "claims", rundir.utc_now())
    rulings = documents.with_scenarios(documents.rulings(chosen, samples), directory)
    found = documents.document(rulings, made)
    paths = documents.write(directory, found)
    if json:
        show_document(found | {"files": paths})
    else:
        screen.claims(out, rulings)
        _close(rulings, made, paths)
    return Exit.INCONCLUSIVE if made.get("stopped") and not found["exit"] else int(found["exit"])


def _chosen(ids: Sequence[str], tier: int) -> list[str]:
    """Claim ids in the register's order. Raises UsageError naming the nearest."""
    known = register()
    for name in ids:
        if name not in known:
            raise UsageError(f"claims {name}: no such claim; {nearest(name, list(known))} (`moonquake list claims`)")
    return [claim.id for claim in known.values() if (claim.id in ids if ids else claim.tier <= tier)]


def _found(source: Path) -> tuple[list[Sample], dict[str, Any]]:
    if not source.is_dir():
        raise UsageError(f"--from {source}: is not a directory; give a run directory, or one that holds some (runs)")
    samples, left_out = gather.of_directories(source)
    if not samples:
        raise UsageError(
            f"--from {source}: holds no judged run directory; {'; '.join(left_out[:2]) or 'run something'}"
        )
    return samples, {"from": str(source), "runs": len(samples), "left_out": left_out}


def _run(
    ids: Sequence[str], root: Path, count: int, seconds: float | None, resume: bool
) -> tuple[list[Sample], dict[str, Any]]:
    """Make the runs that are not there yet. Ctrl-C and the end of the budget keep what was made."""
    names = experiments_of([claim for claim in register().values() if claim.id in ids])
    with store.open_store(root, resume) as kept:
        wanted = work.jobs(names, kept.samples.keys(), seconds is not None)
        total = sum(EXPERIMENTS[name].runs for name in names)
        say(f"{len(ids)} claims, {len(names)} experiments: {total} runs, {total - len(wanted)} of them there already")
        with _progress(total, total - len(wanted)) as show:

            def keep(sample: Sample) -> None:
                kept.append(sample)
                show(sample)

            stopped = work.carry_out(wanted, count, keep, seconds) if wanted else ""
        samples = sorted(kept.samples.values(), key=lambda sample: (sample.index, sample.experiment))
        made = documents.effort(ids, samples) | {"stopped": stopped, "store": str(kept.directory), "workers": count}
    made["machine"] = {"cores": os.cpu_count(), "load_average": [round(x, 2) for x in os.getloadavg()]}
    return samples, made


# ---------------------------------------------------------------- what people see
@contextmanager
def _progress(total: int, done: int) -> Iterator[Callable[[Sample], None]]:
    """A bar on a terminal, elsewhere a sentence now and then."""
    if not err.is_terminal:
        counted = [done]

        def tell(sample: Sample) -> None:
            counted[0] += 1
            if counted[0] * 100 // total // SAY_EVERY > (counted[0] - 1) * 100 // total // SAY_EVERY:
                say(f"  {counted[0]}/{total} runs; last: {sample.experiment} {sample.group}")

        yield tell
        return
    columns = (TextColumn("  {task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=err, transient=True) as progress:
        task = progress.add_task("experiments", total=total, completed=done)

        def advance(sample: Sample) -> None:
            progress.update(task, advance=1, description=f"{sample.experiment} {sample.group}"[:40].ljust(40))

        yield advance


def _close(rulings: Sequence[Ruling], made: dict[str, Any], paths: dict[str, str]) -> None:
    for ruling in rulings:
        if ruling.differs:
            plain(f"{ruling.id}: {ruling.differs}")
    for ruling in rulings:
        if ruling.tier == 1:
            plain(f"again: {ruling.id}: {ruling.reproduce}")
    if made.get("stopped"):
        plain(f"stopped early: {made['stopped']}; the same command goes on with what is missing")
    for error in made.get("errors", ()):
        plain(f"no judged run: {error}")
    for reason in made.get("left_out", ())[:10]:
        plain(f"left out: {reason}")
    plain(f"page: {paths['html']}\ntext: {paths['md']}\ndata: {paths['json']}")
