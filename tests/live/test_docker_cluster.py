"""The docker backend with real nodes: every promise of the cluster port, and nothing left behind."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from faults.byzantine.config import BehaviourSpec, ByzantineConfig
from faults.port import Capability, Shape
from harness.backends.docker import DockerBackend, DockerCluster
from harness.backends.docker_links import PacketLinks
from harness.backends.features import probe
from harness.backends.netem import NetemShaper
from harness.backends.nft import Nft
from harness.backends.port import ClusterSpec
from harness.provision.engine import find_engine
from tests.live.docker_lab import links_between, make_spec

pytestmark = [pytest.mark.live, pytest.mark.docker]

LIMIT_S = 60.0


async def until(cluster: DockerCluster, test: Callable[[], Awaitable[bool]], what: str) -> None:
    deadline = time.monotonic() + LIMIT_S
    while not await test():
        assert time.monotonic() < deadline, f"not within {LIMIT_S:.0f} s: {what}"
        await cluster.sleep(0.05)


async def grows(cluster: DockerCluster, node: str = "n0", by: int = 3) -> None:
    start = (await cluster.status(node)).height

    async def grown() -> bool:
        return (await cluster.status(node)).height >= start + by

    await until(cluster, grown, f"{node} finalises {by} more blocks")


async def received(cluster: DockerCluster, link: tuple[str, str]) -> int:
    return (await cluster.counters())[link].received


@pytest.fixture
async def cluster(docker_backend: DockerBackend, tmp_path: Path) -> AsyncIterator[DockerCluster]:
    async with docker_backend.up(make_spec(tmp_path)) as running:
        yield running


async def test_a_one_way_cut_stops_that_link_only_and_heals(cluster: DockerCluster) -> None:
    link, back = ("n0", "n1"), ("n1", "n0")
    await grows(cluster)
    await cluster.cut([link])

    async def bites() -> bool:
        return (await cluster.counters())[link].dropped > 0

    await until(cluster, bites, "packets of the cut link are dropped")
    settled = await received(cluster, link)
    before = await cluster.counters()

    async def others_move() -> bool:
        now = await cluster.counters()
        return all(now[o].received > before[o].received for o in now if o not in (link, back))

    await until(cluster, others_move, "all other links move")
    now = await cluster.counters()
    assert now[link].received == settled
    # the node below may lose the acknowledgements of its TCP connection, but no packet of its own is dropped
    assert now[back].dropped == 0
    assert {o for o, count in now.items() if count.dropped} == {link}
    await cluster.heal([link])

    async def moves_again() -> bool:
        return await received(cluster, link) > settled

    await until(cluster, moves_again, "the healed link moves")
    with pytest.raises(ValueError, match="not cut"):
        await cluster.heal([link])


async def test_a_split_stops_blocks_and_two_cuts_need_two_heals(cluster: DockerCluster) -> None:
    split = links_between(["n0", "n1"], ["n2", "n3"])
    await grows(cluster)
    await cluster.cut(split)
    await cluster.cut(split)
    await cluster.heal(split)

    async def bites() -> bool:
        counts = await cluster.counters()
        return all(counts[link].dropped for link in split)

    await until(cluster, bites, "every cut link drops")
    stuck = (await cluster.status("n0")).height
    for _ in range(20):  # what was on its way may still finish a block
        await cluster.sleep(0.1)
        stuck = (await cluster.status("n0")).height
    await cluster.sleep(1.0)
    assert (await cluster.status("n0")).height == stuck
    await cluster.heal(split)
    await grows(cluster)


async def test_base_delay_extra_delay_and_loss(docker_backend: DockerBackend, tmp_path: Path) -> None:
    async with docker_backend.up(make_spec(tmp_path, tribe=3, gateways=1, delay_ms=50)) as cluster:
        link = ("n0", "n1")

        def between(low: float, high: float) -> Callable[[], Awaitable[bool]]:
            async def test() -> bool:
                rtt = await cluster.rtt_ms(link)
                return rtt is not None and low <= rtt <= high

            return test

        await until(cluster, between(99, 130), "50 ms each way are a round trip of about 100 ms")
        await cluster.shape([link], Shape(delay_ms=40))
        await until(cluster, between(139, 170), "40 ms more one way")
        await cluster.unshape([link])
        await until(cluster, between(99, 130), "back to the base")
        await cluster.shape([link], Shape(loss=0.5))

        async def loses() -> bool:
            return (await cluster.counters())[link].dropped >= 5

        await until(cluster, loses, "packets are lost")
        assert (await cluster.counters())["n2", "n0"].dropped == 0
        await cluster.unshape([link])
        await grows(cluster)
        assert cluster.layer == probe().layer


async def test_the_netem_layers_classes_tell_senders_apart(cluster: DockerCluster) -> None:
    """With tbf in netem's place, which this kernel may lack: a narrow leaf drops, and only for its own link."""
    ports = cluster._ports()
    shaper = NetemShaper(lambda: ports, leaf=lambda _: "tbf rate 8kbit burst 1600 latency 10ms")
    n0, n1 = cluster._addresses["n0"], cluster._addresses["n1"]
    shaper.shape({(n0, n1): Shape(rate_kbit=8)})

    async def drops() -> bool:
        return shaper.lost().get((n0, n1), 0) > 0

    await until(cluster, drops, "the narrow leaf drops")
    shaper.shape({(n0, n1): Shape(rate_kbit=4)})  # an existing class is changed in place
    assert set(shaper.lost()) == {(n0, n1)}
    await grows(cluster, "n2")


