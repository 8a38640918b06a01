"""What the experiments have shown so far: `runs/claims/<code>/samples.jsonl`, one line for each run that was judged.

Each line is on the disk before the next counts, so a call that is killed loses only the runs that were under way, and
the next call takes up what is there. The directory is named after the code that takes part in a run: samples of other
code prove nothing about this one.
"""

from __future__ import annotations

from pathlib import Path
from types import TracebackType

from harness import sources
from harness.journal import Journal, reopen
from harness.outcome import RecordingError, UsageError
from results.claim import Sample

FILE = "samples.jsonl"
# Sources that no run passes through: how findings are made of samples and shown, and the command line.
APART = (
    "results/report/", "results/claim.py", "results/deciding.py", "results/figures.py", "results/wording.py",
    "results/claims.toml", "results/sampling.py", "results/export.py", "results/edn.py", "harness/command_",
    "harness/cli.py",
    "harness/screen.py", "harness/console.py", "harness/run_metrics.py", "harness/bench/",
    "harness/shrinking/", "harness/provision/",
    "harness/claims/store.py", "harness/claims/work.py", "harness/claims/gather.py", "harness/claims/documents.py",
)  # fmt: skip
FILED = "harness/scenarios/regressions/"  # nights leave what they found there


def code_digest() -> str:
    """Of the sources that take part in a simulated run, its judging and its measures; scenarios too."""
    return sources.code_digest(kinds=("py", "toml"), apart=(*APART, FILED))


class Store:
    """The samples of this code, by experiment and number; open for appending, by one process at a time."""

    def __init__(self, journal: Journal[Sample]) -> None:
        self.directory = journal.path.parent
        self._journal = journal
        self.samples = {(sample.experiment, sample.index): sample for sample in journal.lines}
        self.reused = len(self.samples)

    def append(self, sample: Sample) -> None:
        """Keep a sample, and wait until it is on the disk. Raises RecordingError.

        One with an error is kept for this call only: what could not be run is tried again by the next one.
        """
        self.samples[sample.experiment, sample.index] = sample
        if not sample.error:
            self._journal.append(sample)

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._journal.close()


def open_store(root: Path, resume: bool = False, code: str = "") -> Store:
    """The store of this code under `root`/claims, made if it is not there; with `resume` it must be.

    Raises UsageError where there is nothing to resume or another process uses it, RecordingError when the disk refuses.
    """
    path = root / "claims" / (code or code_digest())[:12] / FILE
    if resume and not path.is_file():
        raise UsageError(f"--resume: nothing was begun with this code under {root / 'claims'}; leave out --resume")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    except OSError as error:
        raise RecordingError(f"{path}: cannot be opened: {error.strerror}; choose another with --runs DIR") from error
    return Store(reopen(path, Sample, "another `moonquake claims` writes to it; wait for it, or use another --runs"))
