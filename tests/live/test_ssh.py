"""Backend ssh against real sshd: a default scenario, hosts that heal themselves whatever dies, strangers refused."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.backends.docker import DockerBackend
from harness.shipped import find
from tests.live.on_hosts import (
    LIMIT_S,
    bare,
    cut,
    doctor,
    eventually,
    in_mid_partition,
    judged,
    kill,
    made_hosts,
    moonquake,
    processes,
    scenario,
)
from tests.live.ssh_lab import SshLab

pytestmark = [pytest.mark.live, pytest.mark.docker, pytest.mark.usefixtures("ended")]

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
    with made_hosts(tmp_path_factory.mktemp("ssh"), 4) as made:
        yield made


def test_a_default_scenario_runs_over_four_hosts(lab: SshLab, tmp_path: Path) -> None:
    """Its partition lasts twice as long as usual: on a busy machine it takes seconds until one has settled."""
    text = find("bridge-partition").read_text()
    for usual, longer in (('until = "8s"', 'until = "14s"'), ('duration = "11s"', 'duration = "17s"')):
        assert usual in text
        text = text.replace(usual, longer)
    (tmp_path / "bridge.toml").write_text(text)
    document = judged(lab, tmp_path, "ssh", str(tmp_path / "bridge.toml"))
    assert document["as_expected"] and document["layer"] == "nft+nfqueue"
    (receipts,) = [v for v in document["verdicts"] if v["property"] == "receipts"]
    assert receipts["status"] == "PASS" and receipts["examined"] == 1
    logs = Path(document["run"]) / "logs"
    assert {path.stem for path in logs.glob("n*.log")} == {f"n{i}" for i in range(7)}
    assert all(bare(host) for host in lab.hosts)


def test_full_disks_and_skewed_clocks_are_felt_and_undone(lab: SshLab, tmp_path: Path) -> None:
    document = judged(lab, tmp_path, "ssh", scenario(tmp_path, "14s", DISK_AND_CLOCK))
    history = (Path(document["run"]) / "history.jsonl").read_text()
    assert "1 clocks show the true time again" in history
    assert "n1 stopped for it" in history and "1 disks have room again" in history
    assert all(bare(host) for host in lab.hosts)


def test_a_harness_that_stops_in_mid_partition(lab: SshLab, tmp_path: Path) -> None:
    """SIGSTOP: its connections stay open, and say nothing any more."""
    command = in_mid_partition(lab, tmp_path, "ssh", lease="10s")
    try:
        os.kill(command.process.pid, signal.SIGSTOP)
        eventually(lambda: not any(cut(host) for host in lab.hosts), "the hosts undo the partition by themselves")
        assert not any(host.tables() for host in lab.hosts)
    finally:
        command.process.kill()
        command.process.wait()
    eventually(lambda: not any(processes(h, "-m nodes") for h in lab.hosts), "without a harness the nodes end")
    later = doctor(lab, tmp_path)
    assert later.said.count("removed /var/tmp/moonquake/runs/") == len(lab.hosts), later.said
    assert all(bare(host) for host in lab.hosts)


def test_a_connection_that_dies_in_mid_partition(lab: SshLab, tmp_path: Path) -> None:
    command = in_mid_partition(lab, tmp_path, "ssh", lease="60s")
    host = next(host for host in lab.hosts if cut(host))
    kill(host, processes(host, "sshd: root"))
    eventually(lambda: not cut(host), "the host that lost us undoes its cuts, long before the lease is over")
    assert command.process.wait(LIMIT_S) == 4, command.said
    assert f"host {host.name} " in command.said
    assert all(bare(host) for host in lab.hosts)


def test_a_warden_that_is_killed_in_mid_partition(lab: SshLab, tmp_path: Path) -> None:
    """Its guardian undoes the faults; the kernel kills the nodes with it."""
    command = in_mid_partition(lab, tmp_path, "ssh", lease="60s")
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
    changes: dict[str, Any] = {"key": str(tmp_path / "other")}
    if known != "key":
        other = (tmp_path / "other.pub").read_text().strip()
        lines = [f"{host.address} {other}\n" for host in lab.hosts] if known else []
        (tmp_path / "known_hosts").write_text("".join(lines))
        changes = {"known_hosts": str(tmp_path / "known_hosts")}
    command = moonquake(lab, tmp_path, "ssh", "fault-free", str(lab.file(**changes)))
    assert command.process.wait(LIMIT_S) == 4, command.said
    assert cure in command.document()["error"]
    assert not command.runs.exists()
