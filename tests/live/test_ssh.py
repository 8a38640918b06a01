"""Backend ssh against real sshd: a default scenario, hosts that heal themselves whatever dies, strangers refused."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.backends.docker import DockerBackend
from harness.provision.engine import find_engine
from harness.provision.state import state_directory
from harness.shipped import find
from tests.live.command import PARTITION, SCENARIO, Command
from tests.live.ssh_lab import SshLab, TestHost, ssh_lab

pytestmark = [pytest.mark.live, pytest.mark.docker]

ATTEMPTS = 3  # a fault whose window passed before a busy machine came to it proves nothing: once more
LIMIT_S = 300.0  # a busy machine starts four Python processes in a minute
STARTED: list[Command] = []
DISK_AND_CLOCK = """
[adversary]
crashes = 1
[[fault]]
use = "clock-skew"
skew_ms = 100
victims = ["n2"]
from = "1s"
until = "5s"
[[fault]]
use = "disk-full"
victims = ["n1"]
from = "6s"
until = "11s"
"""


@pytest.fixture(scope="module")
def lab(docker_backend: DockerBackend, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshLab]:
    """Four hosts, used by one test after the other."""
    if os.geteuid() != 0:
        pytest.skip("hosts for backend ssh are built and given packet filters by root only")
    engine = find_engine()
    assert engine is not None
    directory = tmp_path_factory.mktemp("ssh")
    (directory / "state").mkdir()
    payloads = state_directory() / "payloads"  # wheels are fetched and compiled once for all sessions
    payloads.mkdir(exist_ok=True)
    (directory / "state" / "payloads").symlink_to(payloads)
    with ssh_lab(engine, directory) as made:
        yield made


@pytest.fixture(autouse=True)
def ended() -> Iterator[None]:
    """No harness outlives its test, whatever that came to."""
    STARTED.clear()
    yield
    for command in STARTED:
        if command.process.poll() is None:
            command.process.kill()
            command.process.wait()


def moonquake(lab: SshLab, place: Path, scenario: str, hosts: Path, *words: str) -> Command:
    """`moonquake run SCENARIO` on the hosts; what is uploaded is prepared once for all tests."""
    place.mkdir(exist_ok=True)
    words = (
        "run",
        scenario,
        "--backend",
        "ssh",
        "--hosts",
        str(hosts),
        "--json",
        "--runs",
        str(place / "runs"),
        *words,
    )
    command = Command(place, *words, environment={"MOONQUAKE_STATE": str(lab.directory / "state")})
    STARTED.append(command)
    return command


def scenario(place: Path, load: str, faults: str) -> str:
    """A small scenario in a file."""
    path = place / "small.toml"
    path.write_text(SCENARIO.replace("LOAD", load) + faults)
    return str(path)


def judged(lab: SshLab, place: Path, name: str) -> Any:
    """The document of a run that came out as expected; UNKNOWN is tried again, anything else is not."""
    for attempt in range(ATTEMPTS):
        command = moonquake(lab, place / f"attempt-{attempt}", name, lab.file())
        code = command.process.wait(2 * LIMIT_S)
        assert code in (0, 2), command.said
        document = command.document()
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


def processes(host: TestHost, words: str) -> list[str]:
    """Pids of the processes there whose command line has these words."""
    lines = [line.partition(" ") for line in host.said("python3", "-c", LISTING).splitlines()]
    return [pid for pid, _, command in lines if pid.isdigit() and words in command]


def kill(host: TestHost, pids: list[str]) -> None:
    """kill -9, there."""
    assert pids
    host.said("python3", "-c", "import os, sys; [os.kill(int(pid), 9) for pid in sys.argv[1:]]", *pids)


def bare(host: TestHost) -> bool:
    """No table, no process, no mount and no file of a run."""
    left = host.said("ls", "/var/tmp/moonquake/runs").split()
    mounts = [line for line in host.said("cat", "/proc/mounts").splitlines() if "/var/tmp/moonquake" in line]
    ours = [pid for module in ("nodes", "faults", "harness") for pid in processes(host, f"-m {module}")]
    assert not left + mounts + host.tables() + ours, host
    return True


def in_mid_partition(lab: SshLab, place: Path, lease: str) -> Command:
    """A run whose partition is in force on every host that sends over a cut link."""
    command = moonquake(lab, place, scenario(place, "300s", PARTITION), lab.file(lease=lease))

    def there() -> bool:
        assert command.process.poll() is None, command.said
        return all(cut(host) for host in lab.hosts)

    eventually(there, "the partition")
    return command


def test_a_default_scenario_runs_over_four_hosts(lab: SshLab, tmp_path: Path) -> None:
    """Its partition lasts twice as long as usual: on a busy machine it takes seconds until one has settled."""
    text = find("bridge-partition").read_text()
    for usual, longer in (('until = "8s"', 'until = "14s"'), ('duration = "11s"', 'duration = "17s"')):
        assert usual in text
        text = text.replace(usual, longer)
    (tmp_path / "bridge.toml").write_text(text)
    document = judged(lab, tmp_path, str(tmp_path / "bridge.toml"))
    assert document["as_expected"] and document["layer"] == "nft+nfqueue"
    (receipts,) = [v for v in document["verdicts"] if v["property"] == "receipts"]
    assert receipts["status"] == "PASS" and receipts["examined"] == 1
    logs = Path(document["run"]) / "logs"
    assert {path.stem for path in logs.glob("n*.log")} == {f"n{i}" for i in range(7)}
    assert all(bare(host) for host in lab.hosts)


def test_full_disks_and_skewed_clocks_are_felt_and_undone(lab: SshLab, tmp_path: Path) -> None:
    document = judged(lab, tmp_path, scenario(tmp_path, "14s", DISK_AND_CLOCK))
    history = (Path(document["run"]) / "history.jsonl").read_text()
    assert "1 clocks show the true time again" in history
    assert "n1 stopped for it" in history and "1 disks have room again" in history
    assert all(bare(host) for host in lab.hosts)


def test_a_harness_that_stops_in_mid_partition(lab: SshLab, tmp_path: Path) -> None:
    """SIGSTOP: its connections stay open, and say nothing any more."""
    command = in_mid_partition(lab, tmp_path, lease="10s")
    try:
        os.kill(command.process.pid, signal.SIGSTOP)
        eventually(lambda: not any(cut(host) for host in lab.hosts), "the hosts undo the partition by themselves")
        assert not any(host.tables() for host in lab.hosts)
    finally:
        command.process.kill()
        command.process.wait()
    eventually(lambda: not any(processes(h, "-m nodes") for h in lab.hosts), "without a harness the nodes end")
    later = Command(tmp_path, "doctor", "--json", environment={"MOONQUAKE_STATE": str(lab.directory / "state")})
    later.process.wait(LIMIT_S)
    assert later.said.count("removed /var/tmp/moonquake/runs/") == len(lab.hosts), later.said
    assert all(bare(host) for host in lab.hosts)


def test_a_connection_that_dies_in_mid_partition(lab: SshLab, tmp_path: Path) -> None:
    command = in_mid_partition(lab, tmp_path, lease="60s")
    host = next(host for host in lab.hosts if cut(host))
    kill(host, processes(host, "sshd: root"))
    eventually(lambda: not cut(host), "the host that lost us undoes its cuts, long before the lease is over")
    assert command.process.wait(LIMIT_S) == 4, command.said
    assert f"host {host.name} " in command.said
    assert all(bare(host) for host in lab.hosts)


def test_a_warden_that_is_killed_in_mid_partition(lab: SshLab, tmp_path: Path) -> None:
    """Its guardian undoes the faults; the kernel kills the nodes with it."""
    command = in_mid_partition(lab, tmp_path, lease="60s")
    host = next(host for host in lab.hosts if cut(host))
    (warden,) = processes(host, "-m harness.backends.ssh.host.warden")
    kill(host, [warden])
    eventually(lambda: not cut(host) and not processes(host, "-m nodes"), "the guardian undoes what its warden did")
    assert command.process.wait(LIMIT_S) == 4, command.said
    assert "the warden" in command.said and f"host {host.name} " in command.said
    logs = list((command.runs / "small").glob("*/logs/*guardian.log"))
    assert [p for p in logs if "the warden is gone: undid cuts and delays" in p.read_text()], logs
    assert all(bare(host) for host in lab.hosts)


@pytest.mark.parametrize(
    ("known", "cure"), [("", "ssh-keyscan -p 22"), ("stranger", "ssh-keygen -R"), ("key", "ssh-copy-id -i")]
)
def test_strangers_are_refused_both_ways(lab: SshLab, tmp_path: Path, known: str, cure: str) -> None:
    """A host that is not known, one that shows another key than the known one, and a host that does not know us."""
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(tmp_path / "other")], check=True)
    changes = {"key": str(tmp_path / "other")}
    if known != "key":
        other = (tmp_path / "other.pub").read_text().strip()
        lines = [f"{host.address} {other}\n" for host in lab.hosts] if known else []
        (tmp_path / "known_hosts").write_text("".join(lines))
        changes = {"known_hosts": str(tmp_path / "known_hosts")}
    command = moonquake(lab, tmp_path, "fault-free", lab.file(**changes))
    assert command.process.wait(LIMIT_S) == 4, command.said
    assert cure in command.document()["error"]
    assert not command.runs.exists()
