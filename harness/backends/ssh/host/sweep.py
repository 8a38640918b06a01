"""Undo, end and remove what runs left on this host.

python -m harness.backends.ssh.host.sweep DIRECTORY                    of one run, by its directory
python -m harness.backends.ssh.host.sweep --all DIRECTORY SOCKET       everything of ours, runs in force included
"""

from __future__ import annotations

import shutil
import signal
import sys
import time
from pathlib import Path

from harness.backends.ssh.host.engine import LABEL_HOSTS, EngineError, find
from harness.backends.ssh.host.inforce import STATE, InForce, alive, signal_process

WARDEN = "warden.ident"
END_S = 5.0
KILL_S = 30.0


def sweep(directory: Path, force: bool = False) -> list[str]:
    """Idempotent; a sentence for each thing that was still there. `force`: its warden, which may be about to cut and
    start again, is killed first. Raises SystemExit when something is left; then the directory stays, too."""
    if not directory.is_dir():
        return []
    ident = _warden(directory)
    done = ["a run was in force, and was ended"] if force and alive(ident) else []
    if force:
        _end(ident, 0)
    state = InForce.load(directory)
    done += [] if state.closed else state.heal()
    left = state.end_nodes()
    state.unmount()
    state.closed = True
    if (directory / STATE).exists():
        state.save()  # for a guardian that wakes up now
    _end(ident, END_S)
    if left:
        raise SystemExit("; ".join(left))
    _remove(directory)
    return done


def sweep_all(directory: Path, socket: str) -> list[str]:
    """Every run, every container and image of ours, and our directory. Raises SystemExit when something is left."""
    done, left = [], []
    for run in sorted((directory / "runs").glob("*/")):
        try:
            done += [f"run {run.name}: {line}" for line in sweep(run, force=True)]
        except SystemExit as error:
            left.append(str(error))
    engine = find(socket)
    if Path(engine.path).exists():
        try:
            done += [f"removed container {name}" for name in engine.remove_labelled(LABEL_HOSTS)]
            done += [f"removed image {name}" for name in engine.remove_images()]
        except EngineError as error:
            left.append(f"containers and images may be left: {error}")
    if left:
        raise SystemExit("; ".join(left))
    _remove(directory)
    return [*done, f"removed {directory}"]


def _remove(directory: Path) -> None:
    """Again and again for a while: a guardian that has just undone everything still writes its log there."""
    deadline = time.monotonic() + END_S
    while directory.exists():
        shutil.rmtree(directory, ignore_errors=True)
        if directory.exists() and time.monotonic() > deadline:
            raise SystemExit(f"{directory} cannot be removed; look what holds it (`findmnt`, `lsof`)")
        time.sleep(0.05)


def _end(ident: str, grace_s: float) -> None:
    """Wait for the end of a warden, then kill it and see it gone."""
    deadline = time.monotonic() + grace_s
    while alive(ident) and time.monotonic() < deadline:
        time.sleep(0.05)
    signal_process(ident, signal.SIGKILL)
    deadline = time.monotonic() + KILL_S
    while alive(ident) and time.monotonic() < deadline:
        time.sleep(0.02)


def _warden(directory: Path) -> str:
    try:
        return (directory / WARDEN).read_text()
    except OSError:
        return ""


if __name__ == "__main__":
    words = sys.argv[1:]
    report = sweep_all(Path(words[1]), words[2]) if words[0] == "--all" else sweep(Path(words[0]))
    sys.stdout.write("\n".join(report))
