"""`moonquake search`: random schedules, simulated and judged by the thousand, for the one that breaks a promise."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Annotated

import tomli_w
import typer
from rich.live import Live
from rich.text import Text

from harness import commands, screen
from harness.backends.port import MachineError
from harness.backends.sim.backend import SimBackend
from harness.campaign import Budget, Campaign
from harness.campaign_state import Recorded, header_of, open_state
from harness.chunk import Job, Outcome
from harness.console import RUNS, JsonOption, SeedOption, WorkersOption, document, err, out, plain, say
from harness.coverage import ALL_GOALS
from harness.executors import workers as pool_of
from harness.generators import GENERATORS, generator
from harness.keep import digest_of_run
from harness.outcome import Exit, UsageError
from harness.plan import resolve
from harness.progress import Observer
from harness.scenario import Scenario
from harness.scenario_cluster import OURS
from harness.timing_search import search_timing
from harness.toml import duration
from results.report.campaign import write_campaign

DEFAULT_RUNS = 1000
DEFAULT_CLIMB = 200
SAY_EVERY = 10  # percent of the budget, where no terminal shows a live line

GeneratorOption = Annotated[str, typer.Option("--generator", help=f"{', '.join(GENERATORS)}")]
FixOption = Annotated[
    list[str] | None, typer.Option("--fix", help="a section taken from the base: cluster, network, ...")
]


def search(
    scenario: Annotated[str, typer.Argument(help="the base: a shipped scenario's name, or a TOML file")],
    runs: Annotated[int | None, typer.Option("--runs", help="how many runs (default 1000, without --time)")] = None,
    time: Annotated[str | None, typer.Option("--time", help="how long to search, such as 10m")] = None,
    generator: GeneratorOption = "swarm",
    seed: SeedOption = None,
    regime: Annotated[str | None, typer.Option("--regime", help="within or beyond (default: the base's)")] = None,
    fix: FixOption = None,
    workers: WorkersOption = "",
    resume: Annotated[bool, typer.Option("--resume", help="go on where the same search was broken off")] = False,
    directory: Annotated[Path, typer.Option("--runs-dir", help="where run directories are made")] = RUNS,
    json: JsonOption = False,
) -> int:
    """Search random schedules for violations, in the simulator."""
    base = commands.read_scenario(scenario)
    if base.cluster.target != OURS:
        raise UsageError(
            f"search {scenario}: target {base.cluster.target} does not run in the simulator, which searches"
        )
    job = job_of(base, generator, regime, tuple(fix or ()))
    first = commands.DEFAULT_SEED if seed is None else seed
    if generator == "timing":  # it climbs, run by run
        if resume or workers:
            raise UsageError("--generator timing goes from one run to the next: leave --resume and --workers out")
        climbs = DEFAULT_CLIMB if runs is None and time is None else runs
        return search_timing(base, budget_of(climbs, time), first, directory, json)
    budget = budget_of(runs, time)
    resolve(job.scenario(first), first, SimBackend.scheme)  # a base that cannot be used is refused before anything runs
    with (
        pool_of(workers) as pool,
        open_state(directory, f"{base.name}-{generator}", header_of(job, first), resume) as state,
    ):
        say(f"searching on {pool.size} {'process' if pool.size == 1 else 'processes'}; state: {state.path}")
        with _progress() as show:
            campaign = Campaign(job, first, budget, state, pool, partial(record, directory), show)
            campaign.run()
        found = campaign.document()
        page = write_campaign(state.directory, found)
    if json:
        document({**found, "page": str(page)})
    else:
        _report(campaign)
        plain(f"page: {page}")
    return exit_of(campaign)


def job_of(base: Scenario, name: str, regime: str | None, fixed: tuple[str, ...]) -> Job:
    """What to search. Raises UsageError."""
    generator(name)
    own = "beyond" if base.expect.violate else "within"
    if regime not in (None, "within", "beyond"):
        raise UsageError(f"--regime {regime}: within or beyond")
    if regime not in (None, own) and (base.adversary.count or base.faults):
        raise UsageError(f"--regime {regime}: {base.source} brings an adversary of its own, which is {own} the bound")
    return Job(base.raw, name, regime or own, fixed)


def budget_of(runs: int | None, time: str | None) -> Budget:
    """Raises UsageError."""
    if runs is not None and runs < 1:
        raise UsageError(f"--runs {runs}: at least 1")
    seconds = None if time is None else duration(time, lambda message: UsageError(f"--time: {message}"))
    return Budget(DEFAULT_RUNS if runs is None and seconds is None else runs, seconds)


def exit_of(campaign: Campaign) -> Exit:
    """1 a violation that nothing declared may cause; 2 an unknown other than a fault that did not bite, or
    goals that it had to come to and did not; else 0."""
    tally = campaign.tally
    if campaign.surprises:
        return Exit.SURPRISE
    doubtful = tally.unknown["nothing to examine"] + tally.unknown["other"] + len(tally.errors)
    return (
        Exit.INCONCLUSIVE
        if doubtful or campaign.vacuous or campaign.interrupted or not tally.runs
        else Exit.AS_EXPECTED
    )


def record(root: Path, job: Job, outcome: Outcome) -> Recorded:
    """Run the seed again with files, and write its scenario beside them. Raises what a run raises."""
    again = job.scenario(outcome.seed)
    broken = "; ".join(failure.summary for failure in outcome.failures)
    judged = commands.run_plan(
        resolve(again, outcome.seed, SimBackend.scheme), SimBackend(), root, [f"found by search: {broken}"], Observer()
    )
    path = judged.directory / "scenario.toml"
    try:
        path.write_text(tomli_w.dumps(job.values(outcome.seed)), encoding="utf-8")
    except OSError as error:
        raise MachineError(f"{path}: cannot be written: {error.strerror}; make room on the disk") from error
    return Recorded(str(judged.directory), str(path), digest_of_run(judged.directory) == outcome.digest)


# ---------------------------------------------------------------- what people see
@contextmanager
def _progress() -> Iterator[Callable[[Campaign], None]]:
    """A live line on a terminal; elsewhere a sentence now and then."""
    said = [0]

    def show(campaign: Campaign) -> None:
        if err.is_terminal:
            display.update(Text("  " + _line(campaign)))
            return
        budget = campaign.budget
        share = max(
            campaign.tally.runs / budget.runs if budget.runs else 0.0,
            campaign.seconds / budget.seconds if budget.seconds else 0.0,
        )
        if int(share * 100 / SAY_EVERY) > said[0]:
            said[0] = int(share * 100 / SAY_EVERY)
            say("  " + _line(campaign))

    with Live(console=err, transient=True, refresh_per_second=2) as display:
        yield show


def _line(campaign: Campaign) -> str:
    tally, budget = campaign.tally, campaign.budget
    ends = [f"of {budget.runs}" if budget.runs else "", f"{campaign.seconds:.0f} s" if budget.seconds else ""]
    goals = sum(1 for goal in ALL_GOALS if tally.goals[goal])
    return (
        f"{tally.runs} runs {' '.join(end for end in ends if end)}  {campaign.runs_per_s:.1f}/s"
        f"  failures {len(campaign.findings)}  unknown {sum(tally.unknown.values())}  errors {len(tally.errors)}"
        f"  goals {goals}/{len(ALL_GOALS)}  states {len(tally.states)}  cells {len(tally.cells)}"
    )


def _report(campaign: Campaign) -> None:
    screen.campaign(out, campaign.document())
    for finding in campaign.findings:
        seen = "" if finding.count == 1 else f" (seen {finding.count} times)"
        plain(f"{finding.property}: {finding.anomaly}{seen}, seed {finding.seed}: {finding.summary}")
        plain(f"  run:      {finding.run}\n  scenario: {finding.scenario}")
        if not finding.reproduced:
            plain("  NOT reproduced when it ran again: the simulator is not deterministic here, which is a bug of it")
    for line in closing(campaign):
        plain(line)


def closing(campaign: Campaign) -> Sequence[str]:
    """The last sentences: what it amounts to, and how to go on."""
    document = campaign.document()
    unknown = document["unknown"]
    lines = [
        f"{document['runs']} runs in {document['seconds']:.0f} s ({document['runs_per_s']:.1f}/s),"
        f" {len(campaign.findings)} distinct violations, {unknown['did not bite']} runs unknown because a fault did not"
        f" bite, {unknown['nothing to examine']} with nothing to examine, {unknown['other']} for other reasons,"
        f" {len(campaign.tally.errors)} without a verdict"
    ]
    if document["upper_bound"] is not None:
        lines.append(
            f"0 violations in {document['clean']} clean runs: below {document['upper_bound']:.2g} a run (95 %)"
        )
    if campaign.vacuous:
        lines.append(
            f"it shows nothing: no run came to {', '.join(campaign.vacuous)}; raise --runs or look at the base"
        )
    if campaign.interrupted:
        lines.append("interrupted: the same command with --resume goes on")
    return lines
