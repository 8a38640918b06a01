"""Backend docker over the engines of several hosts: real faults, real ends of whoever is in charge, nothing left."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.backends.docker import DockerBackend
from tests.live import host_engine
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
    traces,
)
from tests.live.ssh_lab import SshLab, TestHost

pytestmark = [pytest.mark.live, pytest.mark.docker, pytest.mark.usefixtures("ended")]

FAULTS = """
[adversary]
amnesiacs = 1
crashes = 1
[[fault]]
use = "disk-full"
victims = ["n1"]
from = "1s"
until = "3s"
[[fault]]
use = "partition"
topology = "bridge"
from = "4s"
until = "8s"
[[fault]]
use = "crash"
victims = ["n1"]
from = "9s"
until = "11s"
[[fault]]
use = "disk-loss"
victims = ["n1"]
from = "16s"
until = "18s"
"""
CORRUPTED = """
[adversary]
nodes = 1
[[adversary.behaviour]]
use = "equivocating-leader"
from = "1s"
until = "5s"
[[fault]]
use = "clock-skew"
skew_ms = 100
victims = "one"
from = "1s"
until = "4s"
[[fault]]
use = "pause"
victims = "one"
from = "5s"
until = "7s"
"""


@pytest.fixture(scope="module")
def lab(docker_backend: DockerBackend, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshLab]:
    """Two hosts with an engine each, used by one test after the other."""
    with made_hosts(tmp_path_factory.mktemp("engines"), 2, engines=True) as made:
        for host in made.hosts:
            host_engine.start(host)
        yield made


def empty(host: TestHost) -> bool:
    """No container, and nothing of a run."""
    assert not host_engine.containers(host)
    return bare(host)


def test_partitions_crashes_and_disks_over_two_engines(lab: SshLab, tmp_path: Path) -> None:
    """One after the other, with time in between for a busy machine to bring the victim back."""
    document = judged(lab, tmp_path, "docker", scenario(tmp_path, "19s", FAULTS))
    assert document["as_expected"] and document["layer"] == "nft+nfqueue"
    (receipts,) = [v for v in document["verdicts"] if v["property"] == "receipts"]
    assert receipts["status"] == "PASS" and receipts["examined"] == 4
    history = (Path(document["run"]) / "history.jsonl").read_text()
    assert "n1 stopped for it" in history and "1 disks have room again" in history
    logs = Path(document["run"]) / "logs"
    assert {path.stem for path in logs.glob("[ng][0-9].log")} == {"g0", *(f"n{i}" for i in range(4))}
    assert all(empty(host) for host in lab.hosts)
    assert all(len(host_engine.images(host)) == 1 for host in lab.hosts)


def test_a_coalition_a_skewed_clock_and_a_pause(lab: SshLab, tmp_path: Path) -> None:
    """Their side channel is a directory of the host's, their behaviour an attack in a file of ours."""
    document = judged(lab, tmp_path, "docker", scenario(tmp_path, "8s", CORRUPTED))
    (receipts,) = [v for v in document["verdicts"] if v["property"] == "receipts"]
    assert receipts["status"] == "PASS" and receipts["examined"] == 3
    assert all(empty(host) for host in lab.hosts)


def test_a_harness_that_stops_in_mid_partition(lab: SshLab, tmp_path: Path) -> None:
    """SIGSTOP: the lease ends the partition, then the containers; their files go with the next command."""
    command = in_mid_partition(lab, tmp_path, "docker", lease="10s")
    try:
        os.kill(command.process.pid, signal.SIGSTOP)
        eventually(lambda: not any(cut(host) for host in lab.hosts), "the hosts undo the partition by themselves")
        assert not any(host.tables() for host in lab.hosts)
    finally:
        command.process.kill()
        command.process.wait()
    eventually(lambda: not any(map(host_engine.containers, lab.hosts)), "without a harness the containers end")
    later = doctor(lab, tmp_path)
    assert later.said.count("removed /var/tmp/moonquake/runs/") == len(lab.hosts), later.said
    assert all(empty(host) for host in lab.hosts)


