"""Backend `ssh`: reads hosts.toml, looks every host over, uploads what is missing, and brings clusters up on them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import msgspec

from faults.port import Capability
from harness.backends.port import ClusterSpec
from harness.backends.ssh import payload, removal
from harness.backends.ssh.cluster import SshCluster
from harness.backends.ssh.hosts import Host, Hosts, read_hosts
from harness.outcome import MachineError, UsageError

PROCESS = frozenset({Capability.KILL, Capability.WIPE, Capability.PAUSE, Capability.BYZANTINE, Capability.CLOCK})
BY_PROBE: Mapping[str, frozenset[Capability]] = {
    "cut": frozenset({Capability.CUT}),
    "shape": frozenset({Capability.LATENCY, Capability.LOSS, Capability.BANDWIDTH}),
    "disk": frozenset({Capability.DISK_FULL}),
}
CAPABILITIES = PROCESS.union(*BY_PROBE.values())
PROBE = "harness.backends.ssh.host.probe"


class SshBackend:
    """Hosts of hosts.toml. Without a file it only says what it could do."""

    name = "ssh"
    scheme = "ed25519"
    new_loop = staticmethod(asyncio.new_event_loop)

    def __init__(self, file: Path | None = None) -> None:
        self.capabilities = CAPABILITIES
        self._file = file
        self._hosts: Hosts | None = None
        self._paths: dict[str, str] = {}
        self._layer = ""

    def prepare(self, progress: Callable[[str], None]) -> None:
        """Look every host over and upload what it has not. Raises UsageError for the file, MachineError for a host."""
        if self._file is None:
            raise UsageError("--backend ssh: which hosts? Add --hosts hosts.toml (docs/hosts.md shows one)")
        hosts = read_hosts(self._file)
        with ThreadPoolExecutor(8) as pool:
            found = list(pool.map(lambda host: _provide(host, progress), hosts.hosts))
        lacking: dict[str, str] = {}
        for host, (path, missing) in zip(hosts.hosts, found, strict=True):
            self._paths[host.name] = path
            for what, why in missing.items():
                lacking.setdefault(what, f"{host.where}: {why}")
        for what in sorted(lacking):
            progress(f"no {', '.join(sorted(BY_PROBE[what]))} on these hosts: {lacking[what]}")
        self.capabilities = PROCESS.union(*(gives for what, gives in BY_PROBE.items() if what not in lacking))
        layers = [name for name, what in (("nft", "cut"), ("nfqueue", "shape")) if what not in lacking]
        self._layer = "+".join(layers) or "none"
        self._hosts = hosts

    @asynccontextmanager
    async def up(self, spec: ClusterSpec) -> AsyncIterator[SshCluster]:
        """See `port.Backend`. Raises MachineError, when all is down, if a host healed itself in the middle of the run:
        then its faults were not what the history says."""
        if self._hosts is None:
            await asyncio.to_thread(self.prepare, lambda _: None)
        assert self._hosts is not None
        async with AsyncExitStack() as stack:
            cluster = SshCluster(spec, self._hosts, self._paths, self.capabilities, self._layer)
            stack.push_async_callback(cluster.remove)
            await cluster.bring_up()
            yield cluster
        if cluster.lapsed:
            raise MachineError(
                f"hosts undid every fault and delay by themselves in the middle of the run: {cluster.lapsed}. "
                "The run proves nothing; a longer `lease` in hosts.toml bears a busier machine or network"
            )


def examine(file: Path, progress: Callable[[str], None]) -> dict[str, str]:
    """Host -> what it lacks, or why it cannot be used; empty when all is well. Uploads what is missing. Raises
    UsageError for the file."""
    found = {}
    for host in read_hosts(file).hosts:
        try:
            _, missing = _provide(host, progress)
            found[host.where] = "; ".join(f"no {what}: {why}" for what, why in sorted(missing.items()))
        except MachineError as error:
            found[host.where] = str(error)
    return found


def clean(file: Path) -> list[str]:
    """Remove our directory from every host. Raises MachineError for the first that cannot be cleaned."""
    hosts = read_hosts(file).hosts
    for host in hosts:
        removal.remove_all(host)
    return [f"removed {host.directory} on {host.where}" for host in hosts]


def _provide(host: Host, progress: Callable[[str], None]) -> tuple[str, dict[str, str]]:
    with removal.fresh(host) as connection:
        path = payload.provide(connection, payload.examine(connection), progress)
        said = connection.run(removal.privileged(host, path, PROBE))
        return path, msgspec.json.decode(said, type=dict[str, str])