async def test_kill_and_start_keep_the_disk_and_wipe_loses_it(cluster: DockerCluster, tmp_path: Path) -> None:
    data = tmp_path / "nodes" / "n1" / "data"
    await grows(cluster, "n1")
    height = (await cluster.status("n1")).height
    await cluster.kill("n1")
    assert not (await cluster.status("n1")).up
    kept = (data / "wal.log").read_bytes()
    assert kept
    await cluster.start("n1")
    status = await cluster.status("n1")
    assert status.up and status.incarnation == 2 and status.height >= height
    assert (data / "wal.log").read_bytes().startswith(kept[:64])
    with pytest.raises(ValueError, match="kill it first"):
        await cluster.wipe("n1")
    await cluster.kill("n1")
    trace = (data / "trace.jsonl").read_bytes()
    await cluster.wipe("n1")
    assert not (data / "wal.log").exists()
    assert (data / "trace.jsonl").read_bytes() == trace
    await cluster.start("n1")
    assert (await cluster.status("n1")).incarnation == 3
    with pytest.raises(KeyError, match="n9"):
        await cluster.kill("n9")


async def test_pause_freezes_and_resume_thaws(cluster: DockerCluster) -> None:
    await grows(cluster, "n2")
    await cluster.pause("n2")
    assert not (await cluster.status("n2")).up
    await cluster.resume("n2")
    await grows(cluster, "n2")
    await cluster.pause("n2")
    await cluster.kill("n2")  # a paused node can be killed, too
    await cluster.start("n2")
    await grows(cluster, "n2")


async def test_stop_completes_traces_and_leaving_leaves_nothing(docker_backend: DockerBackend, tmp_path: Path) -> None:
    spec = make_spec(tmp_path)
    async with docker_backend.up(spec) as cluster:
        await grows(cluster)
        assert sorted(cluster.gateways) == ["g0"]
        await cluster.pause("n3")
        await cluster.stop()
        for node in cluster.roster.nodes:
            lines = cluster.trace_file(node).read_bytes().splitlines(keepends=True)
            assert lines and lines[-1].endswith(b"\n") and json.loads(lines[-1])["node"] == node
            assert (tmp_path / "logs" / f"{node}.log").exists()
    engine = find_engine()
    assert engine is not None
    with closing(engine.client()) as client:
        assert client.containers.list(all=True, filters={"label": f"moonquake.run={spec.run_id}"}) == []
        assert client.networks.list(filters={"label": f"moonquake.run={spec.run_id}"}) == []
    assert not [name for _, name in Nft().tables("moonquake_") if name.endswith(spec.run_id)]


async def test_a_cluster_that_cannot_start_says_why_and_leaves_nothing(
    docker_backend: DockerBackend, tmp_path: Path
) -> None:
    spec = make_spec(tmp_path)
    broken = [msgspec.structs.replace(n, secret_key="00" * 32) if n.id == "n2" else n for n in spec.nodes]
    with pytest.raises(RuntimeError, match=r"n2 .*\n.*n2"):
        async with docker_backend.up(msgspec.structs.replace(spec, nodes=tuple(broken))):
            pytest.fail("came up with a key that is not in the genesis")
    engine = find_engine()
    assert engine is not None
    with closing(engine.client()) as client:
        assert client.containers.list(all=True, filters={"label": f"moonquake.run={spec.run_id}"}) == []


ATTACK = """
from faults.byzantine.port import Behaviour

class Mute(Behaviour):
    '''Sends nothing to n0.'''
    name = "mute"

    def send(self, node, to, message):
        if to == "n0":
            self.receipt.dropped += 1
        else:
            yield to, message
"""


def corrupt(spec: ClusterSpec, attack: Path) -> ClusterSpec:
    keys = {n.id: n.secret_key for n in spec.nodes if n.id in ("n2", "n3")}
    behaviour = BehaviourSpec(id=1, use=f"{attack}:Mute")
    nodes = [
        msgspec.structs.replace(n, byzantine=ByzantineConfig(n.id, keys, "", 1, (behaviour,))) if n.id in keys else n
        for n in spec.nodes
    ]
    return msgspec.structs.replace(spec, nodes=tuple(nodes), attack_files=(attack,))


async def test_corrupted_nodes_run_an_attack_from_a_file(docker_backend: DockerBackend, tmp_path: Path) -> None:
    attack = tmp_path / "mute.py"
    attack.write_text(ATTACK)
    async with docker_backend.up(corrupt(make_spec(tmp_path / "run"), attack)) as cluster:
        await grows(cluster, "n1")
        await cluster.stop()
        events = [json.loads(line) for line in cluster.trace_file("n3").read_text().splitlines()]
        assert max(e.get("dropped", 0) for e in events if e["event"] == "behaviour") > 0


async def test_without_packets_toxiproxy_carries_the_faults(toxiproxy_server: Path, tmp_path: Path) -> None:
    backend = DockerBackend(packets=False)
    assert Capability.LOSS not in backend.capabilities
    async with backend.up(make_spec(tmp_path, delay_ms=20)) as cluster:
        assert cluster.layer == "toxiproxy" and not isinstance(cluster._links, PacketLinks)
        split = links_between(["n0", "n1"], ["n2", "n3"])
        await grows(cluster)
        await cluster.cut(split)
        before = await received(cluster, ("n0", "n2"))
        await cluster.sleep(1.0)
        assert await received(cluster, ("n0", "n2")) <= before + 1
        await cluster.heal(split)
        await grows(cluster)
