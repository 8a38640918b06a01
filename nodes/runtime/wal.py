"""The write-ahead log: one append-only file, many records a sync.

File: 8 bytes of magic, then frames: length (4, big-endian) | crc32 of the body (4) | crc32 of those 8 bytes (4) | body.
The header has its own checksum, so that a write that was cut off (a whole header and too few bytes after it, or less
than a header, or nothing but zeros from some place on) is told from damage in the middle with certainty: the first is
truncated, the second refused, because forgetting a vote that was sent is worse than not starting.
"""

from __future__ import annotations

import fcntl
import os
import zlib
from pathlib import Path
from typing import Protocol

MAGIC = b"MQWAL\x00\x01\n"
HEADER_BYTES = 12


class WalError(RuntimeError):
    """The log cannot be read or written; says what happened to which file and what helps."""


class LogFile(Protocol):
    """What the log needs of a file opened for appending."""

    def write(self, data: bytes) -> int:
        """Append; returns the number of bytes taken, maybe fewer than given. Raises OSError."""
        ...

    def sync(self) -> None:
        """Make everything written durable. Raises OSError."""
        ...

    def truncate(self, size: int) -> None:
        """Cut the file to `size` bytes. Raises OSError."""
        ...

    def close(self) -> None: ...


class _OsFile:
    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def write(self, data: bytes) -> int:
        return os.write(self._descriptor, data)

    def sync(self) -> None:
        getattr(os, "fdatasync", os.fsync)(self._descriptor)

    def truncate(self, size: int) -> None:
        os.ftruncate(self._descriptor, size)

    def close(self) -> None:
        os.close(self._descriptor)


def frame_record(body: bytes) -> bytes:
    """One record as it lies in the file."""
    head = len(body).to_bytes(4, "big") + zlib.crc32(body).to_bytes(4, "big")
    return head + zlib.crc32(head).to_bytes(4, "big") + body


def scan(data: bytes, name: str) -> tuple[list[bytes], int]:
    """(records, length of the sound part) of a log file's content; what follows is a torn tail.

    Raises WalError where the file is damaged rather than cut off.
    """
    if len(data) < len(MAGIC):
        if MAGIC.startswith(data) or not any(data):
            return [], 0
        raise WalError(f"{name}: not a write-ahead log of moonquake; {_CURE}")
    if not data.startswith(MAGIC):
        if not any(data):
            return [], 0
        raise WalError(f"{name}: not a write-ahead log of moonquake; {_CURE}")
    records: list[bytes] = []
    at, size = len(MAGIC), len(data)
    while size - at >= HEADER_BYTES:
        head = data[at : at + 8]
        length, crc = int.from_bytes(head[:4], "big"), int.from_bytes(head[4:], "big")
        if zlib.crc32(head) != int.from_bytes(data[at + 8 : at + HEADER_BYTES], "big"):
            if not any(data[at:]):
                break
            raise WalError(f"{name}: record {len(records)} at byte {at} is damaged (header checksum); {_CURE}")
        end = at + HEADER_BYTES + length
        if end > size:
            break
        body = data[at + HEADER_BYTES : end]
        if zlib.crc32(body) != crc:
            if not any(data[end:]) and _ends_in_zeros(body):
                break
            raise WalError(f"{name}: record {len(records)} at byte {at} is damaged (body checksum); {_CURE}")
        records.append(body)
        at = end
    return records, at


_CURE = "restore the file, or lose this node's disk on purpose (remove the file) and count the node as faulty"


def _ends_in_zeros(body: bytes) -> bool:
    """Does the body look like blocks that were allocated but never written (power loss)?"""
    return len(body.rstrip(b"\0")) <= len(body) - min(16, len(body))


class Wal:
    """An open log. `records` holds what the file had, oldest first; `torn_bytes` what was cut off its end.

    `append` collects; `sync` writes everything collected and makes it durable. A log that failed once stays failed.
    The file is locked: two processes on one log are refused. Raises WalError.
    """

    def __init__(self, path: Path, file: LogFile | None = None) -> None:
        self.path = path
        self.records: list[bytes] = []
        self.torn_bytes = 0
        self.syncs = 0
        self._pending: list[bytes] = []
        self._failed = False
        self._size = 0
        self._file = file if file is not None else self._open()
        if self._size == 0:
            self._pending.append(MAGIC)
            self.sync()

    def _open(self) -> LogFile:
        try:
            fresh = not self.path.exists()
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        except OSError as error:
            raise WalError(
                f"{self.path}: cannot be opened: {error.strerror}; is the disk full or read-only?"
            ) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(descriptor)
            raise WalError(f"{self.path}: another process has it open; a node's data directory serves one") from error
        file = _OsFile(descriptor)
        try:
            data = self.path.read_bytes()
            self.records, self._size = scan(data, str(self.path))
            self.torn_bytes = len(data) - self._size
            if self.torn_bytes:
                file.truncate(self._size)
                file.sync()
            if fresh:
                _sync_directory(self.path.parent)
        except OSError as error:
            file.close()
            raise WalError(f"{self.path}: cannot be recovered: {error.strerror}") from error
        except WalError:
            file.close()
            raise
        return file

    @property
    def dirty(self) -> bool:
        """Is something collected that is not durable yet?"""
        return bool(self._pending)

    def append(self, body: bytes) -> None:
        """Collect one record."""
        self._pending.append(frame_record(body))

    def sync(self) -> None:
        """Write and fdatasync everything collected since the last call; nothing to do is cheap."""
        if not self._pending:
            return
        if self._failed:
            raise WalError(f"{self.path}: an earlier write failed; nothing more is recorded")
        data = b"".join(self._pending)
        try:
            written = 0
            while written < len(data):
                written += self._file.write(data[written:] if written else data)
            self._file.sync()
        except OSError as error:
            self._failed = True
            self._undo()
            raise WalError(
                f"{self.path}: cannot be written: {error.strerror}; the node stops before anything unrecorded leaves "
                "it. Free space (or mend the disk) and start the node again: all it said before is in the log"
            ) from error
        self._pending.clear()
        self._size += len(data)
        self.syncs += 1

    def _undo(self) -> None:
        """Cut a half-written group off again. If that fails too, recovery finds a torn tail: the same outcome."""
        try:
            self._file.truncate(self._size)
        except OSError:
            self.torn_bytes = -1  # unknown; the next incarnation measures and reports it

    def close(self) -> None:
        """Close the file; what was not synced is lost."""
        self._file.close()


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
