"""An internal network of our own: free subnet, fixed addresses, a bridge whose name we know, nothing published."""

from __future__ import annotations

import ipaddress
import os
import platform
import secrets
import socket
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from random import Random

import docker
import docker.errors
import msgspec
from docker.models.containers import Container
from docker.models.networks import Network
from docker.types import IPAMConfig, IPAMPool

from harness.backends.packets import choose_subnet
from harness.backends.port import MachineError
from harness.backends.processes import process_ident

LABEL_RUN = "moonquake.run"
LABEL_OWNER = "moonquake.owner"  # pid:start of the harness
LABEL_HOST = "moonquake.host"
SYSFS = Path("/sys/class/net")
ATTEMPTS = 8


class Place(msgspec.Struct, frozen=True):
    """A network that exists. `bridge` is this host's interface; `addresses` are fixed, one per node."""

    network: Network
    bridge: str
    gateway: str
    addresses: Mapping[str, str]

    @property
    def local(self) -> bool:
        """Is the bridge on this host (and not in some virtual machine of the engine's)?"""
        return (SYSFS / self.bridge).exists()


def labels(run_id: str) -> dict[str, str]:
    """What every container and network of a run carries; `clean` goes by it."""
    return {LABEL_RUN: run_id, LABEL_OWNER: process_ident(os.getpid()), LABEL_HOST: platform.node()}


def create_network(client: docker.DockerClient, run_id: str, nodes: Sequence[str]) -> Place:
    """Create the run's network. Raises MachineError when no subnet of 198.18.0.0/15 is free."""
    failure = ""
    for _ in range(ATTEMPTS):
        try:
            subnet = choose_subnet(
                [*_engine_subnets(client), *_host_subnets()], len(nodes), Random(secrets.token_hex(8))
            )
        except ValueError as error:
            raise MachineError(str(error)) from error
        hosts = subnet.hosts()
        gateway = str(next(hosts))
        addresses = {node: str(address) for node, address in zip(nodes, hosts, strict=False)}
        bridge = f"mq{secrets.token_hex(5)}"
        try:
            network = client.networks.create(
                f"moonquake-{run_id}",
                driver="bridge",
                internal=True,
                labels=labels(run_id),
                options={"com.docker.network.bridge.name": bridge},
                ipam=IPAMConfig(pool_configs=[IPAMPool(subnet=str(subnet), gateway=gateway)]),
            )
        except docker.errors.APIError as error:  # somebody took the subnet in between
            failure = str(error.explanation or error)
            continue
        return Place(network=network, bridge=bridge, gateway=gateway, addresses=addresses)
    raise MachineError(f"the engine refused {ATTEMPTS} subnets; `moonquake doctor --clean` may free some: {failure}")


def bridge_ports(containers: Mapping[str, Container]) -> dict[str, str]:
    """Address -> this host's end of the container's veth pair, for the containers that run."""
    names = dict(socket.if_nameindex())
    ports = {}
    for address, container in containers.items():
        container.reload()
        pid = int(container.attrs["State"]["Pid"])
        link = Path(f"/proc/{pid}/root/sys/class/net/eth0/iflink")
        if pid and link.exists():
            index = int(link.read_text())
            if index in names:
                ports[address] = names[index]
    return ports


def remove_network(client: docker.DockerClient, name: str) -> None:
    """Remove a network; containers still attached (an engine may leak endpoints) are disconnected by force first."""
    try:
        network = client.networks.get(name)
    except docker.errors.NotFound:
        return
    for endpoint in network.attrs.get("Containers") or {}:
        network.disconnect(endpoint, force=True)
    network.remove()


def _engine_subnets(client: docker.DockerClient) -> list[str]:
    pools = [(network.attrs.get("IPAM") or {}).get("Config") or () for network in client.networks.list()]
    return [str(pool.get("Subnet", "")) for config in pools for pool in config]


def _host_subnets() -> Iterable[str]:
    """Subnets that this host routes already (other engines, VPNs)."""
    try:
        rows = [line.split() for line in Path("/proc/net/route").read_text().splitlines()[1:]]
    except OSError:
        return []
    return [_route(row[1], row[7]) for row in rows if row[7] != "00000000"]


def _route(destination: str, mask: str) -> str:
    def text(value: str) -> str:
        return str(ipaddress.IPv4Address(socket.ntohl(int(value, 16))))

    return f"{text(destination)}/{text(mask)}"
