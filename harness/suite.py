"""`moonquake lab`: the default suite, one scenario after another, and the table at the end."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from faults.port import UnsupportedError
from harness.backends.port import Backend, MachineError
from harness.commands import Judged, plan_of, run_plan
from harness.expectations import exit_code
from harness.judging import observed
from harness.outcome import Exit, RecordingError
from harness.plan import Plan
from harness.progress import Observer
from harness.scenario import Expect, load
from results.claim import Ruling, register
from results.deciding import decide, touched
from results.history import HistoryError
from results.store import Run


class Line(msgspec.Struct, frozen=True):
    """One line of the table."""

    scenario: str
    claimed: str
    observed: str
    expected: bool | None
    backend: str
    report: str
    code: Exit
    judged: Judged | None = None

    def document(self) -> dict[str, Any]:
        """The line for --json: the shape of `run`, with what was claimed and observed."""
        base: dict[str, Any] = {
            "run": None,
            "digest": None,
            "regime": None,
            "as_expected": self.expected,
            "verdicts": [],
        }
        return {
            **(self.judged.document() if self.judged else base),
            "scenario": self.scenario,
            "claimed": self.claimed,
            "observed": self.observed,
            "exit": int(self.code),
        }


def plans(paths: Sequence[Path], seed: int | None, scheme: str = "ed25519") -> list[Plan]:
    """All plans of a suite: a scenario that makes no sense is refused before the first one starts."""
    return [plan_of(load(path), seed, scheme) for path in paths]


def run_suite(
    suite: Sequence[Plan],
    backend: Backend,
    root: Path,
    notes: Sequence[str],
    observer: Observer,
) -> Iterator[Line]:
    """Run one plan after another, a line each. Raises Interrupted; other troubles are lines."""
    for plan in suite:
        yield _run(plan, backend, root, notes, observer)


def _run(plan: Plan, backend: Backend, root: Path, notes: Sequence[str], observer: Observer) -> Line:
    name, claim = plan.scenario.name, claimed(plan)
    try:
        judged = run_plan(plan, backend, root, notes, observer)
    except (MachineError, RecordingError, UnsupportedError) as error:
        code = Exit.USAGE if isinstance(error, UnsupportedError) else Exit.ENVIRONMENT
        return Line(name, claim, f"could not run: {error}", None, backend.name, "", code)
    except HistoryError as error:
        return Line(name, claim, f"could not be judged: {error}", None, backend.name, "", Exit.INCONCLUSIVE)
    return Line(
        name,
        claim,
        observed(judged.verdicts),
        judged.expected,
        f"{judged.backend} · {judged.layer}",
        str(judged.report),
        exit_code(judged.expected),
        judged,
    )


def claims(lines: Sequence[Line]) -> list[Ruling]:
    """What the suite's own runs say about the claims: only those that a run has evidence on, by their own rules."""
    from harness.claims import gather  # brings the simulator along, which listing scenarios need not wait for

    samples = [gather.of_run(Run(j.directory).info, j.verdicts, j.directory) for j in _judged(lines)]
    return [decide(claim, samples) for claim in register().values() if touched(claim, samples)]


def _judged(lines: Sequence[Line]) -> list[Judged]:
    return [line.judged for line in lines if line.judged is not None]


def claimed(plan: Plan) -> str:
    """What the scenario says will be seen, and its regime."""
    return f"{claimed_text(plan.scenario.expect)} ({plan.regime.name} the bound)"


def claimed_text(expect: Expect) -> str:
    """An expectation in words."""
    if not expect.violate:
        return "every property holds"
    return f"{', '.join(expect.violate)} breaks" + (f"; {', '.join(expect.hold)} hold" if expect.hold else "")


def worst(lines: Sequence[Line]) -> Exit:
    """The exit code of a suite: a surprise outweighs a broken environment, which outweighs an unknown."""
    for code in (Exit.SURPRISE, Exit.ENVIRONMENT, Exit.USAGE, Exit.INCONCLUSIVE):
        if any(line.code is code for line in lines):
            return code
    return Exit.AS_EXPECTED if lines else Exit.INCONCLUSIVE
