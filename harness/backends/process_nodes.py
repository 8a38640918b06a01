"""Node processes on this machine: their files, their life, their death."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping

import msgspec

from faults.port import NodeId
from harness.backends import leftovers
from harness.backends.control_client import ask, ask_status
from harness.backends.node_files import wipe_disk, write_private
from harness.backends.port import ClusterSpec, MachineError, NodeSpec
from harness.backends.ports import PortTakenError
from harness.backends.processes import die_with_parent, process_ident
from harness.provision.state import project_root
from nodes.runtime.config import Address, NodeConfig

HOST = "127.0.0.1"
START_S = 60.0  # a dozen Python processes start on two busy cores
STOP_S = 5.0
_PORT_TAKEN = "cannot listen on"
_MACHINE_EXIT = 4


class NodePorts(msgspec.Struct, frozen=True):
    """Where one node listens."""

    listen: int
    control: int
    http: int | None


class NodeProcess:
    """One node. Its files lie in `nodes/<id>` of the run directory, its output in `logs/<id>.log`."""

    def __init__(self, spec: ClusterSpec, node: NodeSpec, ports: NodePorts) -> None:
        self.id: NodeId = node.id
        self.ports = ports
        self.control: Address = (HOST, ports.control)
        self.home = spec.directory / "nodes" / node.id
        self.data = self.home / "data"
        self.log = spec.directory / "logs" / f"{node.id}.log"
        self.paused = False
        self._run_id = spec.run_id
        self._byzantine = node.byzantine is not None
        self._process: subprocess.Popen[bytes] | None = None

    # ---------------------------------------------------------------- files
    def write(
        self, spec: ClusterSpec, node: NodeSpec, peers: Mapping[NodeId, Address], start_ns: int, side: str
    ) -> None:
        """node.json, and byzantine.json for a corrupted node, readable by the owner only: they hold keys."""
        self.data.mkdir(parents=True, exist_ok=True)
        self.log.parent.mkdir(parents=True, exist_ok=True)
        config = NodeConfig(
            id=node.id,
            secret_key=node.secret_key,
            genesis=str(spec.directory.resolve() / "genesis.json"),
            data=str(self.data.resolve()),
            listen=(HOST, self.ports.listen),
            control=self.control,
            peers=dict(peers),
            start_ns=start_ns,
            http=None if self.ports.http is None else (HOST, self.ports.http),
        )
        write_private(self.home / "node.json", msgspec.json.encode(config))
        if node.byzantine is not None:
            coalition = msgspec.structs.replace(node.byzantine, side_channel=side)
            write_private(self.home / "byzantine.json", msgspec.json.encode(coalition))

    def wipe(self) -> None:
        """Lose the disk: everything in the data directory but the lab's own observations."""
        if self.running:
            raise RuntimeError(f"{self.id} is running: a disk is lost while its node is down; kill the node first")
        wipe_disk(self.data)

    # ---------------------------------------------------------------- life
    @property
    def running(self) -> bool:
        """Is the process alive (maybe paused)?"""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """Process id, 0 when it is down."""
        return self._process.pid if self._process is not None and self.running else 0

    def spawn(self) -> None:
        """Start the process. Call it in the thread of the event loop (see processes.die_with_parent)."""
        if self.running:
            raise RuntimeError(f"{self.id} is running already (pid {self.pid})")
        arguments = ["-m", "nodes", str(self.home / "node.json")]
        if self._byzantine:
            arguments = ["-m", "faults.byzantine", str(self.home / "node.json"), str(self.home / "byzantine.json")]
        inherited = os.environ.get("PYTHONPATH")
        path = os.pathsep.join([str(project_root()), *([inherited] if inherited else [])])
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-P", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, "PYTHONPATH": path},
                start_new_session=True,  # Ctrl-C is for the harness, which then stops the nodes in order
                preexec_fn=die_with_parent(),
            )
        self.paused = False
        leftovers.register(self._run_id, leftovers.PROCESS, process_ident(self._process.pid))

    async def ready(self, timeout_s: float = START_S) -> None:
        """Return when the control port answers. Raises PortTakenError, or MachineError with the end of its log."""
        deadline = asyncio.get_running_loop().time() + timeout_s
        while True:
            report = await ask_status(self.control, 1.0)
            if report is not None and report.pid == self.pid:
                return
            if not self.running:
                code = self._process.returncode if self._process is not None else None
                if code == _MACHINE_EXIT and _PORT_TAKEN in self.tail(1):
                    raise PortTakenError(self.tail(1))
                raise MachineError(
                    f"node {self.id} ended at start with exit code {code}; {self.log} ends:\n{self.tail()}"
                )
            if asyncio.get_running_loop().time() > deadline:
                raise MachineError(
                    f"node {self.id} does not answer on its control port after {timeout_s:.0f} s; is the machine "
                    f"overloaded? {self.log} ends:\n{self.tail()}"
                )
            await asyncio.sleep(0.05)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal; a node that is down is an error of the caller."""
        if self._process is None or not self.running:
            raise RuntimeError(f"{self.id} is not running")
        self._process.send_signal(number)

    async def gone(self, timeout_s: float) -> bool:
        """Wait for the end of the process."""
        deadline = asyncio.get_running_loop().time() + timeout_s
        while self.running:
            if asyncio.get_running_loop().time() > deadline:
                return False
            await asyncio.sleep(0.01)
        return True

    async def stop(self) -> None:
        """Orderly: thaw, ask the control port, then SIGTERM, then SIGKILL."""
        if not self.running:
            return
        if self.paused:
            self.signal(signal.SIGCONT)
            self.paused = False
        await ask(self.control, "stop")
        for number in (None, signal.SIGTERM, signal.SIGKILL):
            if number is not None and self.running:
                self.signal(number)
            if await self.gone(STOP_S):
                return

    def destroy(self) -> None:
        """At once, whatever state it is in; does not need the event loop."""
        if self._process is not None and self.running:
            self._process.kill()
        if self._process is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(STOP_S)

    def tail(self, lines: int = 12) -> str:
        """The end of the node's log."""
        try:
            return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])
        except OSError as error:
            return f"(unreadable: {error.strerror})"
