"""`moonquake replay`: proves that a seed decides everything, or shows the first record that it did not decide."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness import screen
from harness.console import JsonOption, document, out, plain, say
from harness.outcome import Exit
from harness.replay import Replay
from harness.replay import replay as run_again

SHOWN = 240  # characters of a record


def replay(
    run_dir: Annotated[Path, typer.Argument(help="a simulated run's directory")], json: JsonOption = False
) -> int:
    """Run a simulated run again from its seed and compare the records byte for byte."""
    say(f"running {run_dir} again")
    done = run_again(run_dir)
    if json:
        document(done.document())
    else:
        screen.verdicts(out, done.trial.verdicts)
        _tell(done)
    return Exit.AS_EXPECTED if done.identical else Exit.SURPRISE


def _tell(done: Replay) -> None:
    for name, (then, now) in done.changed.items():
        plain(f"note: the run was made with {name} {then}; this is {now or 'absent'}")
    found = done.divergence
    if found is None:
        plain(f"identical, byte for byte\ndigest: {done.trial.digest}")
        return
    plain(f"NOT identical: first difference in {found.sentence()}")
    for line in found.before:
        plain(f"  both:     {_shown(line)}")
    pairs = enumerate(zip(found.recorded or "", found.replayed or "", strict=False))
    start = max(0, next((i for i, (old, new) in pairs if old != new), 0) - SHOWN // 2)
    plain(f"  recorded: {_shown(found.recorded, start)}\n  replayed: {_shown(found.replayed, start)}")
    plain(f"digest: {done.trial.digest}, recorded {done.recorded_digest}")
    if done.changed:
        plain("Other code may be why: replay with the versions of run.json before you call it a bug.")


def _shown(line: str | None, start: int = 0) -> str:
    """A record, cut to what a terminal can show; --json has it whole."""
    if line is None:
        return "(the records end here)"
    cut = line[start : start + SHOWN]
    return ("…" if start else "") + cut + ("…" if start + SHOWN < len(line) else "")
