"""Programs as processes of this machine, on loopback."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from faults.port import Capability, NodeId
from harness.backends import leftovers
from harness.backends.port import MachineError, ProgramSpec
from harness.backends.ports import free_ports
from harness.backends.processes import die_with_parent, process_ident
from harness.backends.program_cluster import ProgramCluster
from harness.backends.proxy_links import HOST, ProxyLinks
from harness.backends.starting import started
from harness.targets.port import Address, Program

CAPABILITIES = frozenset({
    Capability.PROGRAM, Capability.CUT, Capability.LATENCY, Capability.BANDWIDTH, Capability.KILL, Capability.WIPE,
    Capability.PAUSE, Capability.MEMBERSHIP,
})  # fmt: skip
_KILL_S = 10.0
_POLL_S = 0.01


@asynccontextmanager
async def up(spec: ProgramSpec, binaries: Mapping[str, Path]) -> AsyncIterator[ProgramCluster]:
    """A running cluster; every node answers. On leaving nothing of it is left but its files. Raises MachineError."""

    def make() -> ProgramCluster:
        ground = ProcessGround(spec, binaries)
        peers = {node: ground.addresses[node, spec.target.ports[0]] for node in spec.roster.nodes}
        links = ProxyLinks(peers, spec.base, spec.run_id, spec.directory)
        return ProgramCluster(spec, ground, links, CAPABILITIES)

    async with started(make, ProgramCluster.bring_up, spec.directory) as cluster:
        yield cluster


class ProcessGround:
    """See `program_cluster.Ground`."""

    backend = "process"

    def __init__(self, spec: ProgramSpec, binaries: Mapping[str, Path]) -> None:
        self.binaries: Mapping[str, str] = {name: str(path) for name, path in binaries.items()}
        directory = spec.directory.resolve()
        self.homes: Mapping[NodeId, str] = {
            node: str(directory / "nodes" / node / "home") for node in spec.roster.nodes
        }
        ports = iter(free_ports(len(spec.roster.nodes) * len(spec.target.ports)))
        self.addresses: Mapping[tuple[NodeId, str], Address] = {
            (node, port): (HOST, next(ports)) for node in spec.roster.nodes for port in spec.target.ports
        }
        self._run_id = spec.run_id
        self._logs = directory / "logs"
        self._processes: dict[NodeId, subprocess.Popen[bytes]] = {}

    async def spawn(self, program: Program) -> None:
        """See `Ground`."""
        self._start(program)

    def _start(self, program: Program) -> None:
        """In the event loop's thread (processes.die_with_parent)."""
        environment = {"PATH": os.environ.get("PATH", ""), "HOME": self.homes[program.node], **program.environment}
        with self._log(program.node).open("ab") as log:
            process = self._processes[program.node] = subprocess.Popen(
                program.arguments,
                cwd=self.homes[program.node],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment,
                start_new_session=True,  # Ctrl-C is for the harness, which then stops the nodes in order
                preexec_fn=die_with_parent(),
            )
        leftovers.register(self._run_id, leftovers.PROCESS, process_ident(process.pid))

    async def running(self, node: NodeId) -> bool:
        """See `Ground`."""
        return self._alive(node)

    def pid(self, node: NodeId) -> int:
        """See `Ground`."""
        return self._processes[node].pid if self._alive(node) else 0

    async def kill(self, node: NodeId) -> None:
        """See `Ground`."""
        if self._alive(node):
            self._processes[node].kill()
        if not await self._gone(node, _KILL_S):
            raise MachineError(f"node {node} (pid {self.pid(node)}) does not end after SIGKILL; is its disk hanging?")

    async def terminate(self, node: NodeId, patience_s: float) -> None:
        """See `Ground`."""
        if self._alive(node):
            self._processes[node].terminate()
        if not await self._gone(node, patience_s):
            await self.kill(node)

    async def pause(self, node: NodeId) -> None:
        """SIGSTOP."""
        self._processes[node].send_signal(signal.SIGSTOP)

    async def resume(self, node: NodeId) -> None:
        """SIGCONT."""
        self._processes[node].send_signal(signal.SIGCONT)

    async def tail(self, node: NodeId) -> str:
        """See `Ground`."""
        try:
            return "\n".join(self._log(node).read_text(errors="replace").splitlines()[-12:])
        except OSError as error:
            return f"(unreadable: {error.strerror})"

    async def close(self) -> None:
        """See `Ground`."""
        for process in self._processes.values():
            if process.poll() is None:
                process.kill()
        for process in self._processes.values():
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_KILL_S)
        leftovers.forget(self._run_id)

    def _log(self, node: NodeId) -> Path:
        return self._logs / f"{node}.log"

    def _alive(self, node: NodeId) -> bool:
        return node in self._processes and self._processes[node].poll() is None

    async def _gone(self, node: NodeId, timeout_s: float) -> bool:
        deadline = asyncio.get_running_loop().time() + timeout_s
        while self._alive(node):
            if asyncio.get_running_loop().time() > deadline:
                return False
            await asyncio.sleep(_POLL_S)
        return True
