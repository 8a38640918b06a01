"""Backend `ssh`: reads hosts.toml, looks every host over, uploads what is missing, and brings clusters up on them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager

import msgspec

from faults.port import Capability
from harness.backends.port import ClusterSpec
from harness.backends.ssh import payload, removal
from harness.backends.ssh.cluster import SshCluster
from harness.backends.ssh.connection import Connection
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
    bears = "a longer `lease` in hosts.toml bears a busier machine or network"

    def __init__(self, named: str = "") -> None:
        """`named`: the file, or URLs (hosts.py)."""
        self.capabilities = CAPABILITIES
        self._named = named
        self._hosts: Hosts | None = None
        self._paths: dict[str, str] = {}
        self._layer = ""

    def prepare(self, progress: Callable[[str], None]) -> None:
        """Look every host over and upload what it has not. Raises UsageError for the file, MachineError for a host."""
        if not self._named:
            raise UsageError("--backend ssh: which hosts? Add --hosts hosts.toml (docs/hosts.md shows one)")
        hosts = read_hosts(self._named)
        with ThreadPoolExecutor(8) as pool:
            found = list(pool.map(lambda host: self._provide(host, progress), hosts.hosts))
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
        cluster = self._cluster(spec, self._hosts)
        lost: MachineError | None = None
        try:
            async with AsyncExitStack() as stack:
                stack.push_async_callback(cluster.remove)
                await cluster.bring_up()
                yield cluster
        except MachineError as error:
            lost = error
        if cluster.lapsed:
            also = f"\nAnd: {lost}" if lost else ""
            raise MachineError(
                f"hosts undid every fault and delay by themselves in the middle of the run: {cluster.lapsed}. "
                f"The run proves nothing; {self.bears}{also}"
            ) from lost
        if lost:
            raise lost

    def _cluster(self, spec: ClusterSpec, hosts: Hosts) -> SshCluster:
        return SshCluster(spec, hosts, self._paths, self.capabilities, self._layer)

    def _provide(self, host: Host, progress: Callable[[str], None]) -> tuple[str, dict[str, str]]:
        with removal.fresh(host) as connection:
            path, missing = look_over(connection, progress)
            self._equip(connection, path, progress)
            return path, missing

    def _equip(self, connection: Connection, path: str, progress: Callable[[str], None]) -> None:
        """What a host needs beside that."""


def look_over(connection: Connection, progress: Callable[[str], None]) -> tuple[str, dict[str, str]]:
    """Upload what is missing: (PYTHONPATH there, what the host cannot do and why). Raises MachineError."""
    path = payload.provide(connection, payload.examine(connection), progress)
    said = connection.run(removal.privileged(connection.host, path, PROBE))
    return path, msgspec.json.decode(said, type=dict[str, str])


def clean(named: str, progress: Callable[[str], None]) -> list[str]:
    """Remove everything of ours from every host, what was removed, a sentence each. Raises MachineError, when all were
    tried, for those that could not be cleaned."""
    removed, failures = [], []
    for host in read_hosts(named).hosts:
        try:
            found = removal.remove_all(host, progress)
        except MachineError as error:
            failures.append(str(error))
            continue
        for line in found:
            progress(line)
        removed += found
    if failures:
        raise MachineError("\n".join(failures))
    return removed
