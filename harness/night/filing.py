"""Filing a new failure: as a small scenario that a person can commit, so that every later night runs it first.

What the simulator shows is shrunk; what only real nodes showed is filed as it ran. The file's name comes from what
broke and from the causes, so that the same failure found again is known.
"""

from __future__ import annotations

import hashlib
import os
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import tomli_w

from harness import rundir
from harness.outcome import UsageError
from harness.shipped import ROOT
from harness.shrink import shrink, target_of, verdicts_of
from harness.shrinking.search import Target
from results.store import Run

SHIPPED = ROOT / "regressions"
TRIALS = 200


def place(night: Path) -> Path:
    """Where regression scenarios go: with the shipped ones in a checkout, else into the night's own directory."""
    checkout = ROOT.parent.parent / "pyproject.toml"
    return SHIPPED if checkout.is_file() and os.access(ROOT, os.W_OK) else night / "regressions"


def name_of(target: Target, causes: tuple[str, ...]) -> str:
    """The name of a failure's scenario; the same for the same failure."""
    key = hashlib.sha256("\0".join((target.property, target.kind, *sorted(set(causes)))).encode()).hexdigest()[:8]
    return f"{target.property}-{target.kind}-{key}"


def file_failure(run: Path, directory: Path, late: Callable[[], bool]) -> tuple[Path, bool]:
    """File the failure that the run in `run` showed. Returns the scenario's path, and whether it was known before.

    `late` ends the shrinking early. Raises UsageError for a run that shows none, MachineError where nothing can be
    written.
    """
    info = Run(run).info
    target = target_of(run, info, verdicts_of(run))
    path = directory / f"{name_of(target, tuple(fault.use for fault in info.faults))}.toml"
    if path.exists():
        return path, True
    values, seed, how = dict(info.scenario), info.seed, f"as it ran on {info.backend}: the simulator does not show it"
    try:
        small = shrink(run, TRIALS, late)
        values = tomllib.loads(small.scenario.read_text(encoding="utf-8"))
        seed, how = small.shrunk.search.seed, f"shrunk in {small.shrunk.search.trials} trials"
    except UsageError:
        pass
    directory.mkdir(parents=True, exist_ok=True)
    rundir.write_text(path, _text(path.stem, values, seed, f"{info.name}, {how}", target))
    return path, False


def _text(name: str, values: Mapping[str, Any], seed: int, origin: str, target: Target) -> str:
    head = {"name": name, "description": f"Broke {target.property} ({target.kind}) once; must hold.", "expect": "hold"}
    body = head | {key: value for key, value in values.items() if key not in head}
    body["run"] = {**body.get("run", {}), "seed": seed}
    lines = (f"Filed by moonquake nightly from a run of {origin}.", f"moonquake run {name} --backend sim")
    return "".join(f"# {line}\n" for line in lines) + "\n" + tomli_w.dumps(body)