def test_a_warden_that_is_killed_in_mid_partition(lab: SshLab, tmp_path: Path) -> None:
    """No kernel kills a container with its warden: the guardian ends it, and undoes the faults."""
    command = in_mid_partition(lab, tmp_path, "docker", lease="60s")
    host = next(host for host in lab.hosts if cut(host))
    (warden,) = processes(host, "-m harness.backends.ssh.host.warden")
    kill(host, [warden])
    eventually(lambda: not cut(host) and not host_engine.containers(host), "the guardian undoes what its warden did")
    assert command.process.wait(LIMIT_S) == 4, command.said
    assert "the warden" in command.said and f"host {host.name} " in command.said
    logs = list((command.runs / "small").glob("*/logs/*guardian.log"))
    assert [p for p in logs if "the warden is gone: undid cuts and delays" in p.read_text()], logs
    assert all(empty(host) for host in lab.hosts)


def test_an_engine_that_ends_in_mid_run(lab: SshLab, tmp_path: Path) -> None:
    """The run is void; what the engine still knows of it goes with the next command when the engine is back."""
    command = in_mid_partition(lab, tmp_path, "docker", lease="60s")
    host = lab.hosts[-1]
    try:
        host_engine.stop(host)
        assert command.process.wait(LIMIT_S) == 4, command.said
        assert "Docker engine" in command.said and f"host {host.name} " in command.said
        assert not any(traces(host) for host in lab.hosts)
    finally:
        host_engine.start(host)
    assert host_engine.containers(host) and host.said("ls", "/var/tmp/moonquake/runs")
    later = doctor(lab, tmp_path)
    assert "removed /var/tmp/moonquake/runs/" in later.said and f"host {host.name} " in later.said, later.said
    assert all(empty(host) for host in lab.hosts)


def test_an_engine_that_is_not_there_is_named_with_the_cure(lab: SshLab, tmp_path: Path) -> None:
    """And a user who may not use it; a system that is not ours is refused before anybody is asked."""
    own = {"a": 'engine = "/var/run/none.sock"', "b": 'user = "guest"\ndirectory = "/var/tmp/guest"'}
    hosts = str(lab.file("none.toml", own=own))
    said = moonquake(lab, tmp_path / "run", "docker", "fault-free", hosts)
    assert said.process.wait(LIMIT_S) == 4, said.said
    assert "no Docker engine answers at /var/run/none.sock" in said.document()["error"]
    looked = {check["name"]: check for check in doctor(lab, tmp_path / "doctor", "--hosts", hosts).document()["checks"]}
    (a, b) = (
        looked[f"engine of host {host}"]
        for host in (f"a (root@{lab.hosts[0].address}:22)", f"b (guest@{lab.hosts[1].address}:22)")
    )
    assert not a["ok"] and "docker.io" in a["what"] and not b["ok"] and "usermod -aG docker guest" in b["what"]
    foreign = moonquake(lab, tmp_path / "foreign", "docker", "etcd", hosts)
    assert foreign.process.wait(LIMIT_S) == 3, foreign.said
    assert "leave --hosts away" in foreign.document()["error"]


def test_everything_is_removed_on_request(lab: SshLab, tmp_path: Path) -> None:
    """Runs in force are ended first, and the last word to this lab: images and uploads go, too."""
    command = in_mid_partition(lab, tmp_path / "run", "docker", lease="300s")
    os.kill(command.process.pid, signal.SIGSTOP)  # else it removes what is left, as soon as it loses the first host
    hosts = str(lab.file())
    looked = doctor(lab, tmp_path / "look", "--hosts", hosts).document()["checks"]
    assert [c["what"] for c in looked if c["name"].startswith("engine of host")] == [
        f"Docker {host_engine.version(host)} at /var/run/docker.sock" for host in lab.hosts
    ]
    cleaned = doctor(lab, tmp_path / "clean", "--clean", "--hosts", hosts)
    assert cleaned.process.returncode == 0, cleaned.said
    removed = "\n".join(cleaned.document()["removed"])
    for told in ("a run was in force, and was ended", "removed image moonquake/node:"):
        assert removed.count(told) == len(lab.hosts), removed
    assert not any(map(traces, lab.hosts))
    os.kill(command.process.pid, signal.SIGCONT)
    assert command.process.wait(LIMIT_S) == 4, command.said
    for host in lab.hosts:
        assert not host_engine.containers(host) + host_engine.images(host) + traces(host)
        assert "moonquake" not in host.said("ls", "/var/tmp")
