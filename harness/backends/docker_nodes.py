"""One container per node: what is written for it, how it is created, what is mounted where."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import docker
import msgspec
from docker.models.containers import Container

from faults.byzantine.config import ByzantineConfig
from faults.port import NodeId
from harness.backends.docker_network import Place, labels
from harness.backends.node_files import wipe_disk, write_private
from harness.backends.port import ClusterSpec, NodeSpec, ProgramSpec
from nodes.runtime.config import Address, NodeConfig

LINK_PORT, CONTROL_PORT, HTTP_PORT = 7000, 7001, 7002  # every node has an address of its own
MEMORY = "512m"
CPUS = 1.0
PIDS = 256
DATA, CONFIG, GENESIS, COALITION, ATTACK = "/data", "/config", "/genesis.json", "/coalition", "/attack"


def home(spec: ClusterSpec | ProgramSpec, node: NodeId) -> Path:
    """What the node is told, on the host."""
    return spec.directory / "nodes" / node


def data_directory(spec: ClusterSpec, node: NodeId) -> Path:
    """The node's disk, on the host."""
    return home(spec, node) / "data"


def log_file(spec: ClusterSpec | ProgramSpec, node: NodeId) -> Path:
    """What the node printed, on the host."""
    return spec.directory / "logs" / f"{node}.log"


def write_files(
    spec: ClusterSpec, place: Place, start_ns: int, peers: Callable[[NodeId], Mapping[NodeId, Address]]
) -> None:
    """Genesis, node.json, byzantine.json and the empty disks. `peers` says where a node dials each other node."""
    (spec.directory / "logs").mkdir(parents=True, exist_ok=True)
    (spec.directory / "genesis.json").write_bytes(msgspec.json.encode(spec.config))
    for node in spec.nodes:
        data_directory(spec, node.id).mkdir(parents=True, exist_ok=True)
        config = node_config(node, place.addresses[node.id], peers(node.id), start_ns)
        write_private(home(spec, node.id) / "node.json", msgspec.json.encode(config))
        if node.byzantine is not None:
            inside = msgspec.json.encode(_inside(spec, node.byzantine))
            write_private(home(spec, node.id) / "byzantine.json", inside)


def node_config(node: NodeSpec, own: str, peers: Mapping[NodeId, Address], start_ns: int) -> NodeConfig:
    """What the node is told. It listens on its own address only."""
    return NodeConfig(
        id=node.id,
        secret_key=node.secret_key,
        genesis=GENESIS,
        data=DATA,
        listen=(own, LINK_PORT),
        control=(own, CONTROL_PORT),
        peers=dict(peers),
        start_ns=start_ns,
        http=(own, HTTP_PORT) if node.role == "gateway" else None,
    )


def wipe(spec: ClusterSpec, node: NodeId) -> None:
    """Lose the node's disk."""
    wipe_disk(data_directory(spec, node))


class Making(msgspec.Struct, frozen=True):
    """What all containers of a run have in common. `coalition`: the corrupted nodes' side channel, on the host."""

    image: str
    user: str | None
    coalition: Path | None


def create_container(
    client: docker.DockerClient, spec: ClusterSpec, node: NodeSpec, place: Place, made_for: Making
) -> Container:
    """Create (not start) the node's container, with its fixed address and its mounts."""
    command = ["nodes", f"{CONFIG}/node.json"]
    if node.byzantine is not None:
        command = ["faults.byzantine", f"{CONFIG}/node.json", f"{CONFIG}/byzantine.json"]
    endpoint = client.api.create_endpoint_config(ipv4_address=place.addresses[node.id])
    return client.containers.create(
        made_for.image,
        command,
        name=f"moonquake-{spec.run_id}-{node.id}",
        hostname=node.id,
        labels={**labels(spec.run_id), "moonquake.node": node.id},
        network=place.network.name,
        networking_config={place.network.name: endpoint},
        volumes=_mounts(spec, node, made_for.coalition),
        user=made_for.user,
        mem_limit=MEMORY,
        memswap_limit=MEMORY,
        nano_cpus=int(CPUS * 1e9),
        pids_limit=PIDS,
        cap_drop=["ALL"],
        security_opt=["no-new-privileges"],
        log_config={"type": "json-file", "config": {"max-size": "20m"}},
    )


def container_user(client: docker.DockerClient) -> str | None:
    """Whose files the nodes write: ours. Under root, and in a rootless engine, the container's root is us already."""
    options: list[Any] = client.info().get("SecurityOptions") or []
    if os.geteuid() == 0 or any("rootless" in str(option) for option in options):
        return None
    return f"{os.geteuid()}:{os.getegid()}"


def _mounts(spec: ClusterSpec, node: NodeSpec, coalition: Path | None) -> dict[str, dict[str, str]]:
    readable = {home(spec, node.id): CONFIG, spec.directory / "genesis.json": GENESIS}
    writable = {data_directory(spec, node.id): DATA}
    if node.byzantine is not None and coalition is not None:
        writable[coalition] = COALITION
        readable |= {file: _attack_path(number, file) for number, file in enumerate(spec.attack_files)}
    return {
        str(host.resolve()): {"bind": inside, "mode": mode}
        for mounts, mode in ((readable, "ro"), (writable, "rw"))
        for host, inside in mounts.items()
    }


def _attack_path(number: int, file: Path) -> str:
    return f"{ATTACK}/{number}/{file.name}"


def _inside(spec: ClusterSpec, config: ByzantineConfig) -> ByzantineConfig:
    """The side channel is a directory that all corrupted nodes share; attack files have other paths in there."""
    mounted = {str(f.resolve()): _attack_path(n, f) for n, f in enumerate(spec.attack_files)}
    behaviours = []
    for behaviour in config.behaviours:
        file, separator, name = behaviour.use.rpartition(":")
        path = mounted.get(str(Path(file).expanduser().resolve())) if separator else None
        behaviours.append(msgspec.structs.replace(behaviour, use=f"{path}:{name}") if path else behaviour)
    return msgspec.structs.replace(config, side_channel=COALITION, behaviours=tuple(behaviours))
