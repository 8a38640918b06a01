"""What the experiments have shown so far: `runs/claims/<code>/samples.jsonl`, one line for each run that was judged.

Each line is on the disk before the next counts, so a call that is killed loses only the runs that were under way, and
the next call takes up what is there. The directory is named after the code that takes part in a run: samples of other
code prove nothing about this one.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

import msgspec

import checkers
import faults
import harness
import nodes
import results
from harness.outcome import RecordingError, UsageError
from results.claim import Sample

FILE = "samples.jsonl"
# Sources that no run passes through: how findings are made of samples and shown, and the command line.
APART = (
    "results/report/", "results/claim.py", "results/deciding.py", "results/figures.py", "results/wording.py",
    "results/sampling.py", "results/export.py", "results/edn.py", "harness/command_", "harness/cli.py",
    "harness/screen.py", "harness/console.py", "harness/run_metrics.py", "harness/bench/",
    "harness/shrinking/", "harness/provision/",
    "harness/claims/store.py", "harness/claims/work.py", "harness/claims/gather.py", "harness/claims/documents.py",
)  # fmt: skip


def code_digest() -> str:
    """SHA-256 over the sources that take part in a simulated run, its judging and its measures; scenarios too."""
    digest = hashlib.sha256()
    for room in (nodes, results, faults, checkers, harness):
        root = Path(str(room.__file__)).parent
        for path in sorted([*root.rglob("*.py"), *root.rglob("*.toml")]):
            name = path.relative_to(root.parent).as_posix()
            if not name.startswith(APART) and name != "results/claims.toml":
                digest.update(name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


class Store:
    """The samples of this code, by experiment and number; open for appending, by one process at a time."""

    def __init__(self, directory: Path, file: BinaryIO, samples: list[Sample]) -> None:
        self.directory = directory
        self._file = file
        self.samples = {(sample.experiment, sample.index): sample for sample in samples}
        self.reused = len(self.samples)

    def append(self, sample: Sample) -> None:
        """Keep a sample, and wait until it is on the disk. Raises RecordingError.

        One with an error is kept for this call only: what could not be run is tried again by the next one.
        """
        self.samples[sample.experiment, sample.index] = sample
        if sample.error:
            return
        try:
            self._file.write(msgspec.json.encode(sample) + b"\n")
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            raise RecordingError(
                f"{self.directory / FILE}: cannot be written: {error.strerror}; make room on the disk and call it again"
            ) from error

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()


def open_store(root: Path, resume: bool = False, code: str = "") -> Store:
    """The store of this code under `root`/claims, made if it is not there; with `resume` it must be.

    Raises UsageError where there is nothing to resume or another process uses it, RecordingError when the disk refuses.
    """
    directory = root / "claims" / (code or code_digest())[:12]
    path = directory / FILE
    if resume and not path.is_file():
        raise UsageError(f"--resume: nothing was begun with this code under {root / 'claims'}; leave out --resume")
    try:
        directory.mkdir(parents=True, exist_ok=True)
        file = path.open("a+b")
    except OSError as error:
        raise RecordingError(f"{path}: cannot be opened: {error.strerror}; choose another with --runs DIR") from error
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        file.close()
        raise UsageError(
            f"{path}: another `moonquake claims` writes to it; wait for it, or use another --runs"
        ) from error
    return Store(directory, file, _read(path, file))


def _read(path: Path, file: BinaryIO) -> list[Sample]:
    file.seek(0)
    data = file.read()
    whole = data[: data.rfind(b"\n") + 1]  # a killed writer leaves half a line
    if len(whole) != len(data):
        file.truncate(len(whole))
    try:
        return msgspec.json.Decoder(Sample).decode_lines(whole)
    except msgspec.MsgspecError as error:
        file.close()
        raise UsageError(f"{path}: is damaged: {error}; remove it to start anew") from error
