"""Mutants of the lab itself (teeth.md section 2, group I): traps that testers fell into, set on purpose.

A trap breaks the harness, a fault or a checker, so that a run proves less than it seems to. It is sprung when the lab
says so: the run, or the campaign, or the catalogue of mutants, must come out as UNKNOWN or as a surprise, never as
expected. Traps are data, as mutants of the cores are, and live in `tests/mutants/harness/`.
"""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import msgspec

from harness import catalogue, mutants
from harness.chunk import Job, outcome_of
from harness.commands import read_scenario
from harness.coverage import vacuous
from harness.mutants import MUTANTS_ROOT, Patch, applied
from harness.trial import Trial, trial
from results.verdict import Status

TRAPS_DIR = MUTANTS_ROOT / "harness"
CAMPAIGN_BASE = "swarm"
CAMPAIGN_RUNS = 10


class Trap(msgspec.Struct, frozen=True):
    """One defect of the lab. It is set in a run of `scenario`, in a small campaign of `generator`, or, with neither,
    in the reading of the catalogue. `beside`: a mutant of the cores that is in force as well, which would be killed.
    One of the verdicts in `noticed_by` must tell."""

    id: str
    what: str  # the defect, in one line
    patches: tuple[Patch, ...]
    noticed_by: tuple[str, ...]
    scenario: str = ""
    beside: str = ""
    generator: str = ""


class Sprung(msgspec.Struct, frozen=True):
    """What the lab said: `signs` are "property STATUS", missed goals or gaps. `caught`: a sign that counts."""

    id: str
    what: str
    caught: bool
    signs: tuple[str, ...]


def load_traps(directory: Path = TRAPS_DIR) -> tuple[Trap, ...]:
    """All traps of a directory, as `mutants.load_mutants`. Raises MutantError."""
    return mutants.loaded(directory, Trap)


def sprung(trap: Trap, seed: int = 1, armed: bool = True) -> Sprung:
    """Set the trap (or, not `armed`, do the same without it) and see what the lab says. Raises MutantError."""
    if trap.generator:
        signs = tuple(f"coverage: {goal}" for goal in _campaign(trap, armed))
    elif trap.scenario:
        signs = signs_of(_run(trap, seed, armed))
    else:
        with ExitStack() as stack:
            _arm(trap, armed, stack)
            signs = tuple(f"catalogue: {gap}" for gap in catalogue.gaps(mutants.load_mutants()))
    caught = any(sign.partition(":")[0].partition(" ")[0] in trap.noticed_by for sign in signs)
    return Sprung(trap.id, trap.what, caught, signs)


def signs_of(found: Trial) -> tuple[str, ...]:
    """The verdicts that keep a run from being as expected; none if it is."""
    if found.expected is True:
        return ()
    wanted = dict.fromkeys(found.info.expect.get("violate", ()), Status.FAIL)
    return tuple(
        f"{v.property} {v.status.value}" for v in found.verdicts if v.status is not wanted.get(v.property, Status.PASS)
    )


def _run(trap: Trap, seed: int, armed: bool) -> Trial:
    with ExitStack() as stack:
        if trap.beside:
            known = {mutant.id: mutant for mutant in mutants.load_mutants()}
            stack.enter_context(applied(known[trap.beside]))
        _arm(trap, armed, stack)
        return trial(read_scenario(trap.scenario), seed)


def _campaign(trap: Trap, armed: bool) -> list[str]:
    """Goals that a few runs of the generator must come to, and did not."""
    job = Job(read_scenario(CAMPAIGN_BASE).raw, trap.generator)
    reached: dict[str, int] = {}
    with ExitStack() as stack:
        _arm(trap, armed, stack)
        for seed in range(1, CAMPAIGN_RUNS + 1):
            for goal in outcome_of(job, seed).goals:
                reached[goal] = reached.get(goal, 0) + 1
    return vacuous(trap.generator, CAMPAIGN_RUNS, reached, CAMPAIGN_RUNS)


def _arm(trap: Trap, armed: bool, stack: ExitStack) -> Any:
    return stack.enter_context(applied(trap)) if armed else None
