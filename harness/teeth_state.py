"""What `moonquake teeth` has played so far, on disk: `runs/teeth/<number>/state.jsonl`, one line a step.

Each line is written before the next step counts. A sitting that is broken off goes on with `--resume`, if the code is
still the same: results of other code prove nothing about this one.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

import msgspec

from harness.campaign_state import code_digest
from harness.mutants import MUTANTS_ROOT
from harness.outcome import RecordingError, UsageError
from harness.teeth import Done

FILE = "state.jsonl"


class Line(msgspec.Struct, omit_defaults=True):
    """The first line names the code; each other one is a step that was played."""

    code: str = ""
    done: Done | None = None


class State:
    """The state file of one sitting or several, open for appending; `done` is what it held."""

    def __init__(self, directory: Path, file: BinaryIO, lines: list[Line]) -> None:
        self.directory = directory
        self._file = file
        self.done = [line.done for line in lines if line.done is not None]

    def append(self, line: Line) -> None:
        """Raises RecordingError."""
        try:
            self._file.write(msgspec.json.encode(line) + b"\n")
            self._file.flush()
        except OSError as error:
            path = self.directory / FILE
            raise RecordingError(f"{path}: cannot be written: {error.strerror}; make room, then --resume") from error

    def __enter__(self) -> State:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()


def open_state(root: Path, resume: bool) -> State:
    """A new sitting under `root`/teeth, or with `resume` the newest one of this code.

    Raises UsageError when there is none, RecordingError when nothing can be written.
    """
    code = digest()
    found = sorted((root / "teeth").glob("[0-9]*"), key=lambda path: path.name)
    if resume:
        for directory in reversed(found):
            lines = _read(directory / FILE)
            if lines and lines[0].code == code:
                return State(directory, (directory / FILE).open("ab"), lines)
        raise UsageError(f"--resume: no sitting of this very code under {root / 'teeth'}; run it without --resume")
    directory = root / "teeth" / f"{len(found) + 1:04d}"
    try:
        directory.mkdir(parents=True)
        state = State(directory, (directory / FILE).open("xb"), [])
    except OSError as error:
        raise RecordingError(f"{directory}: cannot be made: {error.strerror}; choose another --runs-dir") from error
    state.append(Line(code=code))
    return state


def digest() -> str:
    """SHA-256 over the sources and the mutants."""
    found = hashlib.sha256(code_digest().encode())
    for path in sorted(MUTANTS_ROOT.rglob("*.py")):
        found.update(str(path.relative_to(MUTANTS_ROOT)).encode() + b"\0" + path.read_bytes())
    return found.hexdigest()


def _read(path: Path) -> list[Line]:
    """Whole lines of a state file; a killed writer may have left half a one, which is cut off."""
    if not path.is_file():
        return []
    data = path.read_bytes()
    whole = data[: data.rfind(b"\n") + 1]
    if len(whole) < len(data):
        path.write_bytes(whole)
    try:
        return msgspec.json.Decoder(Line).decode_lines(whole)
    except msgspec.MsgspecError as error:
        raise UsageError(f"{path}: is damaged: {error}; start anew without --resume") from error
