"""A base image without a registry, second way: Debian packages by mmdebstrap (where the host's Python does not do)."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

from harness.backends.port import MachineError
from harness.provision.packages import ensure_tools

SUITE = "bookworm"  # Python 3.11
PACKAGES = ("python3", "python3-minimal", "libpython3-stdlib", "libgcc-s1", "libc6", "media-types", "tzdata")


def fingerprint() -> str:
    """What makes two such bases differ."""
    return f"debian {platform.machine()} {SUITE} {' '.join(PACKAGES)}"


def build(target: Path, progress: Callable[[str], None], more: Sequence[str] = ()) -> None:
    """Write the base tar, with `more` packages if asked for. Raises MachineError where we are not root on a machine
    with apt or no mirror answers."""
    if os.geteuid() != 0:
        raise MachineError("mmdebstrap needs root; run as root, or give the engine a registry")
    ensure_tools(("mmdebstrap",), progress)
    command = [
        "mmdebstrap",
        "--variant=extract",
        "--quiet",
        f"--include={','.join((*PACKAGES, *more))}",
        SUITE,
        str(target),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise MachineError(f"`{' '.join(command)}` failed:\n{done.stderr[-600:]}")
