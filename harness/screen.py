"""What people see: sentences, a live line per running scenario, tables. Everything goes to one rich console."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from harness.progress import Observer, Snapshot
from results.claim import Finding, Ruling
from results.verdict import Status, Verdict

if TYPE_CHECKING:
    from harness.doctor import Report
    from harness.suite import Line

WIDTH = 180
COLOURS = {Status.PASS: "green", Status.FAIL: "red", Status.UNKNOWN: "yellow"}
ANSWERS = {True: "yes", False: "NO", None: "unknown"}


def console(stderr: bool = False) -> Console:
    """A console as wide as the terminal; wide enough for a table where there is none (a pipe, a log)."""
    stream = sys.stderr if stderr else sys.stdout
    return Console(stderr=stderr, width=None if stream.isatty() else WIDTH)


@contextmanager
def live(console: Console) -> Iterator[Observer]:
    """An observer that shows heights, transactions and active faults while a run is on.

    On a terminal the line is redrawn; elsewhere (a log) only sentences are printed.
    """
    with Live(console=console, transient=True, refresh_per_second=2) as display:
        yield Observer(
            say=lambda text: console.print(f"  {escape(text)}", highlight=False),
            watch=lambda snapshot: display.update(_line(snapshot)) if console.is_terminal else None,
        )


def _line(snapshot: Snapshot) -> Text:
    heights = " ".join("-" if h < 0 else str(h) for h in snapshot.heights.values())
    tally = snapshot.tally
    active = ", ".join(snapshot.active) or "none"
    return Text(
        f"  {snapshot.scenario}  {snapshot.phase} {snapshot.elapsed_s:.0f}/{snapshot.total_s:.0f} s"
        f"  heights {heights}  tx {tally.ok} ok {tally.fail} fail {tally.info} info of {tally.invoked}"
        f"  faults {active}"
    )


def verdicts(console: Console, found: Sequence[Verdict]) -> None:
    """One row a verdict, with its first anomaly or the reason why it is UNKNOWN; verdicts.json has all of them."""
    table = Table("property", "verdict", "examined", "what was seen")
    for verdict in found:
        seen = [anomaly.summary for anomaly in verdict.anomalies] or verdict.reason.splitlines()[:1] or [""]
        more = f" (+{len(seen) - 1} more)" if len(seen) > 1 else ""
        status = f"[{COLOURS[verdict.status]}]{verdict.status.value}[/]"
        table.add_row(verdict.property, status, str(verdict.examined), escape(seen[0] + more))
    console.print(table)


def suite(console: Console, lines: Sequence[Line]) -> None:
    """The final table of `lab`, and below it the path of each report on a line of its own, whole however narrow the
    terminal is."""
    backends = dict.fromkeys(line.backend for line in lines if line.judged) or dict.fromkeys(x.backend for x in lines)
    table = Table(title=f"backend: {escape(', '.join(backends))}", title_justify="left")
    table.add_column("scenario", overflow="fold", no_wrap=console.width >= 100)
    for name in ("claimed", "observed", "as expected?"):
        table.add_column(name, overflow="fold")
    for line in lines:
        colour = {True: "green", False: "red", None: "yellow"}[line.expected]
        answer = f"[{colour}]{ANSWERS[line.expected]}[/]"
        table.add_row(line.scenario, escape(line.claimed), escape(line.observed), answer)
    console.print(table)
    for line in lines:
        if line.report:
            plain(console, f"report: {line.report}")


def campaign(console: Console, document: Mapping[str, Any]) -> None:
    """What a search judged and covered: a row a property, and the goals that runs reached."""
    table = Table("property", "pass", "fail", "unknown")
    for name, counts in document["properties"].items():
        table.add_row(name, *(str(counts.get(status, 0)) for status in ("pass", "fail", "unknown")))
    console.print(table)
    reached = Table("goal", "runs that reached it")
    for goal, runs in document["coverage"]["goals"].items():
        reached.add_row(goal, str(runs) if runs else "[yellow]0[/]")
    console.print(reached)
    for reason, runs in document["unknown_reasons"].items():
        plain(console, f"unknown in {runs} runs: {reason}")
    for error in document["errors"]:
        plain(console, f"no verdict for seed {error['seed']}: {error['error']}")


FINDINGS = {Finding.HOLDS: "green", Finding.REFUTED: "red", Finding.INCONCLUSIVE: "yellow"}


def claims(console: Console, rulings: Sequence[Ruling]) -> None:
    """One row a claim: the finding, the estimate with its interval and its N, and why."""
    table = Table("claim", "finding", "estimate (95 % interval)", "N", "why")
    for ruling in rulings:
        finding = f"[{FINDINGS[ruling.finding]}]{ruling.finding.value}[/]"
        table.add_row(ruling.id, finding, estimate(ruling), str(ruling.n) if ruling.n else "", escape(ruling.why))
    console.print(table)


def lab_claims(console: Console, rulings: Sequence[Ruling]) -> None:
    """The claims that a suite's runs have evidence on; a suite is short, so most stay open."""
    if not rulings:
        return
    claims(console, rulings)
    plain(console, "claims: by these runs alone; `moonquake claims --tier 1` runs what each rule asks for")


def estimate(ruling: Ruling) -> str:
    """The estimate and its interval, short."""
    if ruling.estimate is None:
        return ""
    interval = "" if ruling.low is None else f" ({ruling.low:.3g} to {ruling.high:.3g})"
    return f"{ruling.estimate:.3g}{interval}"


def plain(console: Console, text: str) -> None:
    """Text as it is: no markup, no colours, no line breaks but its own."""
    console.print(text, markup=False, highlight=False, soft_wrap=True)


def listing(console: Console, rows: Mapping[str, str]) -> None:
    """Names and what they are."""
    table = Table.grid(padding=(0, 2))
    for name, text in rows.items():
        table.add_row(f"[bold]{escape(name)}[/]", escape(text))
    console.print(table)


def table(console: Console, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table whose cells wrap, a rule between its lines."""
    grid = Table(show_lines=True)
    for number, name in enumerate(columns):
        grid.add_column(name, overflow="fold", no_wrap=number == 0)
    for row in rows:
        grid.add_row(*map(escape, row))
    console.print(grid)


def examination(console: Console, report: Report) -> None:
    """What the doctor found: one row a thing, with its cure."""
    table = Table("", "thing", "what was found", "cure")
    for check in report.checks:
        mark = "[green]ok[/]" if check.ok else ("[yellow]lacking[/]" if check.optional else "[red]NOT OK[/]")
        table.add_row(mark, escape(check.name), escape(check.what), escape(check.cure))
    console.print(table)
