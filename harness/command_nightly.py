"""`moonquake nightly`: a time budget spent over everything, by what was least covered; resumable, and comparable."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from harness import commands, rundir, screen
from harness.backends import select
from harness.backends.port import MachineError
from harness.console import RUNS, BackendOption, JsonOption, RunsOption, WorkersOption, document, err, plain, say, tidy
from harness.executors import workers as pool_of
from harness.http import HttpClient, NeverSentError, UnansweredError
from harness.interruption import Interrupted
from harness.journal import Journal
from harness.night import filing, records, summary, work
from harness.night.choice import Coverage, choose
from harness.night.records import NIGHTS, Header, Line, Night
from harness.outcome import Exit, UsageError
from harness.sources import code_digest
from harness.toml import duration
from results.report import night as pages

SLICES = 12  # a search gets this part of the budget at a time
LONGEST_SLICE_S = 300.0
TREND = 14  # nights on the page
POST_S = 20.0


def nightly(
    budget: Annotated[str, typer.Option("--budget", help="how long to work, such as 8h or 20m")] = "8h",
    backend: BackendOption = "auto",
    workers: WorkersOption = "",
    resume: Annotated[bool, typer.Option("--resume", help="go on with the night that was broken off")] = False,
    webhook: Annotated[
        str, typer.Option("--webhook", envvar="MOONQUAKE_WEBHOOK", help="POST the summary there as JSON")
    ] = "",
    regressions: Annotated[
        Path | None, typer.Option("--regressions", help="where new failures are filed (default: with the scenarios)")
    ] = None,
    runs: RunsOption = RUNS,
    json: JsonOption = False,
) -> int:
    """Spend a time budget over suites, searches, frontiers and mutants, by what was least covered."""
    seconds = duration(budget, lambda message: UsageError(f"--budget: {message}"))
    if webhook and not webhook.startswith(("http://", "https://")):
        raise UsageError(f"--webhook {webhook}: must begin with http:// or https://")
    select.scheme_of(backend)  # a backend that nobody knows is refused before anything begins
    if backend != "sim":
        tidy()  # a night that was killed left the nodes of its run
    night, journal, earlier = _open(runs, seconds, backend, resume)
    with journal, pool_of(workers) as pool:
        interrupted = _work(night, journal, earlier, backend, pool, runs, regressions)
        if not interrupted:
            night.ended = rundir.utc_now()
            journal.append(Line(ended=night.ended))
    found = summary.summary(night, earlier, interrupted)
    _write(night, found, earlier)
    if json:
        document(found)
    else:
        _report(night, found)
    told = not webhook or _post(webhook, found)
    return Exit.ENVIRONMENT if not told and found["exit"] == Exit.AS_EXPECTED else int(found["exit"])


def _open(runs: Path, seconds: float, backend: str, resume: bool) -> tuple[Night, Journal[Line], list[Night]]:
    """The night to work in, its file, and the nights before it."""
    earlier = records.nights(runs)
    if resume:
        night, journal = records.go_on(runs, backend)
        say(f"going on with {night.directory}: {len(night.pieces)} pieces of work were done in {night.seconds:.0f} s")
        return night, journal, [old for old in earlier if old.directory.name < night.directory.name]
    if earlier and not earlier[-1].ended:
        say(f"note: {earlier[-1].directory} was broken off; --resume goes on with it")
    started = rundir.utc_now()
    name, number = started, 0
    while (runs / NIGHTS / name).exists():
        number += 1
        name = f"{started}-{number}"
    header = Header(started, seconds, backend, code_digest())
    night, journal = records.begin((runs / NIGHTS / name).absolute(), header)
    return night, journal, earlier


def _work(
    night: Night, journal: Journal[Line], earlier: Sequence[Night], backend: str, pool: Any, runs: Path,
    regressions: Path | None,
) -> bool:  # fmt: skip
    """Until the budget is spent. Returns whether it was interrupted; everything that was finished is recorded."""
    chosen, notes = select.choose(backend, say)
    begun, before = time.monotonic(), night.seconds
    budget = night.header.budget_s

    def left() -> float:
        return budget - before - (time.monotonic() - begun)

    try:
        with _observer() as observer:
            place = regressions or filing.place(night.directory)
            desk = work.Desk(chosen, pool, runs, night.directory, place, observer, notes, lambda: left() <= 0)
            works = work.works(desk)
            coverage = Coverage(earlier, night.pieces)
            slice_s = min(LONGEST_SLICE_S, budget / SLICES)
            while (left() > 0 or not night.pieces) and (next_ := choose(works, coverage, left())):
                seed = commands.DEFAULT_SEED + coverage.total_runs[next_]
                piece = work.do(desk, next_, seed, max(1.0, min(slice_s, left())))
                journal.append(Line(piece=piece))
                night.pieces.append(piece)
                coverage.add(piece)
                what = piece.status if piece.status != "unknown" else f"unknown: {piece.reason[:120]}"
                say(f"[{budget - left():.0f}/{budget:.0f} s] {summary.name(piece)}, {piece.runs} runs: {what}")
                for failure in piece.failures:
                    say(f"  {summary.sentence(failure.summary, piece)}")
    except (Interrupted, KeyboardInterrupt):
        return True
    return False


@contextmanager
def _observer() -> Iterator[Any]:
    with screen.live(err) as observer:
        yield observer


def _write(night: Night, found: dict[str, Any], earlier: Sequence[Night]) -> None:
    """summary.json, junit.xml and night.html, in the night's directory."""
    rundir.write_json(night.directory / "summary.json", found)
    rundir.write_text(night.directory / "junit.xml", summary.junit(night).decode())
    trend = [summary.summary(old, (), not old.ended) for old in earlier[-TREND + 1 :]]
    rundir.write_text(night.directory / "night.html", pages.render(found, [*trend, found]))


def _report(night: Night, found: dict[str, Any]) -> None:
    for kind, counts in found["kinds"].items():
        plain(f"{kind}: {counts['pieces']} pieces, {counts['runs']} runs, {counts['seconds']:.0f} s")
    for piece in night.pieces:
        if piece.status in ("failure", "flake"):
            for failure in piece.failures:
                plain(f"{piece.status}: {summary.sentence(failure.summary, piece)}")
                plain(f"  run: {failure.run or piece.run}" + (f"\n  filed: {failure.filed}" if failure.filed else ""))
    for change in found["changes"]:
        word = "better" if change["better"] else "worse"
        plain(f"{word}: {change['figure']} {change['value']:.4g}, usually {change['usual']:.4g}")
    plain(
        f"{found['runs']} runs in {found['seconds']:.0f} s: {len(found['failures'])} failures ({found['new_failures']}"
        f" new), {len(found['flakes'])} flakes, {found['unknown']} unknown\npage: {night.directory / 'night.html'}"
    )
    if found["interrupted"]:
        plain("interrupted: the same command with --resume goes on")


def _post(url: str, found: dict[str, Any]) -> bool:
    """Tell the webhook. A night is worth its findings even if nobody could be told, so trouble is said, not raised."""

    async def send() -> int:
        async with HttpClient() as client:
            status, _ = await client.request("POST", url, "", msgspec.json.encode(found), POST_S)
            return status

    try:
        status = asyncio.run(send())
    except (NeverSentError, UnansweredError, MachineError, ValueError) as error:
        say(f"--webhook {url}: could not be told: {error}; the summary is in summary.json")
        return False
    if status >= 400:
        say(f"--webhook {url}: answered {status}; the summary is in summary.json")
    return status < 400
