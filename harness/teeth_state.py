"""What `moonquake teeth` has played so far, on disk: `runs/teeth/<number>/state.jsonl`, one line a step.

Each line is on the disk before the next step counts. A sitting that is broken off goes on with `--resume`, if the code
is still the same: results of other code prove nothing about this one.
"""

from __future__ import annotations

from pathlib import Path
from types import TracebackType

import msgspec

from harness.journal import Journal, create, read, reopen
from harness.mutants import MUTANTS_ROOT
from harness.outcome import UsageError
from harness.sources import code_digest
from harness.teeth import Done

FILE = "state.jsonl"


class Line(msgspec.Struct, omit_defaults=True):
    """The first line names the code; each other one is a step that was played."""

    code: str = ""
    done: Done | None = None


class State:
    """The state file of one sitting or several, open for appending; `done` is what it held."""

    def __init__(self, journal: Journal[Line]) -> None:
        self.directory = journal.path.parent
        self._journal = journal
        self.done = [line.done for line in journal.lines if line.done is not None]

    def append(self, line: Line) -> None:
        """Write one line and wait until it is on the disk. Raises RecordingError."""
        self._journal.append(line)

    def __enter__(self) -> State:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._journal.close()


def open_state(root: Path, resume: bool) -> State:
    """A new sitting under `root`/teeth, or with `resume` the newest one of this code.

    Raises UsageError when there is none, RecordingError when nothing can be written.
    """
    code = digest()
    found = sorted((root / "teeth").glob("[0-9]*"), key=lambda path: path.name)
    if resume:
        for path in (directory / FILE for directory in reversed(found)):
            lines = read(path, Line) if path.is_file() else []
            if lines and lines[0].code == code:
                return State(reopen(path, Line))
        raise UsageError(f"--resume: no sitting of this very code under {root / 'teeth'}; run it without --resume")
    state = State(create(root / "teeth" / f"{len(found) + 1:04d}" / FILE, Line, "--runs-dir"))
    state.append(Line(code=code))
    return state


def digest() -> str:
    """SHA-256 over the sources and the mutants."""
    return code_digest(tests=(MUTANTS_ROOT,))
