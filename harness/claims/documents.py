"""What `moonquake claims` leaves behind and prints: rulings, their runs as files, JSON, Markdown, a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import tomli_w

from harness import rundir
from harness.backends.port import MachineError
from harness.claims.experiments import EXPERIMENTS
from harness.outcome import Exit
from results.claim import Finding, Ruling, Sample, Witness, experiments_of, register
from results.deciding import decide

SHOWN = {Finding.HOLDS: "green", Finding.REFUTED: "red", Finding.INCONCLUSIVE: "yellow"}


def rulings(ids: Sequence[str], samples: Sequence[Sample]) -> list[Ruling]:
    """The findings on these claims, in the register's order."""
    return [decide(claim, samples) for claim in register().values() if claim.id in ids]


def exit_of(found: Sequence[Ruling]) -> Exit:
    """A refuted claim is a surprise; then whatever is open; nothing decided is inconclusive, too."""
    if any(ruling.finding is Finding.REFUTED for ruling in found):
        return Exit.SURPRISE
    open_ = not found or any(ruling.finding is Finding.INCONCLUSIVE for ruling in found)
    return Exit.INCONCLUSIVE if open_ else Exit.AS_EXPECTED


def with_scenarios(found: Sequence[Ruling], directory: Path) -> list[Ruling]:
    """The rulings with a scenario file for each run they rest on, and the command that makes that run again."""
    return [_with_scenarios(ruling, directory) for ruling in found]


def _with_scenarios(ruling: Ruling, directory: Path) -> Ruling:
    evidence = tuple(_reproducible(witness, directory, ruling) for witness in ruling.evidence)
    first = next((w.reproduce for w in evidence if w.reproduce), ruling.reproduce)
    return msgspec.structs.replace(ruling, evidence=evidence, reproduce=first)


def _reproducible(witness: Witness, directory: Path, ruling: Ruling) -> Witness:
    """A run directory is judged again; an experiment's run gets its scenario as a file. Bytes are counted by the
    claim's own command only."""
    if witness.run:
        return msgspec.structs.replace(witness, reproduce=f"moonquake check {witness.run}")
    if witness.experiment not in EXPERIMENTS:
        return witness
    if EXPERIMENTS[witness.experiment].meter is not None:
        return msgspec.structs.replace(witness, reproduce=f"moonquake claims {ruling.id}")
    made = EXPERIMENTS[witness.experiment].make(witness.index)
    path = directory / "scenarios" / f"{witness.experiment}-{witness.index}.toml"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(tomli_w.dumps(made.values), encoding="utf-8")
    except OSError as error:
        raise MachineError(f"{path}: cannot be written: {error.strerror}; choose another with --runs DIR") from error
    return msgspec.structs.replace(witness, reproduce=f"moonquake run {path} --backend sim --seed {made.seed}")


def document(found: Sequence[Ruling], made: Mapping[str, Any]) -> dict[str, Any]:
    """The JSON shape of `claims` (architecture section 7), and what stands behind it."""
    claims = register()
    return {
        "claims": [
            {
                **msgspec.to_builtins(ruling),
                "system": claims[ruling.id].system,
                "statement": claims[ruling.id].statement,
                "at": claims[ruling.id].at,
                "beyond": claims[ruling.id].beyond,
                "note": claims[ruling.id].note,
            }
            for ruling in found
        ],
        "counts": {finding.value: sum(r.finding is finding for r in found) for finding in Finding},
        "made": dict(made),
        "exit": int(exit_of(found)),
    }


def effort(ids: Sequence[str], samples: Sequence[Sample]) -> dict[str, Any]:
    """How much was run for these claims, and how much is still to be run."""
    names = experiments_of([claim for claim in register().values() if claim.id in ids])
    mine = [sample for sample in samples if sample.experiment in names]
    return {
        "runs": len(mine),
        "of": sum(EXPERIMENTS[name].runs for name in names),
        "errors": [f"{s.experiment} #{s.index}: {s.error.strip().splitlines()[-1]}" for s in mine if s.error][:20],
        "cpu_seconds": round(sum(sample.cpu_s for sample in mine), 1),
    }


def write(directory: Path, found: dict[str, Any]) -> dict[str, str]:
    """claims.json, claims.md and claims.html. Returns their paths. Raises MachineError."""
    from results.report import claims as pages  # brings the charts' library along

    rundir.write_json(directory / "claims.json", found)
    rundir.write_text(directory / "claims.md", pages.markdown(found))
    rundir.write_text(directory / "claims.html", pages.render(found))
    return {kind: str(directory / f"claims.{kind}") for kind in ("json", "md", "html")}
