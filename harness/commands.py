"""What the commands do, apart from the command line: one scenario run and judged, and the answer in JSON shape."""

from __future__ import annotations

import gc
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from harness import judging
from harness.backends.port import Backend
from harness.interruption import Interrupted, noticing
from harness.keep import digest_of_run
from harness.outcome import UsageError
from harness.plan import Plan, resolve
from harness.plugins import is_file
from harness.progress import Observer
from harness.runner import Runner
from harness.scenario import Scenario, load
from harness.scenario_cluster import OURS
from harness.shipped import find
from harness.toml import duration
from nodes.committee import clan_faults, tribe_faults
from results.verdict import Verdict

DEFAULT_SEED = 1


class Judged(msgspec.Struct, frozen=True):
    """A finished run."""

    directory: Path
    scenario: str
    regime: str
    expect: dict[str, Any]
    expected: bool | None
    verdicts: list[Verdict]
    report: Path
    backend: str
    layer: str
    notes: list[str]
    digest: str | None = None  # of a simulated run: equal runs have equal digests

    def document(self) -> dict[str, Any]:
        """The JSON shape of `run` (architecture section 7)."""
        return {
            "run": str(self.directory),
            "digest": self.digest,
            "regime": self.regime,
            "as_expected": self.expected,
            "verdicts": msgspec.to_builtins(self.verdicts),
            "scenario": self.scenario,
            "backend": self.backend,
            "layer": self.layer,
            "report": str(self.report),
            "notes": self.notes,
        }


def read_scenario(
    name: str,
    nodes: int | None = None,
    time: str | None = None,
    attack: str | None = None,
    options: Sequence[str] = (),
) -> Scenario:
    """The scenario with the command line's changes; `options` are KEY=VALUE for the attack. Raises UsageError."""
    if options and attack is None:
        raise UsageError(f"--option {options[0]}: is for an attack; add --attack FILE.py:Class")
    overrides: dict[str, Any] = {}
    if nodes is not None:
        overrides["cluster.nodes"] = nodes
    if time is not None:
        duration(time, lambda message: UsageError(f"--time: {message}"))
        overrides["workload.duration"] = time
    scenario = load(find(name), overrides)
    return scenario if attack is None else _attacked(find(name), overrides, scenario, attack, options)


def _attacked(
    path: Path, overrides: dict[str, Any], scenario: Scenario, attack: str, options: Sequence[str]
) -> Scenario:
    """The scenario with the attack as its only behaviour, on its corrupted nodes or else on as many as every bound
    allows."""
    if not is_file(attack):
        raise UsageError(f"--attack {attack}: must be FILE.py:Class; registered behaviours go into the scenario")
    cluster = scenario.cluster
    if cluster.target != OURS:
        raise UsageError(f"--attack {attack}: is for our own nodes; {scenario.name} runs target {cluster.target}")
    most = min(tribe_faults(len(cluster.tribe)), *(clan_faults(len(clan)) for clan in cluster.clans))
    adversary = dict(scenario.raw.get("adversary", {}))
    adversary["behaviour"] = [{"use": attack, "options": dict(map(_option, options))}]
    if not scenario.adversary.count:
        adversary["nodes"] = most
    return load(path, {**overrides, "adversary": adversary})


def _option(text: str) -> tuple[str, Any]:
    """KEY=VALUE: the value as TOML, or as it stands if it is none. Raises UsageError."""
    key, equals, value = text.partition("=")
    if not equals or not key.isidentifier():
        raise UsageError(f"--option {text}: must be KEY=VALUE, like --option every=3")
    try:
        return key, tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return key, value


def run_plan(plan: Plan, backend: Backend, root: Path, notes: Sequence[str], observer: Observer) -> Judged:
    """Run a plan, judge it and write its report. Raises what the runner raises, Interrupted too."""
    runner = Runner(plan, backend, root, notes, observer)
    directory = runner.directory
    try:
        runner.run()
        del runner
        gc.collect()  # a simulated cluster is one large cycle, and its trace is about to be read
        with noticing() as once_more:
            observer.say("judging")
            run, verdicts, expected, report = judging.conclude(directory, once_more)
            once_more()
    except KeyboardInterrupt:  # no loop runs that would have noticed: the nodes are gone, the records complete
        again = f"`moonquake check {directory}` judges them"
        raise Interrupted(f"the records are in {directory}; {again}") from None
    info = run.info
    digest = digest_of_run(directory) if info.backend == "sim" else None
    return Judged(
        directory, info.name, info.regime, info.expect, expected, verdicts, report, info.backend, info.layer,
        info.notes, digest,
    )  # fmt: skip


def plan_of(scenario: Scenario, seed: int | None, scheme: str = "ed25519") -> Plan:
    """The plan for a seed (without one the scenario's, else 1), with keys of the backend's signature scheme."""
    if seed is None:
        seed = DEFAULT_SEED if scenario.seed is None else scenario.seed
    if not 0 <= seed < 2**63:
        raise UsageError(f"--seed {seed}: must lie between 0 and 2^63 - 1")
    return resolve(scenario, seed, scheme)
