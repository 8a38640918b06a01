"""A bounded disk for a node: a tmpfs of its own, which is full when it is made no larger than what it holds.

Nothing is written to fill it, so it costs the host neither disk nor memory, and its other file systems are not touched.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from harness.backends.ssh.host.inforce import COMMAND_S, InForce, mount_command
from harness.provision.packages import find_tool

ATTEMPTS = 50  # the node writes on while we measure
PAGE = 4096
NO_SPACE = os.strerror(28)  # ENOSPC


class DiskError(RuntimeError):
    """mount(8) refused; carries what it said."""


def probe() -> str:
    """Why this host cannot give nodes bounded disks, in words; empty when it can. Tried in a throw-away mount space."""
    if os.geteuid() != 0:
        return "bounded disks need root on the host: set `user`, or `sudo = true`"
    unshare = find_tool("unshare")
    if unshare is None or find_tool("mount") is None:
        return "mount or unshare is not installed on the host"
    command = [unshare, "--mount", *mount_command(), "-t", "tmpfs", "-o", "size=1m", "moonquake", "/tmp"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=COMMAND_S, check=False)
    return "" if ended.returncode == 0 else f"tmpfs: {ended.stderr.strip()[:200] or 'mount failed'}"


def make(state: InForce, path: Path, size: int, uid: int) -> None:
    """Mount the disk, `size` bytes, owned by the node's user. Raises DiskError."""
    state.disks[str(path)] = str(size)
    state.save()
    _mount("-t", "tmpfs", "-o", f"size={size},uid={uid},mode=0755,nosuid,nodev", "moonquake", str(path))


def fill(path: Path) -> None:
    """Leave not a byte free. Raises DiskError."""
    failure = ""
    for _ in range(ATTEMPTS):
        space = os.statvfs(path)
        used = (space.f_blocks - space.f_bfree) * space.f_frsize
        try:
            _mount("-o", f"remount,size={max(used, PAGE)}", str(path))
        except DiskError as error:  # it grew meanwhile: smaller than what it holds is refused
            failure = str(error)
            continue
        if free(path) == 0:
            return
    raise DiskError(f"{path} is not full after {ATTEMPTS} attempts {failure}")


def empty(state: InForce, path: Path) -> None:
    """Give it its size back. Raises DiskError."""
    _mount("-o", f"remount,size={state.disks[str(path)]}", str(path))


def free(path: Path) -> int:
    """Bytes free."""
    space = os.statvfs(path)
    return space.f_bavail * space.f_frsize


def refusals(log: Path) -> int:
    """How often the node's log says that there was no room."""
    try:
        return log.read_text(errors="replace").count(NO_SPACE)
    except OSError:
        return 0


def _mount(*words: str) -> None:
    ended = subprocess.run([*mount_command(), *words], capture_output=True, text=True, timeout=COMMAND_S, check=False)
    if ended.returncode:
        raise DiskError(f"`mount {' '.join(words)}` failed: {ended.stderr.strip()[:200]}")
