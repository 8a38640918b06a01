"""etcd, as Debian packages it, under faults: what it promises holds, and two settings that are known to be wrong are
caught."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from random import Random

import pytest

from faults.port import Capability, Roster
from harness.backends.docker import DockerBackend
from harness.backends.port import MachineError, ProgramSpec
from harness.backends.process import ProcessBackend
from harness.backends.program_cluster import ProgramCluster
from harness.targets.debian import DebianPackage
from harness.targets.driver import TargetDriver
from harness.targets.etcd import BINARY, Etcd
from harness.targets.port import Program, Site
from harness.workloads.registers import Registers
from tests.live import scenario_run

pytestmark = pytest.mark.live
FAKETIME = DebianPackage("libfaketime.so.1", "0.9.10", "libfaketime", "usr/lib/*/faketime/libfaketime.so.1")


@pytest.fixture(scope="module", autouse=True)
def etcd(toxiproxy_server: Path) -> Path:
    """The program, provided once."""
    try:
        return BINARY.provide(lambda _: None)
    except MachineError as error:
        pytest.skip(f"no etcd on this machine: {error}")


def test_registers_stay_linearizable_on_processes_and_in_containers(
    tmp_path: Path, docker_backend: DockerBackend
) -> None:
    places = ["process", *(["docker"] if Capability.PROGRAM in docker_backend.capabilities else [])]
    for found in scenario_run.side_by_side(tmp_path, *(("etcd", place) for place in places)):
        assert found == dict.fromkeys(("liveness", "linearizable", "receipts"), "PASS")


def test_lists_stay_serialisable_while_members_change(tmp_path: Path) -> None:
    found = scenario_run.run(tmp_path, "etcd-lists", "process")
    assert found == dict.fromkeys(("liveness", "elle-list-append", "receipts"), "PASS")


def test_what_is_known_to_be_wrong_is_caught(tmp_path: Path) -> None:
    asked = (("etcd-serializable-reads", "process"), ("etcd-blind-lists", "process"))
    reads, lists = scenario_run.side_by_side(tmp_path, *asked)
    assert (reads["linearizable"], reads["receipts"]) == ("FAIL", "PASS")
    assert (lists["elle-list-append"], lists["receipts"]) == ("FAIL", "PASS")


class Shifted(Etcd):
    """One node whose C library says that it is a day later."""

    def program(self, site: Site, node: str, members: tuple[str, ...], state: str) -> Program:  # type: ignore[override]
        program = super().program(site, node, members, state)
        preloaded = f"{site.binary(FAKETIME.name)}:{program.environment['LD_PRELOAD']}"
        shifted = {**program.environment, "LD_PRELOAD": preloaded, "FAKETIME": "+86400s"}
        return Program(node, program.arguments, program.files, shifted)

    binaries = (*Etcd.binaries, FAKETIME)


async def test_libfaketime_does_not_reach_a_go_program(tmp_path: Path) -> None:
    """Why clock skew is refused for targets in Go: etcd's log shows the machine's day, `date` in its place the next."""
    roster = Roster(("n0",), (), ())
    target = Shifted(roster, 1)
    spec = ProgramSpec("faketime", f"faketime-{os.getpid()}", tmp_path, roster, {}, target, 1)
    async with ProcessBackend().up(spec) as cluster:
        assert isinstance(cluster, ProgramCluster)
        site = cluster.site
        environment = {"LD_PRELOAD": site.binary(FAKETIME.name), "FAKETIME": "+86400s", "PATH": os.environ["PATH"]}
        date = await asyncio.create_subprocess_exec("date", "-u", "+%F", stdout=-1, env=environment)
        tomorrow = (await date.communicate())[0].decode().strip()
        true = await asyncio.create_subprocess_exec("date", "-u", "+%F", stdout=-1)
        today = (await true.communicate())[0].decode().strip()
        log = (tmp_path / "logs" / "n0.log").read_text()
    assert tomorrow > today
    assert f'"ts":"{today}' in log and f'"ts":"{tomorrow}' not in log


async def test_a_cut_is_counted_by_the_kernel_and_one_way_where_asked(tmp_path: Path) -> None:
    roster = Roster(("n0", "n1", "n2"), (), ())
    spec = ProgramSpec("oneway", f"oneway-{os.getpid()}", tmp_path, roster, {}, Etcd(roster, 1), 1)
    async with ProcessBackend().up(spec) as cluster:
        assert isinstance(cluster, ProgramCluster)
        await cluster.sleep(2)
        await cluster.cut([("n0", "n1")])
        await cluster.sleep(1)
        before = await cluster.counters()
        driver = TargetDriver(cluster._target, Registers(roster.tribe, Random(1)))
        for number in range(4):
            await driver.perform(driver.next(number), [cluster.clients()["n2"]])
        await cluster.sleep(3)
        after = await cluster.counters()
        await cluster.heal([("n0", "n1")])

    def grew(link: tuple[str, str]) -> tuple[int, int]:
        return after[link].sent - before[link].sent, after[link].received - before[link].received

    assert grew(("n0", "n1"))[0] > 0 and grew(("n0", "n1"))[1] == 0
    assert grew(("n1", "n0"))[1] > 0 and grew(("n2", "n1"))[1] > 0
