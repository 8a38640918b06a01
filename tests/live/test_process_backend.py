"""The process backend on real Supra nodes: blocks, cuts, shapes, deaths, pauses, and nothing left behind."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from faults.byzantine.config import BehaviourSpec, ByzantineConfig
from faults.port import Link, Roster, Shape, UnsupportedError
from harness.backends import leftovers, process
from harness.backends.port import ClusterSpec, MachineError, NodeSpec
from harness.backends.ports import free_ports
from harness.backends.process import ProcessBackend, ProcessCluster
from harness.backends.processes import process_ident, process_start
from harness.http import HttpClient
from nodes.crypto import Domain, Ed25519Signer
from nodes.messages import encode
from nodes.wallet import Wallet
from results.trace import read_trace
from tests.live.clusterfiles import genesis, public_of, seed_of

pytestmark = pytest.mark.live
ROOT = Path(__file__).resolve().parents[2]
MESH = 20.0  # ms one way


def spec_of(directory: Path, tribe: int = 4, gateways: int = 1, run_id: str = "test-backend") -> ClusterSpec:
    config = genesis(tribe, gateways, wallets=2)
    nodes = tuple(m.id for m in config.tribe)
    riders = tuple(m.id for m in config.gateways)
    everyone = nodes + riders
    return ClusterSpec(
        name="test",
        run_id=run_id,
        directory=directory,
        config=config,
        roster=Roster(nodes, riders, config.clans),
        nodes=tuple(NodeSpec(n, "tribe" if n in nodes else "gateway", seed_of(n).hex()) for n in everyone),
        base={(a, b): Shape(delay_ms=MESH) for a in everyone for b in everyone if a != b},
        needs=frozenset(),
    )


@asynccontextmanager
async def cluster(directory: Path, **keywords: Any) -> AsyncIterator[ProcessCluster]:
    async with ProcessBackend().up(spec_of(directory, **keywords)) as running:
        yield running


async def until(condition: Callable[[], Awaitable[bool]], timeout_s: float = 90.0) -> None:
    async with asyncio.timeout(timeout_s):
        while not await condition():  # noqa: ASYNC110  (what changes is in another process)
            await asyncio.sleep(0.1)


async def heights_grow(running: ProcessCluster, nodes: Iterable[str], by: int = 3) -> None:
    names = list(nodes)
    start = {n: (await running.status(n)).height for n in names}

    async def grown() -> bool:
        return all([(await running.status(n)).height >= start[n] + by for n in names])

    await until(grown)


async def silent(running: ProcessCluster, links: list[Link]) -> bool:
    """Between two readings something was tried on every link, and nothing arrived on any."""
    before = await running.counters()
    await until(lambda: _tried(running, links, before))
    after = await running.counters()
    return all(after[link].received == before[link].received for link in links)


async def _tried(running: ProcessCluster, links: list[Link], before: dict[Link, Any]) -> bool:
    now = await running.counters()
    return all(now[link].sent >= before[link].sent + 3 for link in links)


async def flowing(running: ProcessCluster, links: list[Link]) -> None:
    before = await running.counters()

    async def arrived() -> bool:
        now = await running.counters()
        return all(now[link].received > before[link].received for link in links)

    await until(arrived)


async def test_a_cluster_finalises_blocks_and_executes_a_transfer(tmp_path: Path) -> None:
    async with cluster(tmp_path) as running:
        await heights_grow(running, running.roster.nodes, by=10)
        wallet = Wallet(Ed25519Signer(seed_of("w0")), Domain("test", 0, 0))
        transfer = wallet.transfer(0, bytes.fromhex(public_of("w1")), 250)
        async with HttpClient() as http:

            async def ask(method: str, path: str, body: bytes = b"") -> tuple[int, Any]:
                status, answer = await http.request(method, running.gateways["g0"], path, body, timeout_s=60)
                return status, msgspec.json.decode(answer)

            code, accepted = await ask("POST", "/transactions", encode(transfer))
            assert code == 202, accepted
            _, status = await ask("GET", f"/transactions/{accepted['tx']}?wait=exec&timeout_s=50")
            assert (status["phase"], status["outcome"]) == ("exec", "applied")
            assert (await ask("GET", f"/accounts/{public_of('w1')}"))[1]["balance"] == 1_000_250
            assert (await ask("GET", "/blocks/1"))[1]["height"] == 1
        rtt = await running.rtt_ms(("n0", "n1"))
        assert rtt is not None and rtt >= 2 * MESH - 1
        pids = [running.status(n) for n in running.roster.nodes]
        living = [s.pid for s in await asyncio.gather(*pids)]
        await running.stop()
        for node in running.roster.nodes:
            events = [e["event"] for e in read_trace(running.trace_file(node))]
            assert events[0] == "start" and "finalise" in events and "execute" in events
    assert [process_start(pid) for pid in living] == [None] * 5
    assert not (leftovers._directory() / "test-backend.jsonl").exists()


async def test_cuts_bite_are_counted_and_heal(tmp_path: Path) -> None:
    async with cluster(tmp_path) as running:
        await heights_grow(running, running.roster.tribe)
        isolate = [(a, b) for a in running.roster.nodes for b in running.roster.nodes if a != b and "n3" in (a, b)]
        await running.cut(isolate)
        await running.cut([("n3", "n0")])
        await running.heal([("n3", "n0")])
        assert await silent(running, isolate)
        counters = await running.counters()
        assert counters["n0", "n3"].dropped > 0
        await heights_grow(running, ["n0", "n1", "n2", "g0"])
        with pytest.raises(ValueError, match="not cut"):
            await running.heal([("n0", "n1")])
        await running.heal(isolate)
        await flowing(running, isolate)
        behind = (await running.status("n0")).height

        async def caught_up() -> bool:
            return (await running.status("n3")).height >= behind

        await until(caught_up)


async def test_shapes_change_what_is_measured_and_go_back(tmp_path: Path) -> None:
    async with cluster(tmp_path, tribe=4, gateways=0) as running:
        await flowing(running, [("n0", "n1"), ("n1", "n0")])

        async def slow() -> bool:
            return (await running.rtt_ms(("n0", "n1")) or 0) >= 2 * MESH + 300 - 1

        async def fast() -> bool:
            return (await running.rtt_ms(("n0", "n1")) or 1e9) < 2 * MESH + 250

        await until(fast)
        await running.shape([("n0", "n1")], Shape(delay_ms=300, jitter_ms=0, rate_kbit=8000))
        await until(slow)
        await running.unshape([("n0", "n1")])
        await until(fast)
        with pytest.raises(UnsupportedError, match="--backend docker"):
            await running.shape([("n0", "n1")], Shape(loss=0.1))
        with pytest.raises(KeyError, match="no link n0>n9"):
            await running.cut([("n0", "n9")])


async def test_kill_restart_disk_loss_and_pause(tmp_path: Path) -> None:
    async with cluster(tmp_path) as running:
        await heights_grow(running, running.roster.tribe, by=5)
        before = await running.status("n1")
        await running.kill("n1")
        assert not (await running.status("n1")).up and process_start(before.pid) is None
        await running.start("n1")
        again = await running.status("n1")
        assert again.up and again.incarnation == 2 and again.pid != before.pid
        assert again.height >= before.height
        await running.kill("n1")
        await running.wipe("n1")
        await running.start("n1")
        restarts = [e for e in read_trace(running.trace_file("n1")) if e["event"] in ("start", "restart")]
        assert [e.get("recovered", -1) > 0 for e in restarts] == [False, True, False]
        assert restarts[-1]["recovered"] == 0 and restarts[-1]["incarnation"] == 3
        await running.pause("n2")
        assert not (await running.status("n2")).up
        await heights_grow(running, ["n0", "n3"])
        await running.resume("n2")
        await heights_grow(running, running.roster.nodes)


async def test_a_window_opens_when_the_load_starts_and_for_a_node_that_starts_again(tmp_path: Path) -> None:
    spec = spec_of(tmp_path)
    late = BehaviourSpec(1, "silent-leader", from_ns=1_000_000_000)
    coalition = ByzantineConfig("n0", {"n0": seed_of("n0").hex()}, "", 1, (late,))
    nodes = tuple(msgspec.structs.replace(n, byzantine=coalition) if n.id == "n0" else n for n in spec.nodes)
    roster = msgspec.structs.replace(spec.roster, byzantine=("n0",))

    async with ProcessBackend().up(msgspec.structs.replace(spec, nodes=nodes, roster=roster)) as running:

        def dropped(incarnation: int) -> list[int]:
            """Times at which n0's receipt said that it was silent."""
            lines = running.trace_file("n0").read_bytes().split(b"\n")[:-1]  # the last one may be half written
            events = [e for e in map(msgspec.json.decode, lines) if e["event"] == "behaviour"]
            return [e["time"] for e in events if e["incarnation"] == incarnation and e["dropped"] > 0]

        await heights_grow(running, running.roster.honest, by=10)
        assert dropped(1) == []
        load_start = running.now()

        async def bites(incarnation: int) -> bool:
            running.announce_load(load_start)
            return bool(dropped(incarnation))

        await until(lambda: bites(1))
        assert dropped(1)[0] >= load_start + 1_000_000_000
        await running.kill("n0")
        running.announce_load(load_start)  # nobody listens
        await running.start("n0")
        await until(lambda: bites(2))


