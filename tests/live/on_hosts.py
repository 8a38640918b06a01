"""What tests on hosts share: running the command line on a lab's hosts, and looking at what happens there."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from harness.provision.engine import find_engine
from harness.provision.state import state_directory
from tests.live.command import PARTITION, SCENARIO, Command
from tests.live.ssh_lab import SshLab, TestHost, ssh_lab

ATTEMPTS = 3  # a fault whose window passed before a busy machine came to it proves nothing: once more
LIMIT_S = 300.0  # a busy machine starts four Python processes in a minute
STARTED: list[Command] = []  # the fixture `ended` ends them
LISTING = """
import glob, os
for entry in glob.glob("/proc/[0-9]*"):
    try:
        words = open(entry + "/cmdline", "rb").read().split(b"\\0")
    except OSError:
        continue
    if os.path.basename(entry) != str(os.getpid()):
        print(os.path.basename(entry), *(word.decode("utf-8", "replace").strip() for word in words))
"""


@contextmanager
def made_hosts(directory: Path, count: int, engines: bool = False) -> Iterator[SshLab]:
    """A lab whose runs share a state directory, and what is fetched and compiled for hosts with all sessions."""
    if os.geteuid() != 0:
        pytest.skip("hosts to log in to are built and given packet filters by root only")
    engine = find_engine()
    assert engine is not None
    (directory / "state").mkdir()
    payloads = state_directory() / "payloads"
    payloads.mkdir(exist_ok=True)
    (directory / "state" / "payloads").symlink_to(payloads)
    with ssh_lab(engine, directory, count, engines) as made:
        yield made


def command(lab: SshLab, place: Path, *words: str, **environment: str) -> Command:
    """A command with the lab's state directory."""
    place.mkdir(exist_ok=True)
    made = Command(place, *words, environment={"MOONQUAKE_STATE": str(lab.directory / "state"), **environment})
    STARTED.append(made)
    return made


def moonquake(
    lab: SshLab, place: Path, backend: str, scenario: str, hosts: str, *words: str, **environment: str
) -> Command:
    """`moonquake run SCENARIO` on the hosts."""
    words = ("run", scenario, "--backend", backend, "--hosts", hosts, "--json", "--runs", str(place / "runs"), *words)
    return command(lab, place, *words, **environment)


def doctor(lab: SshLab, place: Path, *words: str, **environment: str) -> Command:
    """`moonquake doctor`, which removes first what killed runs left; it has ended."""
    made = command(lab, place, "doctor", "--no-targets", "--json", *words, **environment)
    made.process.wait(LIMIT_S)
    return made


def scenario(place: Path, load: str, faults: str) -> str:
    """A small scenario in a file."""
    place.mkdir(exist_ok=True)
    path = place / "small.toml"
    path.write_text(SCENARIO.replace("LOAD", load) + faults)
    return str(path)


def judged(lab: SshLab, place: Path, backend: str, name: str, hosts: str = "", **environment: str) -> Any:
    """The document of a run that came out as expected; UNKNOWN is tried again, anything else is not."""
    for attempt in range(ATTEMPTS):
        made = moonquake(lab, place / f"attempt-{attempt}", backend, name, hosts or str(lab.file()), **environment)
        code = made.process.wait(2 * LIMIT_S)
        assert code in (0, 2), made.said
        document = made.document()
        assert not [v for v in document["verdicts"] if v["status"] == "FAIL"], document
        if code == 0:
            return document
    pytest.fail(f"UNKNOWN {ATTEMPTS} times: {document}")


def cut(host: TestHost) -> bool:
    """Is a link of one of its nodes cut?"""
    listed = [host.container.exec_run(["nft", "list", "set", "ip", table, "cuts"]) for table in host.tables()]
    return any(b"elements" in bytes(output) for _, output in listed)


def eventually(what: Callable[[], bool], told: str) -> None:
    """Poll until it holds."""
    deadline = time.monotonic() + LIMIT_S
    while not what():
        assert time.monotonic() < deadline, f"not within {LIMIT_S:.0f} s: {told}"
        time.sleep(0.2)


def processes(host: TestHost, words: str) -> list[str]:
    """Pids of the processes there whose command line has these words."""
    lines = [line.partition(" ") for line in host.said("python3", "-c", LISTING).splitlines()]
    return [pid for pid, _, command in lines if pid.isdigit() and words in command]


def kill(host: TestHost, pids: list[str], number: int = 9) -> None:
    """Send them a signal, there."""
    assert pids
    script = "import os, sys; [os.kill(int(pid), int(sys.argv[1])) for pid in sys.argv[2:]]"
    host.said("python3", "-c", script, str(number), *pids)


def traces(host: TestHost) -> list[str]:
    """Tables, processes and mounts of runs there."""
    mounts = [line for line in host.said("cat", "/proc/mounts").splitlines() if "/var/tmp/moonquake" in line]
    ours = [f"process {pid}" for module in ("nodes", "faults", "harness") for pid in processes(host, f"-m {module}")]
    return mounts + host.tables() + ours


def bare(host: TestHost) -> bool:
    """No table, no process, no mount and no file of a run."""
    left = host.said("ls", "/var/tmp/moonquake/runs").split()
    assert not left + traces(host), host
    return True


def in_mid_partition(
    lab: SshLab, place: Path, backend: str, lease: str, hosts: str = "", **environment: str
) -> Command:
    """A run whose partition is in force on every host that sends over a cut link. `hosts`: instead of the lab's file
    with that lease."""
    hosts = hosts or str(lab.file(lease=lease))
    made = moonquake(lab, place, backend, scenario(place, "300s", PARTITION), hosts, **environment)

    def there() -> bool:
        assert made.process.poll() is None, made.said
        return all(cut(host) for host in lab.hosts)

    eventually(there, "the partition")
    return made
