"""What passed the links of a running cluster: payload bytes and packets of the proxies' sockets, as the kernel counts.

Every link of a cluster of processes passes a Toxiproxy of ours, so the sockets that these accepted see all of it, for
any system and in both directions. `ss` (iproute2) reads the kernel's counters; no node is asked.
"""

from __future__ import annotations

import os
import re
import subprocess
import time
from pathlib import Path

import msgspec

from harness.backends.sockets import find_ss
from harness.progress import Snapshot

SETTLED_S = 2.0  # of load, before the first look
_OWNER = re.compile(r"\bpid=(\d+)")
_COUNTS = re.compile(r"\b(bytes_sent|bytes_received|data_segs_out|data_segs_in):(\d+)")
_INODE = re.compile(r"\bino:(\d+)")
_PORT = re.compile(rb"-port\0(\d+)")


class Passed(msgspec.Struct, frozen=True):
    """Between two looks: seconds, payload bytes, packets that carried payload, sockets that were there at both."""

    seconds: float = 0.0
    payload: int = 0
    packets: int = 0
    sockets: int = 0


class Wire:
    """Looks once a second while a run is under load; `watch` is for `harness.progress.Observer`."""

    def __init__(self) -> None:
        self._tool = find_ss()
        self._first: tuple[float, dict[str, tuple[int, int]]] | None = None
        self._last: tuple[float, dict[str, tuple[int, int]]] | None = None

    def watch(self, snapshot: Snapshot) -> None:
        """One look, if the load is on and has settled."""
        if snapshot.phase == "load" and snapshot.elapsed_s >= SETTLED_S:
            self._last = (time.perf_counter(), self._look())
            self._first = self._first or self._last

    def passed(self) -> Passed:
        """What passed between the first look and the last."""
        if self._first is None or self._last is None or self._first is self._last:
            return Passed()
        (begun, before), (ended, after) = self._first, self._last
        both = before.keys() & after.keys()
        payload = sum(after[one][0] - before[one][0] for one in both)
        packets = sum(after[one][1] - before[one][1] for one in both)
        return Passed(ended - begun, payload, packets, len(both))

    def _look(self) -> dict[str, tuple[int, int]]:
        """Socket that a proxy of ours accepted -> (bytes, packets) in both directions."""
        done = subprocess.run(
            [self._tool, "-tniHOpea", "state", "all"], capture_output=True, text=True, timeout=20, check=False
        )
        listening: set[str] = set()
        found: dict[str, tuple[str, int, int]] = {}
        for line in done.stdout.splitlines():
            words, owner = line.split(), _OWNER.search(line)
            if len(words) < 5 or owner is None or not _ours(int(owner.group(1))):
                continue
            port = words[3].rpartition(":")[2]
            if words[0] == "LISTEN":
                if port != _api_port(int(owner.group(1))):
                    listening.add(port)
                continue
            counts = {name: int(value) for name, value in _COUNTS.findall(line)}
            inode = _INODE.search(line)
            payload = counts.get("bytes_sent", 0) + counts.get("bytes_received", 0)
            packets = counts.get("data_segs_out", 0) + counts.get("data_segs_in", 0)
            found[f"{inode.group(1) if inode else ''} {words[3]} {words[4]}"] = (port, payload, packets)
        return {name: (payload, packets) for name, (port, payload, packets) in found.items() if port in listening}


def _ours(pid: int) -> bool:
    """Is it a Toxiproxy that this process started?"""
    try:
        name, _, rest = Path(f"/proc/{pid}/stat").read_text().partition("(")[2].rpartition(")")
    except OSError:
        return False
    return name.startswith("toxiproxy") and int(rest.split()[1]) == os.getpid()


def _api_port(pid: int) -> str:
    """The port over which that Toxiproxy is told what to do."""
    try:
        found = _PORT.search(Path(f"/proc/{pid}/cmdline").read_bytes())
    except OSError:
        return ""
    return found.group(1).decode() if found else ""
