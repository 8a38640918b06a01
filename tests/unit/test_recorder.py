"""The recorder: on disk at once, readable when the disk is full, never overwriting."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import pytest

from harness.outcome import RecordingError
from harness.recorder import Recorder
from results.history import read_history


class SmallDisk:
    """A file on a disk with room for so many bytes."""

    def __init__(self, path: Path, room: int) -> None:
        self._file = path.open("xb", buffering=0)
        self._room = room

    def write(self, data: bytes) -> int:
        if self._room == 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        count: int = self._file.write(bytes(data[: self._room]))
        self._room -= count
        return count

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


@pytest.fixture
def ticks() -> Any:
    clock = iter(range(0, 10**9, 10))
    return lambda: next(clock)


def test_every_operation_is_on_disk_at_once(tmp_path: Path, ticks: Any) -> None:
    path = tmp_path / "history.jsonl"
    recorder = Recorder(path, ticks)
    recorder.record(0, "invoke", "transfer", {"amount": 1}, tx="aa", gateway="g0")
    assert [o.type for o in read_history(path)] == ["invoke"]
    recorder.record(0, "ok", "transfer", {"amount": 1}, tx="aa", phase="exec", phases={"exec": 5})
    first, second = read_history(path)
    assert (first.index, second.index) == (0, 1)
    assert first.time < second.time
    assert second.phases == {"exec": 5}
    recorder.close()


def test_time_never_runs_backwards(tmp_path: Path) -> None:
    clock = iter([50, 40, 60])
    with Recorder(tmp_path / "h", lambda: next(clock)) as recorder:
        for _ in range(3):
            recorder.record("nemesis", "info", "start")
    assert [o.time for o in read_history(tmp_path / "h")] == [50, 50, 60]


def test_a_history_is_never_overwritten(tmp_path: Path, ticks: Any) -> None:
    (tmp_path / "h").write_text("precious\n")
    with pytest.raises(RecordingError, match="never overwritten"):
        Recorder(tmp_path / "h", ticks)
    assert (tmp_path / "h").read_text() == "precious\n"


def test_no_place_to_write(tmp_path: Path, ticks: Any) -> None:
    with pytest.raises(RecordingError, match="cannot be created"):
        Recorder(tmp_path / "missing" / "h", ticks)


def test_disk_full_keeps_what_was_recorded(tmp_path: Path, ticks: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "h"
    monkeypatch.setattr(Recorder, "_open", lambda self, p: SmallDisk(p, 400))
    recorder = Recorder(path, ticks)
    with pytest.raises(RecordingError, match="No space left on device; make room on the disk"):
        for i in range(100):
            recorder.record(i, "invoke", "transfer", {"amount": i})
    assert recorder.broken
    kept = list(read_history(path))
    assert [o.process for o in kept] == list(range(len(kept)))
    assert len(kept) == recorder.count > 2
    with pytest.raises(RecordingError):
        recorder.record(0, "invoke", "transfer")
