"""A file of lines that a killed process cannot spoil: each line is on the disk before anything follows from it, and a
torn last line is dropped when the file is opened again."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Generic, TypeVar

import msgspec

from harness.outcome import RecordingError, UsageError

L = TypeVar("L", bound=msgspec.Struct)


class Journal(Generic[L]):
    """Open for appending; `lines` are what it held when it was opened."""

    def __init__(self, path: Path, file: BinaryIO, lines: Sequence[L] = ()) -> None:
        self.path = path
        self.lines = lines
        self._file = file

    def append(self, line: L) -> None:
        """Write one line and wait until it is on the disk. Raises RecordingError."""
        try:
            self._file.write(msgspec.json.encode(line) + b"\n")
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            raise RecordingError(
                f"{self.path}: cannot be written: {error.strerror}; make room on the disk and go on with --resume"
            ) from error

    def close(self) -> None:
        """What was appended stays."""
        self._file.close()

    def __enter__(self) -> Journal[L]:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def create(path: Path, kind: type[L], option: str) -> Journal[L]:
    """A new one, in a new directory. Raises RecordingError that names the option which chooses another place."""
    try:
        path.parent.mkdir(parents=True)
        return Journal(path, path.open("xb"))
    except OSError as error:
        raise RecordingError(
            f"{path.parent}: cannot be made: {error.strerror}; choose another with {option} DIR"
        ) from error


def read(path: Path, kind: type[L]) -> list[L]:
    """Its whole lines. Raises UsageError when it is damaged other than by a torn last line."""
    data = path.read_bytes()
    try:
        return msgspec.json.Decoder(kind).decode_lines(data[: data.rfind(b"\n") + 1])
    except msgspec.MsgspecError as error:
        raise UsageError(f"{path}: is damaged: {error}; remove it, or start anew without --resume") from error


def reopen(path: Path, kind: type[L], alone: str = "") -> Journal[L]:
    """The one at `path`, to go on. With `alone` for one process at a time: that says what to do if it is in use.

    Raises UsageError, RecordingError where it cannot be opened for writing.
    """
    try:
        file = path.open("r+b")
    except OSError as error:
        raise RecordingError(f"{path}: cannot be opened: {error.strerror}; see to its permissions") from error
    try:
        if alone:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        lines = read(path, kind)
        file.truncate(path.read_bytes().rfind(b"\n") + 1)  # a killed writer leaves half a line
        file.seek(0, os.SEEK_END)
    except BlockingIOError as error:
        file.close()
        raise UsageError(f"{path}: {alone}") from error
    except UsageError:
        file.close()
        raise
    return Journal(path, file, lines)
