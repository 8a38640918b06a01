"""What a run started outside this process, written down so that the next command can remove it after a kill -9.

One file a run in `<state>/leftovers/`, one JSON line a thing. `sweep` acts only on files whose owner (the harness
process, by pid and start time) is gone, and ends only processes whose pid and start time match.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from harness.backends.processes import process_ident, process_start
from harness.provision.state import state_directory

Remover = Callable[[str], str | None]  # ident -> what was removed, in words; None if it was gone already

PROCESS = "process"  # ident: "pid:start" (processes.process_ident)
DIRECTORY = "directory"  # ident: absolute path of a temporary directory of ours
_PREFIX = "moonquake-"  # a registered directory is removed only if its name starts so
_END_S = 5.0


class Leftover(msgspec.Struct, frozen=True):
    """One line: something that must be gone when the run is over."""

    kind: str
    ident: str
    owner: str  # pid:start of the harness


def register(run_id: str, kind: str, ident: str) -> None:
    """Note that the run has started `ident`; on disk when this returns. Call before or right after starting it."""
    line = msgspec.json.encode(Leftover(kind, ident, process_ident(os.getpid()))) + b"\n"
    descriptor = os.open(_file(run_id), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        os.write(descriptor, line)
    finally:
        os.close(descriptor)


def forget(run_id: str) -> None:
    """The run has removed everything itself."""
    _file(run_id).unlink(missing_ok=True)


def sweep(removers: Mapping[str, Remover] | None = None) -> list[str]:
    """Remove what dead harnesses left behind; returns one sentence a removed thing.

    `removers` handles further kinds ("container", "network", ...). A file with a kind that nobody handles, or with a
    remover that raised, is kept for a later sweep.
    """
    handlers: dict[str, Remover] = {PROCESS: _end_process, DIRECTORY: _remove_directory, **(removers or {})}
    report: list[str] = []
    for file in sorted(_directory().glob("*.jsonl")):
        items = _read(file)
        if any(_alive(item.owner) for item in items):
            continue
        done = True
        for item in items:
            handler = handlers.get(item.kind)
            if handler is None:
                done = False
                continue
            try:
                removed = handler(item.ident)
            except Exception as error:  # a sweep must get through the rest; the file stays and says it again
                done = False
                report.append(f"could not remove {item.kind} {item.ident} of run {file.stem}: {error}")
                continue
            if removed:
                report.append(f"{removed} (left behind by run {file.stem})")
        if done:
            file.unlink(missing_ok=True)
    return report


def _directory() -> Path:
    directory = state_directory() / "leftovers"
    directory.mkdir(parents=True, exist_ok=True)
    return directory


def _file(run_id: str) -> Path:
    return _directory() / f"{run_id}.jsonl"


def _read(file: Path) -> list[Leftover]:
    items = []
    with contextlib.suppress(FileNotFoundError):
        for line in file.read_bytes().splitlines():
            with contextlib.suppress(msgspec.MsgspecError):  # a torn last line: what it named was not started yet
                items.append(msgspec.json.decode(line, type=Leftover))
    return items


def _alive(ident: str) -> bool:
    pid, _, start = ident.partition(":")
    return process_start(int(pid)) == start if pid.isdigit() and start else False


def _end_process(ident: str) -> str | None:
    if not _alive(ident):
        return None
    pid = int(ident.partition(":")[0])
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + _END_S
    while _alive(ident):
        if time.monotonic() > deadline:
            raise RuntimeError(f"process {pid} does not end after SIGKILL; is it stuck in the kernel?")
        time.sleep(0.01)
    return f"ended process {pid}"


def _remove_directory(ident: str) -> str | None:
    path = Path(ident)
    if not path.name.startswith(_PREFIX) or not path.is_dir():
        return None
    shutil.rmtree(path)
    return f"removed directory {path}"
