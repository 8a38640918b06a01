"""Shrinking a run: from its directory to a smaller scenario file, a message-sequence chart and a story, beside it."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import tomli_w

from harness import judging, rundir
from harness.backends.sim.tape import Tape
from harness.outcome import UsageError
from harness.replay import scenario_of
from harness.scenario import parse
from harness.scenario_cluster import OURS
from harness.shrinking.chart import chart_of, kinds_of
from harness.shrinking.edits import Values, entries
from harness.shrinking.passes import PASSES
from harness.shrinking.search import MAX_TRIALS, Judge, Search, Shrunk, Target, run_passes
from harness.shrinking.story import sentence, tell
from harness.toml import Source
from harness.trial import trial
from results.report.page import SEQUENCE
from results.report.sequence import draw
from results.store import Run, RunInfo
from results.verdict import Status, Verdict

SCENARIO, CHART, STORY = "shrunk.toml", SEQUENCE, "story.md"
SUFFIX = "-shrunk"


class Outcome(msgspec.Struct, frozen=True):
    """What shrinking a run came to. Faults are counted with behaviours, as in run.json."""

    run: Path
    shrunk: Shrunk
    scenario: Path
    chart: Path
    story: str

    def document(self) -> dict[str, Any]:
        """The JSON shape of `shrink`."""
        search = self.shrunk.search
        before, after = search.original, search.values
        return {
            "run": str(self.run),
            "faults_before": len(entries(before)),
            "faults_after": len(entries(after)),
            "nodes_before": search.original_nodes,
            "nodes_after": len(search.trial.info.tribe),
            "trials": search.trials,
            "steps": search.steps,
            "minimal": self.shrunk.minimal,
            "stopped": self.shrunk.stopped,
            "scenario": str(self.scenario),
            "seed": search.seed,
            "digest": search.trial.digest,
            "regime": search.trial.info.regime,
            "chart": str(self.chart),
            "story": self.story,
            "violation": {
                "property": search.target.property,
                "kind": search.target.kind,
                "summary": search.anomaly.summary,
                "witness": search.anomaly.witness,
            },
        }


def shrink(
    directory: Path,
    max_trials: int = MAX_TRIALS,
    late: Callable[[], bool] = lambda: False,
    watch: Callable[[Search, str], None] = lambda search, step: None,
    judge: Judge = trial,
) -> Outcome:
    """Search for the smallest scenario that fails as the run in `directory` did, and write what was found there.

    Raises UsageError for a run without a violation, or one that the simulator does not show; HistoryError for a
    directory that cannot be read; MachineError where nothing can be written.
    """
    if not directory.is_dir():
        raise UsageError(f"{directory}: is not a run directory; the newest one is runs/latest")
    info = judging.readable(directory).info
    if info.target != OURS:
        raise UsageError(
            f"{directory}: target {info.target} does not run in the simulator, which shrinks; its scenario can be made"
            f" smaller by hand and run again with --backend {info.backend} --seed {info.seed}"
        )
    target = target_of(directory, info, verdicts_of(directory))
    scenario = scenario_of(directory, info)
    search = Search(scenario.raw, info.seed, target, judge, max_trials, late, watch)
    shrunk = run_passes(search, PASSES)
    return _written(directory, info, shrunk)


def verdicts_of(directory: Path) -> list[Verdict]:
    """What the run was judged to be; judged now if nobody did."""
    run = Run(directory)
    if (directory / "verdicts.json").exists():
        return list(run.verdicts)
    opened = judging.open_run(directory)
    return judging.judge(opened, judging.checker_names(opened, ()))


def target_of(directory: Path, info: RunInfo, verdicts: list[Verdict]) -> Target:
    """The violation to keep: of the property that was to break, else the first. Raises UsageError without any."""
    failed = [verdict for verdict in verdicts if verdict.status is Status.FAIL]
    wanted: list[str] = info.expect.get("violate") or []
    if not failed:
        unknown = [verdict.property for verdict in verdicts if verdict.status is Status.UNKNOWN]
        more = f" ({', '.join(unknown)} UNKNOWN, which is none)" if unknown else ""
        raise UsageError(
            f"{directory}: there is nothing to shrink: no property was violated{more}. `moonquake search` looks for"
            " runs that fail; `moonquake list scenarios` names those that must"
        )
    chosen = next((verdict for verdict in failed if verdict.property in wanted), failed[0])
    return Target(chosen.property, chosen.anomalies[0].kind)


# ---------------------------------------------------------------- what is left behind
def _written(directory: Path, info: RunInfo, shrunk: Shrunk) -> Outcome:
    search = shrunk.search
    text = scenario_text(search, info)
    tape = Tape(kinds_of(search.target.property))
    search.confirm(parse(tomllib.loads(text), Source(SCENARIO, text)), tape)
    story = tell(shrunk)
    chart = draw(chart_of(search.trial, search.target.property, search.anomaly, tape))
    rundir.write_text(directory / SCENARIO, text)
    rundir.write_text(directory / CHART, chart)
    rundir.write_text(directory / STORY, f"{story}\n\n![message-sequence chart]({CHART})\n\n    {again(search)}\n")
    return Outcome(directory, shrunk, directory / SCENARIO, directory / CHART, story)


def scenario_text(search: Search, info: RunInfo) -> str:
    """The smallest scenario as a TOML file, with its origin above."""
    name = info.name.removesuffix(SUFFIX) + SUFFIX
    head = {"name": name, "description": sentence(search.anomaly.summary), "expect": search.values["expect"]}
    values: Values = head | {key: value for key, value in search.values.items() if key not in head}
    lines = [
        f"Shrunk by moonquake from a run of {info.name} (seed {info.seed}, backend {info.backend}, {info.started_utc})",
        f"in {search.trials} trials. Keeps the violation {search.target}.",
        again(search),
    ]
    return "".join(f"# {line}\n" for line in lines) + "\n" + tomli_w.dumps(values)


def again(search: Search) -> str:
    """The command that shows it."""
    return f"moonquake run {SCENARIO} --backend sim --seed {search.seed}"
