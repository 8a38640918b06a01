"""Doing one piece of a night's work, and telling a failure from a flake.

A surprise is run again with the same seed. In the simulator the same seed must give the same run; on real nodes it
gives the same schedule only. What comes back is a failure; what never does is a flake, which is reported apart: it is
no pass.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import msgspec

from faults.port import UnsupportedError
from harness import commands, frontier, shipped
from harness.backends.port import Backend, MachineError
from harness.backends.sim.backend import SimBackend
from harness.campaign import Budget, Campaign
from harness.campaign_state import header_of, open_state
from harness.command_search import exit_of, job_of, record
from harness.commands import Judged
from harness.executors import Pool
from harness.frontier_attacks import ATTACKS
from harness.generators import GENERATORS
from harness.mutants import MUTANTS_DIR, kills, load_mutants
from harness.night import filing
from harness.night.choice import Work
from harness.night.records import Failure, Piece, Status
from harness.outcome import Exit, UsageError
from harness.plan import check_backend
from harness.progress import Observer
from harness.teeth import under_witness
from results.history import HistoryError
from results.verdict import Status as Judgement
from results.verdict import Verdict

AGAIN = 2  # tries to see a surprise of real nodes a second time
FRONTIER_SEEDS = 2
BASE = "swarm"  # of searches
SUITES = ("default", "negative", "nightly", "attacks")
FIGURES = ("finality-bounds", "liveness", "censorship")  # their measures are followed from night to night


class Desk(msgspec.Struct, frozen=True):
    """What every piece of work needs. `root`: the run store; `directory`: the night's own; `regressions`: where new
    failures are filed; `late`: is the budget spent?"""

    backend: Backend
    pool: Pool
    root: Path
    directory: Path
    regressions: Path
    observer: Observer
    notes: Sequence[str] = ()
    late: Callable[[], bool] = lambda: False


class Done(msgspec.Struct, frozen=True):
    """What a piece of work came to, before anybody put a clock to it."""

    runs: int
    status: Status
    failures: tuple[Failure, ...] = ()
    reason: str = ""
    run: str = ""
    figures: dict[str, float] = {}


Doing: TypeAlias = Callable[[Desk, Work, int, float], Done]


def works(desk: Desk) -> list[Work]:
    """Everything that a night can do here: scenarios that need what the backend lacks are left to other nights."""
    found = [Work("regression", path.stem) for path in sorted(desk.regressions.glob("*.toml"))]
    for suite in SUITES:
        paths = sorted((shipped.ROOT / suite).glob("*.toml"))
        found += [Work("scenario", path.stem) for path in paths if _runs_on(path, desk.backend)]
    found += [Work("search", name) for name in GENERATORS if name != "seeds"]
    found += [Work("frontier", name) for name in ATTACKS]
    if MUTANTS_DIR.is_dir():
        found += [Work("teeth", mutant.id) for mutant in load_mutants()]
    return found


def _runs_on(path: Path, backend: Backend) -> bool:
    try:
        check_backend(commands.plan_of(commands.read_scenario(str(path)), None, backend.scheme), backend)
    except UnsupportedError:
        return False
    return True


def do(desk: Desk, work: Work, seed: int, slice_s: float) -> Piece:
    """Do a piece of work. Trouble with the machine or the records makes it unknown, with the reason; the night goes on.

    Raises Interrupted and KeyboardInterrupt; RecordingError from a search, which cannot go on without its file.
    """
    begun = time.monotonic()
    try:
        done = DOING[work.kind](desk, work, seed, slice_s)
    except (MachineError, HistoryError, UnsupportedError, UsageError) as error:
        done = Done(0, "unknown", reason=f"could not be done: {error}")
    seconds = round(time.monotonic() - begun, 3)
    return Piece(
        work.kind, work.name, seed, done.runs, seconds, done.status, done.failures, done.reason, done.run, done.figures
    )


# ---------------------------------------------------------------- scenarios
def scenario(desk: Desk, work: Work, seed: int, slice_s: float) -> Done:
    """One shipped scenario on the night's backend."""
    return _run(desk, work.name, seed, desk.backend)


def regression(desk: Desk, work: Work, seed: int, slice_s: float) -> Done:
    """What broke before, in the simulator with the seed that broke it."""
    return _run(desk, str(desk.regressions / f"{work.name}.toml"), None, SimBackend())


def _run(desk: Desk, name: str, seed: int | None, backend: Backend) -> Done:
    plan = commands.plan_of(commands.read_scenario(name), seed, backend.scheme)

    def once() -> Judged:
        return commands.run_plan(plan, backend, desk.root, desk.notes, desk.observer)

    first = once()
    figures = _figures(first.verdicts)
    if first.expected:
        return Done(1, "ok", run=str(first.directory), figures=figures)
    if first.expected is None:
        unknown = "; ".join(f"{v.property}: {v.reason}" for v in first.verdicts if v.status is Judgement.UNKNOWN)
        return Done(1, "unknown", (), unknown[:500], str(first.directory), figures)
    tries = 1 if backend.name == "sim" else AGAIN
    back = sum(once().expected is False for _ in range(tries))
    failures = tuple(_failures(desk, first, (back, tries)))
    return Done(1 + tries, "failure" if back else "flake", failures, "", str(first.directory), figures)


