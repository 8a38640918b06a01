"""The trace file: one JSON object a line, written once per turn of the event loop.

A process that is killed loses at most the line it was writing; the next incarnation cuts such a half line off, so that
the file stays readable line by line.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

_TAIL = 64 * 1024


class TraceError(RuntimeError):
    """The trace cannot be written (disk full?); says which file."""


class TraceWriter:
    """Appends events of one incarnation of one node. `size` is the length of the file in bytes."""

    def __init__(self, path: Path, node: str, incarnation: int) -> None:
        self.path = path
        self._node = node
        self._incarnation = incarnation
        self._encoder = msgspec.json.Encoder()
        self._pending: list[dict[str, Any]] = []
        self.watchers: set[Callable[[], None]] = set()  # called after every write
        try:
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
            self.size = _cut_half_line(self._descriptor)
        except OSError as error:
            raise TraceError(f"{path}: cannot be opened: {error.strerror}") from error

    def add(self, time: int, event: str, fields: dict[str, Any]) -> None:
        """Collect one event; `time` in nanoseconds since the start of the run."""
        self._pending.append(
            {"time": time, "node": self._node, "incarnation": self._incarnation, "event": event, **fields}
        )

    def discard(self) -> None:
        """Forget what was collected (it did not happen: the log could not be written)."""
        self._pending.clear()

    def flush(self) -> None:
        """Write what was collected. Raises TraceError."""
        if not self._pending:
            return
        data = self._encoder.encode_lines(self._pending)
        self._pending.clear()
        written = 0
        try:
            while written < len(data):
                written += os.write(self._descriptor, data[written:] if written else data)
        except OSError as error:
            raise TraceError(
                f"{self.path}: cannot be written: {error.strerror}; free space and start the node again"
            ) from error
        finally:
            self.size += written
        for watcher in tuple(self.watchers):
            watcher()

    def close(self) -> None:
        """Close the file; `flush` first."""
        os.close(self._descriptor)


def _cut_half_line(descriptor: int) -> int:
    """Truncate the file behind its last newline; returns its length."""
    size = os.fstat(descriptor).st_size
    at = size
    while at > 0:
        chunk = os.pread(descriptor, min(_TAIL, at), max(0, at - _TAIL))
        newline = chunk.rfind(b"\n")
        if newline >= 0:
            at = max(0, at - _TAIL) + newline + 1
            break
        at = max(0, at - _TAIL)
    if at != size:
        os.ftruncate(descriptor, at)
    return at
