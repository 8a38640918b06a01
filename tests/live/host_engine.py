"""A Docker engine on a host of ssh_lab: started, seen to answer, ended, seen to be gone."""

from __future__ import annotations

import signal
import time

from tests.live.on_hosts import LIMIT_S, eventually, kill, processes
from tests.live.ssh_lab import TestHost

PID_FILE = "/var/run/docker.pid"
# Control groups come read-only, and a cgroup2 hands its controllers only to groups that hold no process.
PREPARE = """
import os, pathlib, subprocess
for line in open("/proc/mounts"):
    device, place, kind, options = line.split()[:4]
    if kind.startswith("cgroup") and "ro" in options.split(","):
        subprocess.run(["mount", "-o", "remount,bind,rw,nosuid,nodev,noexec", place], check=True)
root = pathlib.Path("/sys/fs/cgroup")
if (root / "cgroup.controllers").exists() and not (root / "init").exists():
    (root / "init").mkdir()
    for pid in (root / "cgroup.procs").read_text().split():
        try:
            (root / "init" / "cgroup.procs").write_text(pid)
        except OSError:
            pass
    for name in (root / "cgroup.controllers").read_text().split():
        (root / "cgroup.subtree_control").write_text("+" + name)
"""
# As our own private engine: no bridge and no firewall rules, for the nodes are on the host's network.
DOCKERD = (
    "exec dockerd --bridge=none --iptables=false --ip6tables=false --ip-forward=false --ip-masq=false "
    "--host=unix:///var/run/docker.sock >>/var/log/dockerd.log 2>&1"
)


def start(host: TestHost) -> None:
    """Returns when it answers. One that ends at once is started again, until the time is over."""
    host.said("python3", "-c", PREPARE)
    deadline = time.monotonic() + LIMIT_S
    while not answers(host):
        assert time.monotonic() < deadline, host.said("tail", "-n", "20", "/var/log/dockerd.log")
        if not alive(host):
            host.said("rm", "-f", PID_FILE)  # nobody's: no engine runs
            host.container.exec_run(["bash", "-c", DOCKERD], detach=True)
        time.sleep(0.2)


def stop(host: TestHost, number: int = signal.SIGTERM) -> None:
    """Returns when its processes are seen to be gone: it takes 10 s and more to end its containers."""
    kill(host, processes(host, "dockerd --bridge=none"), number)
    eventually(lambda: not alive(host), "the engine's processes end")
    host.said("rm", "-f", PID_FILE)


def answers(host: TestHost) -> bool:
    """Does it answer?"""
    code, _ = host.container.exec_run(["docker", "version"])
    return bool(code == 0)


def alive(host: TestHost) -> list[str]:
    """Pids of it and of its containerd."""
    return processes(host, "dockerd --bridge=none") + processes(host, "containerd --config")


def containers(host: TestHost) -> list[str]:
    """Ids of all containers, running or not."""
    return host.said("docker", "ps", "--all", "--quiet").split()


def images(host: TestHost) -> list[str]:
    """Names of all images."""
    return host.said("docker", "images", "--format", "{{.Repository}}:{{.Tag}}").split()


def version(host: TestHost) -> str:
    """As its own client says."""
    return host.said("docker", "version", "--format", "{{.Server.Version}}").strip()
