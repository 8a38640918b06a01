"""Evidence that is there already: run directories, whatever made them, as samples."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from harness.claims.experiment import judged
from results.claim import Sample
from results.deciding import OF_RUNS
from results.history import HistoryError
from results.store import Run, RunInfo
from results.verdict import Verdict


def of_run(info: RunInfo, verdicts: Iterable[Verdict], directory: Path, digest: str = "") -> Sample:
    """A judged run as evidence, by what was judged in it."""
    from msgspec.structs import replace

    return replace(judged(info, verdicts, digest, {}), experiment=f"{OF_RUNS}{info.name}", run=str(directory))


def of_directories(root: Path) -> tuple[list[Sample], list[str]]:
    """Samples of all judged run directories below `root` (or of `root` itself), by their recorded verdicts; and why
    others are left out. `latest` and other links are not followed."""
    samples: list[Sample] = []
    left_out: list[str] = []
    for path in _directories(root):
        run = Run(path)
        try:
            info, verdicts = run.info, run.verdicts
        except HistoryError as error:
            left_out.append(str(error))
            continue
        if info.incomplete or info.interrupted:
            left_out.append(f"{path}: {info.incomplete or 'was interrupted'}: it proves nothing")
            continue
        samples.append(of_run(info, verdicts, path))
    return samples, left_out


def _directories(root: Path) -> Sequence[Path]:
    if (root / "run.json").is_file():
        return [root]
    found = [path.parent for path in sorted(root.rglob("run.json"))]
    return [path for path in found if not any(part.is_symlink() for part in (path, *path.parents))]
