"""etcd, as Debian packages it, under faults: what it promises holds, and two settings that are known to be wrong are
caught."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from faults.observe import between, eventually, see_links_move
from faults.port import Capability, Roster
from harness.backends.docker import DockerBackend
from harness.backends.port import MachineError, ProgramSpec
from harness.backends.process import ProcessBackend
from harness.backends.program_cluster import ProgramCluster
from harness.targets.debian import DebianPackage
from harness.targets.etcd import BINARY, Etcd
from harness.targets.port import Program, Site
from tests.live import scenario_run

pytestmark = pytest.mark.live
TEN_DAYS = "+864000s"
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
    """One node whose C library says that it is ten days later."""

    binaries = (*Etcd.binaries, FAKETIME)

    def program(self, site: Site, node: str, members: Sequence[str], state: str) -> Program:
        program = super().program(site, node, members, state)
        preloaded = f"{site.binary(FAKETIME.name)}:{program.environment['LD_PRELOAD']}"
        shifted = {**program.environment, "LD_PRELOAD": preloaded, "FAKETIME": TEN_DAYS}
        return Program(node, program.arguments, program.files, shifted)


async def test_libfaketime_does_not_reach_a_go_program(tmp_path: Path) -> None:
    """Why clock skew is refused for targets in Go: under the very library etcd's log shows the machine's day, where
    `date` shows the one that the library was told."""
    roster = Roster(("n0",), (), ())
    spec = ProgramSpec("faketime", f"faketime-{os.getpid()}", tmp_path, roster, {}, Shifted(roster, 1), 1)
    days = [await day({})]
    async with ProcessBackend().up(spec) as cluster:
        assert isinstance(cluster, ProgramCluster)
        later = await day({"LD_PRELOAD": cluster.site.binary(FAKETIME.name), "FAKETIME": TEN_DAYS})
        log = (tmp_path / "logs" / "n0.log").read_text()
    days.append(await day({}))  # midnight may have come
    assert later not in days
    assert any(f'"ts":"{today}' in log for today in days) and f'"ts":"{later}' not in log


async def day(environment: dict[str, str]) -> str:
    """What `date` says in this environment."""
    process = await asyncio.create_subprocess_exec(
        "date", "-u", "+%F", stdout=asyncio.subprocess.PIPE, env={"PATH": os.environ["PATH"], **environment}
    )
    return (await process.communicate())[0].decode().strip()


async def test_a_cut_is_counted_by_the_kernel_and_one_way_where_asked(tmp_path: Path) -> None:
    roster = Roster(("n0", "n1", "n2"), (), ())
    spec = ProgramSpec("oneway", f"oneway-{os.getpid()}", tmp_path, roster, {}, Etcd(roster, 1), 1)
    async with ProcessBackend().up(spec) as cluster:
        assert isinstance(cluster, ProgramCluster)
        await cluster.sleep(2)
        await cluster.cut([("n0", "n1")])
        await cluster.sleep(1)  # what was in flight has arrived
        before = await cluster.counters()

        async def used() -> bool:
            """Something was tried on the link that is cut, and something came over two that are not."""
            moved = between(before, await cluster.counters(), before)
            assert moved["n0", "n1"].received == 0, "the cut leaks"
            return moved["n0", "n1"].sent > 0 and moved["n1", "n0"].received > 0 and moved["n2", "n1"].received > 0

        assert await eventually(cluster, used, 60)
        await cluster.heal([("n0", "n1")])
        assert not await see_links_move(cluster, [("n0", "n1")], 60)
