"""`python -m harness.backends.ssh.host.sweep DIRECTORY`: undo, end and remove everything of one run on this host."""

from __future__ import annotations

import shutil
import signal
import sys
import time
from pathlib import Path

from harness.backends.ssh.host.inforce import STATE, InForce, alive, signal_process

WARDEN = "warden.ident"
END_S = 5.0


def sweep(directory: Path) -> list[str]:
    """Idempotent; a sentence for each thing that was still there."""
    if not directory.is_dir():
        return []
    state = InForce.load(directory)
    done = [] if state.closed else state.heal()
    state.end_nodes()
    state.unmount()
    state.closed = True
    if (directory / STATE).exists():
        state.save()  # for a guardian that wakes up now
    ident = _warden(directory)
    deadline = time.monotonic() + END_S
    while alive(ident) and time.monotonic() < deadline:
        time.sleep(0.05)
    signal_process(ident, signal.SIGKILL)
    shutil.rmtree(directory, ignore_errors=True)
    if directory.exists():
        raise SystemExit(f"{directory} cannot be removed; look what holds it (`findmnt`, `lsof`)")
    return done


def _warden(directory: Path) -> str:
    try:
        return (directory / WARDEN).read_text()
    except OSError:
        return ""


if __name__ == "__main__":
    sys.stdout.write("\n".join(sweep(Path(sys.argv[1]))))
