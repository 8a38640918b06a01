"""history.jsonl, written as it happens: every operation is flushed before the run goes on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Protocol

import msgspec

from harness.outcome import RecordingError
from results.history import Operation

Kind = Literal["invoke", "ok", "fail", "info"]


class HistoryFile(Protocol):
    """What a recorder writes to. Calls raise OSError."""

    def write(self, data: memoryview, /) -> int: ...

    def truncate(self, size: int, /) -> Any: ...

    def close(self) -> None: ...


class Recorder:
    """Appends operations to a history that must not exist yet. Times come from `now` and never run backwards.

    A write that fails (disk full) raises RecordingError, takes the torn half record back, and refuses all later ones.
    """

    def __init__(self, path: Path, now: Callable[[], int], file: HistoryFile | None = None) -> None:
        """`file` is written to instead of a new file at `path`."""
        self.path = path
        self._now = now
        self._encoder = msgspec.json.Encoder()
        self._index = 0
        self._last = 0
        self._good = 0  # bytes of whole records
        self._broken = ""
        self._file: HistoryFile = self._open(path) if file is None else file

    def _open(self, path: Path) -> HistoryFile:
        try:
            return path.open("xb", buffering=0)
        except FileExistsError as error:
            raise RecordingError(f"{path}: exists already; a history is never overwritten") from error
        except OSError as error:
            raise RecordingError(f"{path}: cannot be created: {error.strerror}") from error

    def record(
        self, process: int | str, kind: Kind, f: str, value: Any = None, *, time: int | None = None, **fields: Any
    ) -> Operation:
        """Append one operation; `fields` are those of results.history.Operation. Raises RecordingError."""
        if self._broken:
            raise RecordingError(self._broken)
        self._last = max(self._last, self._now() if time is None else time)
        operation = Operation(self._index, self._last, process, kind, f, value, **fields)
        self._write(self._encoder.encode(operation) + b"\n")
        self._index += 1
        return operation

    def _write(self, line: bytes) -> None:
        try:
            view = memoryview(line)
            while view:
                view = view[self._file.write(view) :]
        except OSError as error:
            self._broken = (
                f"{self.path}: the recording stopped after {self._index} operations: {error.strerror};"
                " make room on the disk and run again (what is recorded stays readable: moonquake check)"
            )
            self._file.truncate(self._good)
            raise RecordingError(self._broken) from error
        self._good += len(line)

    @property
    def broken(self) -> str:
        """Why nothing more can be recorded; empty while all is well."""
        return self._broken

    @property
    def count(self) -> int:
        """Operations recorded so far."""
        return self._index

    def close(self) -> None:
        """Close the file; the history is complete."""
        self._file.close()

    def __enter__(self) -> Recorder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
