"""System tools the lab needs, and how they are had: `apt-get install` on Debian as root, else words."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterable
from pathlib import Path

from harness.outcome import MachineError

PACKAGES = {
    "dockerd": "docker.io",
    "containerd": "docker.io",
    "runc": "docker.io",
    "nft": "nftables",
    "iptables": "iptables",
    "tc": "iproute2",
    "ip": "iproute2",
    "mmdebstrap": "mmdebstrap",
    "chromium": "chromium",
}
SBIN = ("/usr/local/sbin", "/usr/sbin", "/sbin")  # not on every root's PATH


def find_tool(name: str) -> str | None:
    """Absolute path of a system tool, or None."""
    return shutil.which(name) or shutil.which(name, path=os.pathsep.join(SBIN))


def missing_packages(tools: Iterable[str]) -> list[str]:
    """Debian packages that would bring the tools that are missing, sorted."""
    return sorted({PACKAGES[t] for t in tools if find_tool(t) is None})


def ensure_tools(tools: Iterable[str], progress: Callable[[str], None]) -> None:
    """Install what is missing. Raises MachineError naming the packages where we may not or cannot."""
    packages = missing_packages(tools)
    if not packages:
        return
    names = " ".join(packages)
    if os.geteuid() != 0:
        raise MachineError(f"missing system packages; as root: `apt-get install {names}` (or your system's equivalent)")
    if shutil.which("apt-get") is None or not Path("/etc/debian_version").exists():
        raise MachineError(f"missing system tools; this is not Debian, so install the equivalents of: {names}")
    progress(f"apt-get install {names}")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (["update", "-qq"], ["install", "-y", "-qq", "--no-install-recommends", *packages]):
        done = subprocess.run(["apt-get", *command], env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            tail = "\n".join((done.stdout + done.stderr).splitlines()[-6:])
            raise MachineError(f"`apt-get {' '.join(command)}` failed:\n{tail}\ninstall by hand: {names}")
