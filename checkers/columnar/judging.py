"""One property of a run judged on its columns, with what the columns cannot tell said in the verdict."""

from __future__ import annotations

from importlib import import_module

import msgspec

from checkers.columnar.flaws import flaws
from checkers.columnar.wide import EXPLAINED_MOST, wide_of
from checkers.judge import tempered
from results.store import Run
from results.verdict import Status, Verdict


def judged(run: Run, property: str, module: str) -> Verdict:
    """The verdict of `module`.judge(wide). A pass whose suspects were not all looked at is UNKNOWN."""
    wide = wide_of(run)
    wide.left_out = 0
    verdict: Verdict = import_module(module).judge(wide)
    if wide.left_out:
        measures = {**verdict.measures, "suspects_left_out": wide.left_out}
        verdict = msgspec.structs.replace(verdict, measures=measures)
        if verdict.status is Status.PASS:
            reason = f"{wide.left_out} suspect records beyond the first {EXPLAINED_MOST} were not looked at"
            verdict = msgspec.structs.replace(verdict, status=Status.UNKNOWN, reason=reason)
    return tempered(verdict, flaws(wide))