async def test_a_port_that_is_taken_is_tried_again_then_explained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocked = free_ports(1)[0]
    attempts: list[list[int]] = []

    def taken(count: int, host: str = "127.0.0.1") -> list[int]:
        ports = free_ports(count, host)
        attempts.append(ports)
        return [*ports[:-1], blocked]

    monkeypatch.setattr(process, "free_ports", taken)
    from socket import create_server

    with create_server(("127.0.0.1", blocked)), pytest.raises(MachineError, match="ports keep being taken"):
        async with cluster(tmp_path, tribe=2, gateways=0):
            pytest.fail("came up on a port that is taken")
    assert len(attempts) == 3


HARNESS = """
import asyncio, sys
from pathlib import Path
from tests.live.test_process_backend import cluster

async def main():
    async with cluster(Path(sys.argv[1]), tribe=2, gateways=0, run_id="killed-harness"):
        Path(sys.argv[1], "up").touch()
        await asyncio.sleep(600)

asyncio.run(main())
"""


def test_what_a_killed_harness_leaves_is_swept(tmp_path: Path) -> None:
    state = tmp_path / "state"
    (state / "bin").mkdir(parents=True)
    environment = {**os.environ, "MOONQUAKE_STATE": str(state)}
    server = asyncio.run(_toxiproxy())
    (state / "bin" / "toxiproxy-server").symlink_to(server)
    harness = subprocess.Popen([sys.executable, "-c", HARNESS, str(tmp_path)], cwd=ROOT, env=environment)
    _wait(lambda: (tmp_path / "up").exists() or harness.poll() is not None)
    assert harness.poll() is None
    stray = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    try:
        script = (
            "from harness.backends import leftovers as l, processes as p\n"
            f"l.register('gone', l.PROCESS, p.process_ident({stray.pid}))\n"
            f"l.register('gone', l.PROCESS, '{other.pid}:1')\n"
        )
        subprocess.run([sys.executable, "-c", script], cwd=ROOT, env=environment, check=True)
        sweep = "from harness.backends.leftovers import sweep; import json; print(json.dumps(sweep()))"
        swept = [sys.executable, "-c", sweep]
        first = subprocess.run(swept, cwd=ROOT, env=environment, check=True, capture_output=True, text=True)
        assert f"ended process {stray.pid}" in first.stdout and str(other.pid) not in first.stdout
        assert stray.wait(10) == -signal.SIGKILL and other.poll() is None
        children = [line.split('"ident":"')[1].split('"')[0] for line in _registered(state)]
        assert len(children) == 3 and all(process_ident(int(c.split(":")[0])) == c for c in children)
        harness.kill()
        harness.wait()
        subprocess.run(swept, cwd=ROOT, env=environment, check=True)
        _wait(lambda: all(process_start(int(c.split(":")[0])) is None for c in children))
        assert not list((state / "leftovers").iterdir())
    finally:
        for one in (harness, stray, other):
            one.kill()
            one.wait()


def _registered(state: Path) -> list[str]:
    return (state / "leftovers" / "killed-harness.jsonl").read_text().splitlines()


async def _toxiproxy() -> Path:
    return await asyncio.to_thread(process.ensure_toxiproxy, lambda text: None)


def _wait(condition: Callable[[], bool], timeout_s: float = 60.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.05)
