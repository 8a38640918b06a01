"""`moonquake shrink`: a smaller scenario with the same violation, a chart of it and its story."""

from __future__ import annotations

import time as clock
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
from rich.live import Live
from rich.text import Text

from harness import judging
from harness.console import JsonOption, document, err, plain, say
from harness.outcome import Exit, UsageError
from harness.shrink import Outcome
from harness.shrink import shrink as make_smaller
from harness.shrinking.edits import entries
from harness.shrinking.search import MAX_TRIALS, Search
from harness.toml import duration


def shrink(
    run_dir: Annotated[Path, typer.Argument(help="the directory of a run with a violation")],
    time: Annotated[str | None, typer.Option("--time", help="stop searching after this long, such as 60s")] = None,
    trials: Annotated[int, typer.Option("--trials", help="stop after so many trials")] = MAX_TRIALS,
    json: JsonOption = False,
) -> int:
    """Make the scenario of a failing run as small as it can be, with the same violation."""
    if trials < 1:
        raise UsageError(f"--trials {trials}: must be at least 1")
    seconds = None if time is None else duration(time, lambda message: UsageError(f"--time: {message}"))
    began = clock.monotonic()
    with Live(console=err, transient=True, refresh_per_second=4) as live:
        done = make_smaller(
            run_dir,
            trials,
            lambda: seconds is not None and clock.monotonic() - began >= seconds,
            _watcher(live),
        )
    if (run_dir / "verdicts.json").exists():
        judging.write_report(run_dir)  # it shows the chart
    if json:
        document({**done.document(), "seconds": round(clock.monotonic() - began, 1)})
    else:
        _tell(done)
    return Exit.INCONCLUSIVE if done.shrunk.stopped == "interrupted" else Exit.AS_EXPECTED


def _watcher(live: Live) -> Callable[[Search, str], None]:
    """Sentences for what was gained; on a terminal also a line that counts."""

    def watch(search: Search, step: str) -> None:
        if step:
            say(f"  trial {search.trials}: {step}")
        live.update(Text(f"  {search.trials} trials, {len(search.steps)} gains; {_size(search)}"))

    return watch


def _size(search: Search) -> str:
    faults, info = len(entries(search.values)), search.trial.info
    return f"{faults} faults and behaviours, {len(info.tribe)} nodes, {len(info.byzantine)} Byzantine"


def _tell(done: Outcome) -> None:
    search = done.shrunk.search
    plain(done.story)
    before = len(entries(search.original))
    plain(f"\nviolation: {search.target}\nbefore:    {before} faults and behaviours, {search.original_nodes} nodes")
    plain(f"now:       {_size(search)}, after {search.trials} trials")
    if done.shrunk.stopped:
        plain(f"note: {done.shrunk.stopped}; this is the smallest so far")
    plain(f"scenario:  {done.scenario}\nchart:     {done.chart}")
    plain(f"again:     moonquake run {done.scenario} --backend sim --seed {search.seed}")
