"""What a campaign has done so far, on disk: `runs/search/<id>/state.jsonl`, one line per finished chunk.

Each line is on the disk before the next chunk counts, so a campaign that is killed loses only the chunks that were
running; a torn last line is dropped when it goes on. A seed that is in the file never runs again.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from types import TracebackType

import msgspec

from harness.chunk import Job, Outcome
from harness.journal import Journal, create, reopen
from harness.outcome import UsageError
from harness.sources import code_digest

FILE = "state.jsonl"


class Header(msgspec.Struct, frozen=True):
    """What makes two campaigns the same one. `code`: a digest of the sources, for results of other code prove nothing
    about this one."""

    job: Job
    seed: int
    code: str

    def key(self) -> str:
        """A short name for it."""
        same = msgspec.json.encode((msgspec.to_builtins(self.job), self.seed))
        return hashlib.sha256(same).hexdigest()[:8]


class Recorded(msgspec.Struct, frozen=True):
    """A seed that ran again with files. `reproduced`: they have the digest of the run in memory, so they hold the same
    violations."""

    run: str
    scenario: str
    reproduced: bool


class Finding(msgspec.Struct):
    """A violation, with how often its like was seen; the rest as in `Recorded`."""

    property: str
    anomaly: str
    causes: tuple[str, ...]
    seed: int
    summary: str
    surprise: bool
    regime: str
    run: str = ""
    scenario: str = ""
    reproduced: bool = False
    count: int = 1


class Line(msgspec.Struct, omit_defaults=True):
    """One line: the header, or a finished chunk with the seconds spent so far, or a finding that was recorded."""

    campaign: Header | None = None
    chunk: list[Outcome] | None = None
    seconds: float = 0.0
    finding: Finding | None = None


class State:
    """The state file of one campaign, open for appending; `outcomes`, `findings` and `seconds` are what it held."""

    def __init__(self, journal: Journal[Line]) -> None:
        self.path = journal.path
        self.directory = journal.path.parent
        self._journal = journal
        self.outcomes = [outcome for line in journal.lines for outcome in line.chunk or ()]
        self.findings = [line.finding for line in journal.lines if line.finding]
        self.seconds = max((line.seconds for line in journal.lines), default=0.0)

    def append(self, line: Line) -> None:
        """Write one line and wait until it is on the disk. Raises RecordingError."""
        self._journal.append(line)

    def __enter__(self) -> State:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._journal.close()


def open_state(root: Path, name: str, header: Header, resume: bool | None) -> State:
    """A new campaign's state under `root`/search, or with `resume` that of the newest like it (None: if there is one).

    Raises UsageError when there is nothing to resume or other code made it, RecordingError when nothing can be written.
    """
    found = _directories(root, name, header)
    if resume and not found:
        raise UsageError(f"--resume: no campaign like this one under {root / 'search'}; run it without --resume")
    if resume or (resume is None and found):
        return _reopen(found[-1], header)
    directory = root / "search" / (f"{name}-{header.key()}" + (f"-{len(found)}" if found else ""))
    state = State(create(directory / FILE, Line, "--runs-dir"))
    state.append(Line(campaign=header))
    return state


def _directories(root: Path, name: str, header: Header) -> list[Path]:
    """Campaigns like this one, the oldest first."""
    stem = f"{name}-{header.key()}"
    found = [path for path in (root / "search").glob(f"{stem}*") if (path / FILE).is_file()]
    return sorted(found, key=lambda path: (len(path.name), path.name))


def _reopen(directory: Path, header: Header) -> State:
    path = directory / FILE
    journal = reopen(path, Line)
    first = journal.lines[0].campaign if journal.lines else None
    if first is None:
        raise UsageError(f"{path}: does not begin with its campaign; start anew without --resume")
    if first.code != header.code:
        raise UsageError(f"{path}: was made by other code than this; its results would not be this code's. Start anew")
    return State(journal)


def header_of(job: Job, seed: int) -> Header:
    """The header of a campaign of this code."""
    return Header(job, seed, code_digest())
