"""What is written for a container and mounted into it."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from faults.byzantine.config import BehaviourSpec, ByzantineConfig
from harness.backends import docker_nodes
from harness.backends.docker_network import Place
from harness.backends.port import ClusterSpec
from nodes.runtime.config import NodeConfig
from tests.live.docker_lab import make_spec


def corrupted(directory: Path, attack: Path) -> ClusterSpec:
    spec = make_spec(directory)
    uses = (f"{attack}:Liar", "equivocating-leader", "elsewhere/other.py:Other")
    behaviours = tuple(BehaviourSpec(id=i, use=use) for i, use in enumerate(uses))
    config = ByzantineConfig("n1", {"n1": "00"}, "", 7, behaviours)
    nodes = [msgspec.structs.replace(n, byzantine=config) if n.id == "n1" else n for n in spec.nodes]
    return msgspec.structs.replace(spec, nodes=tuple(nodes), attack_files=(attack,))


def write(spec: ClusterSpec) -> None:
    addresses = {node.id: f"198.18.0.{i + 2}" for i, node in enumerate(spec.nodes)}
    place = Place(network=None, bridge="mq0", gateway="198.18.0.1", addresses=addresses)
    peers = {n: (a, docker_nodes.LINK_PORT) for n, a in addresses.items()}
    docker_nodes.write_files(spec, place, 123, lambda node: {n: a for n, a in peers.items() if n != node})


def test_every_node_listens_on_its_own_address_and_gateways_serve_http(tmp_path: Path) -> None:
    spec = make_spec(tmp_path)
    write(spec)
    read = {n.id: (tmp_path / "nodes" / n.id / "node.json") for n in spec.nodes}
    configs = {n: msgspec.json.decode(path.read_bytes(), type=NodeConfig) for n, path in read.items()}
    assert configs["n2"].listen == ("198.18.0.4", 7000)
    assert sorted(configs["n2"].peers) == ["g0", "n0", "n1", "n3"]
    assert configs["n2"].http is None and configs["g0"].http == ("198.18.0.6", 7002)
    assert {c.start_ns for c in configs.values()} == {123}
    assert (read["n2"].stat().st_mode & 0o777) == 0o600  # it holds a key


def test_attack_files_have_their_path_inside_and_only_corrupted_nodes_see_them(tmp_path: Path) -> None:
    attack = tmp_path / "my attack.py"
    attack.write_text("class Liar: ...")
    spec = corrupted(tmp_path / "run", attack)
    write(spec)
    inside = msgspec.json.decode((tmp_path / "run/nodes/n1/byzantine.json").read_bytes(), type=ByzantineConfig)
    assert [b.use for b in inside.behaviours] == [
        "/attack/0/my attack.py:Liar", "equivocating-leader", "elsewhere/other.py:Other",
    ]  # fmt: skip
    assert inside.side_channel == "/coalition"
    mounts = {n.id: docker_nodes._mounts(spec, n, tmp_path / "side") for n in spec.nodes}
    assert mounts["n1"][str(attack)] == {"bind": "/attack/0/my attack.py", "mode": "ro"}
    assert str(tmp_path / "side") in mounts["n1"] and str(tmp_path / "side") not in mounts["n0"]
    assert sorted(m["bind"] for m in mounts["n0"].values()) == ["/config", "/data", "/genesis.json"]


def test_a_wipe_spares_what_the_lab_observed(tmp_path: Path) -> None:
    spec = make_spec(tmp_path)
    write(spec)
    data = docker_nodes.data_directory(spec, "n0")
    for name in ("wal.log", "trace.jsonl", "incarnation"):
        (data / name).write_text("x")
    (data / "snapshots").mkdir()
    docker_nodes.wipe(spec, "n0")
    assert sorted(p.name for p in data.iterdir()) == ["incarnation", "trace.jsonl"]


def test_user_of_the_containers(monkeypatch: pytest.MonkeyPatch) -> None:
    class Client:
        def __init__(self, *options: str) -> None:
            self.options = list(options)

        def info(self) -> dict[str, list[str]]:
            return {"SecurityOptions": self.options}

    monkeypatch.setattr("os.geteuid", lambda: 1000)
    monkeypatch.setattr("os.getegid", lambda: 1001)
    assert docker_nodes.container_user(Client()) == "1000:1001"
    assert docker_nodes.container_user(Client("name=rootless")) is None
    monkeypatch.setattr("os.geteuid", lambda: 0)
    assert docker_nodes.container_user(Client()) is None
