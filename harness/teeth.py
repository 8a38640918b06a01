"""Would the lab notice? The single steps of `moonquake teeth`, as plain values that a pool of processes can play.

witness   a mutant under its scripted witness with one seed: it must be killed
trap      a mutant of the lab itself: it must be noticed
random    a mutant in one random run of a generator
clean     the clean build in the same run: whatever fails there is a false alarm
"""

from __future__ import annotations

import time
import traceback
from functools import cache
from typing import Literal

import msgspec

from harness.chunk import RUN_CPU_S, Job, RunLimit, limited
from harness.commands import read_scenario
from harness.mutants import Mutant, Use, applied, kills, load_mutants
from harness.scenario import Scenario
from harness.schedules import schedule
from harness.traps import Trap, load_traps, sprung
from harness.trial import Trial, trial

BASE = "swarm"
GENERATORS = ("schedule", "swarm", "twins", "byzzfuzz")
Kind = Literal["witness", "trap", "random", "clean"]


class Task(msgspec.Struct, frozen=True, omit_defaults=True):
    """One step. `id`: of the mutant or trap; `generator`: of a random run."""

    kind: Kind
    id: str = ""
    seed: int = 1
    generator: str = ""


class Done(msgspec.Struct, frozen=True, omit_defaults=True):
    """What came of it. `hit`: killed, noticed, or in a clean run a false alarm; `by`: properties that failed, or signs;
    `seconds` of processor time; `called`: some patch was; `error`: why nothing can be said."""

    task: Task
    hit: bool = False
    by: tuple[str, ...] = ()
    seconds: float = 0.0
    called: bool = True
    error: str = ""


def play(task: Task) -> Done:
    """Play one step. Whatever goes wrong is in the answer."""
    begun = time.process_time()
    try:
        with limited(RUN_CPU_S):
            done = _play(task)
    except RunLimit:
        done = Done(task, error=f"it took more than {RUN_CPU_S:g} s of processor time")
    except Exception:
        done = Done(task, error=traceback.format_exc())
    return msgspec.structs.replace(done, seconds=round(time.process_time() - begun, 3))


def under_witness(mutant: Mutant, seed: int = 1) -> tuple[Trial, tuple[Use, ...]]:
    """The mutant's witness played with the mutant in force, and what became of its patches. Raises MutantError."""
    with applied(mutant) as uses:
        return trial(read_scenario(mutant.witness), seed), uses


def scenario_of(generator: str, seed: int) -> Scenario:
    """The random scenario of a seed."""
    if generator == "schedule":
        return schedule(seed)
    return Job(read_scenario(BASE).raw, generator).scenario(seed)


@cache
def mutants() -> dict[str, Mutant]:
    """The mutants by id, read once a process."""
    return {mutant.id: mutant for mutant in load_mutants()}


@cache
def traps() -> dict[str, Trap]:
    """The traps by id, read once a process."""
    return {trap.id: trap for trap in load_traps()}


def _play(task: Task) -> Done:
    match task.kind:
        case "witness":
            result, _ = under_witness(mutants()[task.id], task.seed)
            killed = bool(kills(mutants()[task.id], result))
            expected = set(result.info.expect.get("violate", ()))
            return Done(task, killed, tuple(name for name in result.violated() if name not in expected))
        case "trap":
            found = sprung(traps()[task.id], task.seed)
            return Done(task, found.caught, found.signs)
        case "clean":
            result = trial(scenario_of(task.generator, task.seed), task.seed)
            return Done(task, bool(result.violated()), result.violated())
    mutant = mutants()[task.id]
    with applied(mutant, must_run=False) as uses:
        result = trial(scenario_of(task.generator, task.seed), task.seed)
    return Done(task, bool(kills(mutant, result)), result.violated(), called=any(use.calls for use in uses))
