"""A Docker engine that answers: the user's if there is one, else a private one of ours.

We look at DOCKER_HOST, the usual sockets and our own socket, in this order. Only when none answers, and only as root,
a private dockerd is started: own data, own sockets, no default bridge, no firewall rules, detached from the terminal,
so that it outlives the command. `stop_engine` ends it. An engine that is not ours is used, never reconfigured.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import docker
import docker.errors
import msgspec
import requests

from harness.backends.port import MachineError
from harness.provision.packages import ensure_tools
from harness.provision.state import short_directory, state_directory

Progress = Callable[[str], None]

DEADLINE_S = 60.0
MNT_DETACH = 2
DEEPEST_SOCKET = len("exec/containerd/containerd-debug.sock")
USUAL_SOCKETS = ("/var/run/docker.sock", "~/.docker/run/docker.sock", "~/.docker/desktop/docker.sock")


class Engine(msgspec.Struct, frozen=True):
    """An engine that answered. `private` says that it is ours."""

    url: str
    version: str
    private: bool

    def client(self, timeout_s: int = 120) -> docker.DockerClient:
        """A new client (one per thread of use is not needed: requests' pool is shared)."""
        return docker.DockerClient(base_url=self.url, version="auto", timeout=timeout_s, max_pool_size=16)


class Layout(msgspec.Struct, frozen=True):
    """Where the private engine keeps its things. `sockets` is short enough for Unix socket paths."""

    data: Path
    sockets: Path
    log: Path

    @property
    def socket(self) -> Path:
        """Its API socket."""
        return self.sockets / "docker.sock"

    @property
    def pid_file(self) -> Path:
        """Its pid."""
        return self.sockets / "docker.pid"

    @property
    def url(self) -> str:
        """Its API address."""
        return f"unix://{self.socket}"


def layout() -> Layout:
    """The private engine's paths below the state directory."""
    root = state_directory() / "engine"
    return Layout(data=root / "data", sockets=short_directory(root, DEEPEST_SOCKET), log=root / "dockerd.log")


def find_engine() -> Engine | None:
    """The first engine that answers, or None. Starts nothing."""
    return next(answering(), None)


def answering() -> Iterator[Engine]:
    """Every engine that answers, the one to use first; ours may run beside one that was started after it."""
    ours = layout().url
    for url in _candidates():
        version = _version(url)
        if version is not None:
            yield Engine(url=url, version=version, private=url == ours)


def ensure_engine(progress: Progress) -> Engine:
    """An engine that answers, started if need be (see the module's text). Raises MachineError with the cure."""
    engine = find_engine()
    if engine is not None:
        return engine
    if os.environ.get("DOCKER_HOST"):
        raise MachineError(
            f"DOCKER_HOST is {os.environ['DOCKER_HOST']!r} but no engine answers there; start it, or unset DOCKER_HOST"
        )
    if os.geteuid() != 0:
        raise MachineError(
            "no Docker engine answers and we are not root, so we start none; start Docker (for example "
            "`sudo systemctl start docker`) and join its group, or run `sudo moonquake doctor --fix`, "
            "or use --backend process"
        )
    ensure_tools(("dockerd", "containerd", "runc"), progress)
    return _start(progress)


def stop_engine(progress: Progress | None = None) -> bool:
    """End the private engine and its containerd. True if one was running. Never touches another engine."""
    place = layout()
    pid = _running(place)
    if pid is None:
        return False
    if progress:
        progress(f"stopping our private Docker engine (pid {pid})")
    os.kill(pid, signal.SIGTERM)
    if not _wait(lambda: not _is_ours(pid, place), 30.0):
        os.kill(pid, signal.SIGKILL)
        _wait(lambda: not _is_ours(pid, place), 10.0)
    _end_orphans(place)
    for directory in (place.data, place.sockets):
        _unmount(directory)
    return True


def remove_tree(directory: Path) -> None:
    """Remove what an ended engine left: its mounts, then its files."""
    _unmount(directory)
    shutil.rmtree(directory, ignore_errors=True)


def mount_points(table: bytes) -> list[Path]:
    """The mount points in a /proc/mounts, with its octal escapes undone, the latest first."""
    words = [line.split() for line in table.splitlines()]
    points = [re.sub(rb"\\([0-7]{3})", lambda m: bytes([int(m[1], 8)]), w[1]) for w in words if len(w) > 1]
    return [Path(os.fsdecode(point)) for point in reversed(points)]


def _unmount(directory: Path) -> None:
    """A killed engine leaves its data directory, overlays and network name spaces mounted."""
    try:
        points = mount_points(Path("/proc/mounts").read_bytes())
    except OSError:
        return  # no /proc: not Linux, so there is no engine of ours
    for point in points:
        if point.is_relative_to(directory):
            ctypes.CDLL(None).umount2(os.fsencode(point), MNT_DETACH)


def _candidates() -> list[str]:
    named = os.environ.get("DOCKER_HOST")
    if named:
        return [named]
    sockets = [Path(s).expanduser() for s in USUAL_SOCKETS]
    found = [f"unix://{s}" for s in sockets if s.exists()]
    return [*found, layout().url] if layout().socket.exists() else found


def _version(url: str) -> str | None:
    try:
        client = docker.DockerClient(base_url=url, version="auto", timeout=5)
    except (docker.errors.DockerException, requests.RequestException, OSError, ValueError):
        return None
    with contextlib.closing(client):
        try:
            return str(client.version()["Version"])
        except (docker.errors.DockerException, requests.RequestException, OSError, KeyError):
            return None


def _start(progress: Progress) -> Engine:
    place = layout()
    if _running(place) is None:
        _end_orphans(place)
        _unmount(place.data)
        _clear_stale(place)
        progress(
            "no Docker engine answers here: starting a private one of ours, as root, with its data in "
            f"{place.data} (ends with `moonquake doctor --clean`)"
        )
        place.data.mkdir(parents=True, exist_ok=True)
        place.sockets.mkdir(parents=True, exist_ok=True)
        place.sockets.chmod(0o700)
        with place.log.open("ab") as log:
            subprocess.Popen(_command(place), stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
    answered = _wait(lambda: place.socket.exists() and _version(place.url) is not None, DEADLINE_S)
    version = _version(place.url) if answered else None
    if version is None:
        raise MachineError(
            f"our private Docker engine did not answer within {DEADLINE_S:.0f} s; its log {place.log} ends with:\n"
            f"{_tail(place.log)}\nuse --backend process, or start a Docker engine and set DOCKER_HOST"
        )
    return Engine(url=place.url, version=version, private=True)


def _command(place: Layout) -> list[str]:
    """No default bridge and no firewall rules: the lab's networks are internal, so the host's own rules stay alone."""
    return [
        shutil.which("dockerd") or "dockerd",
        f"--data-root={place.data}",
        f"--exec-root={place.sockets / 'exec'}",
        f"--pidfile={place.pid_file}",
        f"--host={place.url}",
        "--bridge=none",
        "--iptables=false",
        "--ip6tables=false",
        "--ip-forward=false",
        "--ip-masq=false",
        "--log-level=warn",
    ]


def _running(place: Layout) -> int | None:
    """Pid of our dockerd, by its pid file. A stale file (reboot, kill -9, reused pid) counts as not running."""
    try:
        pid = int(place.pid_file.read_text())
    except (OSError, ValueError):
        return None
    return pid if _is_ours(pid, place) else None


def _is_ours(pid: int, place: Layout) -> bool:
    return f"--pidfile={place.pid_file}" in _arguments(pid)


def _arguments(pid: int) -> list[str]:
    try:
        status = (Path("/proc") / str(pid) / "stat").read_text()
        if status.rpartition(")")[2].split()[0] in ("Z", "X"):
            return []
        return (Path("/proc") / str(pid) / "cmdline").read_bytes().decode(errors="replace").split("\0")
    except (OSError, IndexError):
        return []


def _end_orphans(place: Layout) -> None:
    """After kill -9 of dockerd its containerd and shims live on; they name our exec root, so they are ours to end."""
    ours = str(place.sockets / "exec")
    pids = [int(p.name) for p in Path("/proc").iterdir() if p.name.isdigit()]
    orphans = [p for p in pids if _serves(_arguments(p), ours)]
    for pid in orphans:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
    if not _wait(lambda: not any(_serves(_arguments(p), ours) for p in orphans), 5.0):
        for pid in orphans:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def _serves(arguments: list[str], exec_root: str) -> bool:
    if not arguments or not Path(arguments[0]).name.startswith("containerd"):
        return False
    return any(a == exec_root or a.startswith(exec_root + "/") for a in arguments)


def _clear_stale(place: Layout) -> None:
    for path in (place.pid_file, place.socket, place.sockets / "exec" / "containerd" / "containerd.pid"):
        path.unlink(missing_ok=True)


def _tail(log: Path) -> str:
    try:
        return "\n".join(log.read_text(errors="replace").splitlines()[-8:])
    except OSError as error:
        return f"(unreadable: {error.strerror})"


def _wait(condition: Callable[[], bool], timeout_s: float) -> bool:
    until = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > until:
            return False
        time.sleep(0.1)
    return True