def _failures(desk: Desk, judged: Judged, again: tuple[int, int]) -> Iterable[Failure]:
    """What surprised: the violations of a run that should hold, or the ones that did not come."""
    wanted = judged.expect.get("violate") or ()
    broken = [v for v in judged.verdicts if v.status is Judgement.FAIL and v.property not in wanted]
    filed, known = "", False
    if broken and again[0] and not wanted:
        path, known = filing.file_failure(judged.directory, desk.regressions, desk.late)
        filed = str(path)
    for verdict in broken:
        anomaly = verdict.anomalies[0]
        yield Failure(verdict.property, anomaly.kind, anomaly.summary, str(judged.directory), again, filed, known)
    held = [v.property for v in judged.verdicts if v.property in wanted and v.status is Judgement.PASS]
    for name in held:
        yield Failure(name, "held", f"{name} held where it must break", str(judged.directory), again)


def _figures(verdicts: Sequence[Verdict]) -> dict[str, float]:
    """The medians among the measures, by dotted name."""
    found: dict[str, float] = {}

    def walk(name: str, value: Any) -> None:
        if isinstance(value, dict):
            for key, inner in value.items():
                walk(f"{name}.{key}", inner)
        elif isinstance(value, int | float) and not isinstance(value, bool) and name.endswith(".p50"):
            found[name.removesuffix(".p50")] = float(value)

    for verdict in verdicts:
        if verdict.property in FIGURES:
            walk(verdict.property, verdict.measures)
    return found


# ---------------------------------------------------------------- searches, frontiers, mutants
def search(desk: Desk, work: Work, seed: int, slice_s: float) -> Done:
    """A slice of a search, with seeds that no earlier slice had; goes on with its own file if it was killed."""
    base = commands.read_scenario(BASE)
    job = job_of(base, work.name, None, ())
    with open_state(desk.directory, f"{base.name}-{work.name}", header_of(job, seed), None) as state:
        campaign = Campaign(job, seed, Budget(seconds=slice_s), state, desk.pool, partial(record, desk.root))
        campaign.run()
    if campaign.interrupted:
        raise KeyboardInterrupt
    failures = []
    filed: dict[str, tuple[Path, bool]] = {}  # one scenario a run, whatever else broke in it
    for finding in campaign.surprises:
        if finding.run not in filed:
            filed[finding.run] = filing.file_failure(Path(finding.run), desk.regressions, desk.late)
        path, known = filed[finding.run]
        again = (int(finding.reproduced), 1)
        failures.append(
            Failure(finding.property, finding.anomaly, finding.summary, finding.run, again, str(path), known)
        )
    document = campaign.document()
    figures = {
        "goals": float(sum(bool(runs) for runs in document["coverage"]["goals"].values())),
        "states": float(document["coverage"]["states"]),
        "clean": float(document["clean"]),
    }
    code = exit_of(campaign)
    reason = "" if code is not Exit.INCONCLUSIVE else f"unknown: {document['unknown']}, errors: {document['errors']}"
    return Done(campaign.tally.runs, _status(code), tuple(failures), reason, str(state.directory), figures)


def sweep(desk: Desk, work: Work, seed: int, slice_s: float) -> Done:
    """A frontier, a few seeds a point."""
    attack = ATTACKS[work.name]
    wanted, _ = frontier.tasks(attack, attack.sizes, (), range(seed, seed + FRONTIER_SEEDS))
    samples: list[frontier.Sample] = []
    stopped = frontier.measure(wanted, desk.pool, samples.append)
    if stopped == frontier.INTERRUPTED:
        raise KeyboardInterrupt
    document = frontier.document(attack, attack.sizes, samples, stopped)
    code = Exit(document["exit"])
    failures = tuple(
        Failure(
            attack.properties[0],
            "bound",
            f"{attack.name}: of {size['n']}, observed bound {size['observed_bound']}, claimed {size['claimed_bound']}",
        )
        for size in document["sizes"]
        if size["as_expected"] is False
    )
    return Done(len(samples), _status(code), failures, stopped)


def tooth(desk: Desk, work: Work, seed: int, slice_s: float) -> Done:
    """A mutant under its witness: it must be killed."""
    mutant = next(mutant for mutant in load_mutants() if mutant.id == work.name)
    found, _ = under_witness(mutant)
    if kills(mutant, found):
        return Done(1, "ok")
    said = f"mutant {mutant.id} survived its witness {mutant.witness}: {mutant.breaks}"
    return Done(1, "failure", (Failure(mutant.properties[0], "survivor", said, again=(1, 1)),))


def _status(code: Exit) -> Status:
    return {Exit.AS_EXPECTED: "ok", Exit.SURPRISE: "failure"}.get(code, "unknown")  # type: ignore[return-value]


DOING: dict[str, Doing] = {
    "regression": regression,
    "scenario": scenario,
    "search": search,
    "frontier": sweep,
    "teeth": tooth,
}
