"""Backend `docker` with --hosts: one cluster over the Docker engines of several hosts, under the wardens of ssh.

A host's warden has its engine start the nodes as containers; everything else is as if they were processes there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec

from faults.port import Capability
from harness.backends.port import ClusterSpec
from harness.backends.ssh import engines
from harness.backends.ssh.backend import SshBackend, look_over
from harness.backends.ssh.cluster import SshCluster
from harness.backends.ssh.connection import Connection
from harness.backends.ssh.hosts import Host, Hosts, read_hosts
from harness.backends.ssh.removal import fresh
from harness.outcome import MachineError


class DockerHostsCluster(SshCluster):
    """Nodes as containers on other hosts."""

    backend = "docker"

    def __init__(
        self,
        spec: ClusterSpec,
        hosts: Hosts,
        paths: Mapping[str, str],
        capabilities: frozenset[Capability],
        layer: str,
        sockets: Mapping[str, str],
        image: str,
    ) -> None:
        """`sockets`: the engine's on each host."""
        super().__init__(spec, hosts, paths, capabilities, layer)
        self._sockets, self._image = sockets, image

    def _warden_words(self, host: Host) -> tuple[str, ...]:
        return self._sockets[host.name], self._image


class DockerHostsBackend(SshBackend):
    """See SshBackend."""

    name = "docker"
    bears = "look whether the engine was restarted or somebody ended its containers, or set a longer `lease`"

    def __init__(self, named: str) -> None:
        super().__init__(named)
        self._sockets: dict[str, str] = {}
        self._image: engines.NodeImage | None = None

    def prepare(self, progress: Callable[[str], None]) -> None:
        """See SshBackend; before that the image is made here."""
        read_hosts(self._named)  # a file that makes no sense is refused before an image is made
        self._image = engines.NodeImage(progress)
        super().prepare(progress)

    def _equip(self, connection: Connection, path: str, progress: Callable[[str], None]) -> None:
        assert self._image is not None
        self._sockets[connection.host.name] = engines.provide(connection, path, self._image, progress)

    def _cluster(self, spec: ClusterSpec, hosts: Hosts) -> SshCluster:
        assert self._image is not None
        return DockerHostsCluster(
            spec, hosts, self._paths, self.capabilities, self._layer, self._sockets, self._image.tag
        )


class Looked(msgspec.Struct, frozen=True):
    """What a host can do, for `moonquake doctor`: what it lacks, its engine, and why that cannot be used."""

    where: str
    lacks: str
    engine: str
    why: str


def look(named: str, progress: Callable[[str], None]) -> list[Looked]:
    """Every host, whether it can be used or not. Uploads what is missing. Raises UsageError for the file."""
    found = []
    for host in read_hosts(named).hosts:
        try:
            with fresh(host) as connection:
                path, missing = look_over(connection, progress)
                said = engines.examine(connection, path)
        except MachineError as error:
            found.append(Looked(host.where, str(error), "", "the host cannot be used"))
            continue
        lacks = "; ".join(f"no {what}: {why}" for what, why in sorted(missing.items()))
        found.append(Looked(host.where, lacks, f"Docker {said.version} at {said.socket}", said.why))
    return found
