"""The warden: `python -m harness.backends.ssh.host.warden DIRECTORY RUN_ID LEASE_S SEED`, started over SSH.

With two more words, ENGINE IMAGE, nodes are containers of the Docker engine at that socket, else processes.

One JSON request a line comes in by standard input, {"id": 1, "op": "cut", ...}; each is answered by one line of
standard output, {"id": 1, ...} or {"id": 1, "error": TEXT}. Everything that hurts stands under a lease:

  - every line renews it; the harness sends {"op": "renew"} each second when it has nothing else to say;
  - no line for LEASE_S: the host undoes all faults by itself and refuses new ones (the harness is told when it asks);
  - no line for ABANDONED leases, or the connection is closed: it ends the nodes, too, and leaves their files;
  - the warden itself is gone or stopped: its guardian does the same; the kernel kills the nodes with the warden.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from harness.backends.ports import free_ports
from harness.backends.processes import process_ident
from harness.backends.ssh.host import disk
from harness.backends.ssh.host import filter as packets
from harness.backends.ssh.host.containers import ContainerNode, Containers, trouble
from harness.backends.ssh.host.engine import Engine
from harness.backends.ssh.host.inforce import InForce, ask
from harness.backends.ssh.host.nodes import HostNode, usable_uid
from harness.backends.ssh.host.sweep import WARDEN

ABANDONED = 6.0
TICK_S = 0.5
PRIORITY = -10  # faults come and go on time, and the lease is not lost to busy nodes
FIRST_UID = 61_200
MAX_LINE = 1 << 24
HURTING = frozenset(("cut", "shape", "fill", "set_clock"))
LOG = "warden.log"

Answer = dict[str, Any]


class Warden:
    """One run on this host."""

    def __init__(
        self, directory: Path, run_id: str, lease_s: float, seed: int, engine: str = "", image: str = ""
    ) -> None:
        self.directory = directory
        self.state = InForce(directory)
        self.state.engine, self.state.run_id = engine, run_id
        self._containers = Containers(Engine(engine), image, run_id)
        self.filter = packets.Filter(self.state, run_id, seed)
        self.nodes: dict[str, HostNode] = {}
        self.lease_s = lease_s
        self.lapsed = ""  # why the host healed itself
        self.ending = asyncio.Event()
        self._heard = time.monotonic()
        self._late = 0
        self._guardian: subprocess.Popen[bytes] | None = None
        self._writer: Callable[[bytes], None] = lambda _: None

    # ---------------------------------------------------------------- life
    async def serve(self) -> None:
        """Until the harness is done, or gone."""
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(limit=MAX_LINE)
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        transport, _ = await loop.connect_write_pipe(asyncio.BaseProtocol, sys.stdout)
        self._writer = transport.write
        self.state.save()
        (self.directory / WARDEN).write_text(process_ident(os.getpid()))
        self._guard()
        reading = asyncio.create_task(self._read(reader))
        watching = asyncio.create_task(self._watch())
        engine = asyncio.create_task(self._watch_engine())
        ended = asyncio.create_task(self.ending.wait())
        await asyncio.wait((reading, watching, ended), return_when=asyncio.FIRST_COMPLETED)
        if not self.state.closed:
            self._heal("the connection was closed" if reading.done() else "the harness is gone")
            self._note(await self._end_nodes())
        self.filter.close()
        for task in (reading, watching, engine, ended):
            task.cancel()

    async def _read(self, reader: asyncio.StreamReader) -> None:
        tasks: set[asyncio.Task[None]] = set()
        while line := await reader.readline():
            self._heard, self._late = time.monotonic(), 0
            task = asyncio.create_task(self._answer(line))
            tasks.add(task)
            task.add_done_callback(tasks.discard)

    async def _watch(self) -> None:
        """The lease. A check that comes late itself (a host without a free core) is not held against the harness:
        only a second one finds the lease over."""
        while True:
            await asyncio.sleep(TICK_S)
            self._beat()
            silent = time.monotonic() - self._heard
            self._late = self._late + 1 if silent > self.lease_s else 0
            if self._late >= 2 and not self.lapsed:
                self._heal(
                    f"nothing was heard from the harness for {silent:.1f} s, and the lease is {self.lease_s:g} s"
                )
            if silent > self.lease_s * ABANDONED:
                return

    def _heal(self, why: str) -> None:
        self.lapsed = self.lapsed or why
        done = self.state.heal()
        self.filter.close()
        self._note([f"{why}: {'; '.join(done) or 'nothing was in force'}"])

    def _note(self, lines: list[str]) -> None:
        with (self.directory / LOG).open("a") as log:
            log.writelines(f"{line}\n" for line in lines)

    async def _end_nodes(self) -> list[str]:
        """In a thread: an engine takes its time, and a guardian that hears nothing would kill us."""
        ending = asyncio.create_task(asyncio.to_thread(self.state.end_nodes))
        while not ending.done():
            self._beat()
            await asyncio.wait((ending,), timeout=TICK_S)
        return ending.result()

    async def _watch_engine(self) -> None:
        """A run whose engine ends, or is told by somebody else to end nodes, is void as one whose lease was over."""
        if self.state.engine:
            why = await trouble(Engine(self.state.engine), self.state.run_id)
            if not self.state.ending and not self.lapsed:
                self._heal(why)

    def _guard(self) -> None:
        silence_s = 2 * self.lease_s
        command = [sys.executable, "-P", "-m", "harness.backends.ssh.host.guardian"]
        command += [str(self.directory), process_ident(os.getpid()), str(silence_s)]
        self._guardian = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )
        assert self._guardian.stdin is not None
        os.set_blocking(self._guardian.stdin.fileno(), False)

    def _beat(self) -> None:
        """A byte for the guardian; a guardian that is gone is replaced."""
        assert self._guardian is not None and self._guardian.stdin is not None
        try:
            os.write(self._guardian.stdin.fileno(), b".")
        except BlockingIOError:
            pass  # it has enough to read
        except BrokenPipeError:
            self._guardian.wait()
            self._guard()

    # ---------------------------------------------------------------- requests
    async def _answer(self, line: bytes) -> None:
        request: dict[str, Any] = {}
        try:
            request = json.loads(line)
            answer = await self._handle(request)
        except Exception as error:  # the harness is told; the warden must live on
            answer = {"error": f"{request.get('op', 'a line')}: {error if str(error) else repr(error)}"}
        self._writer(json.dumps({"id": request.get("id", 0), **answer}).encode() + b"\n")

    async def _handle(self, request: dict[str, Any]) -> Answer:
        op = str(request["op"])
        if self.lapsed and op in HURTING:
            return {"error": f"the host has healed itself: {self.lapsed}", "lapsed": True}
        handler: Callable[[dict[str, Any]], Awaitable[Answer]] | None = getattr(self, f"op_{op}", None)
        if handler is None:
            return {"error": f"no such op {op!r}"}
        return await handler(request)

    async def op_renew(self, _: dict[str, Any]) -> Answer:
        return {"lapsed": self.lapsed}

    async def op_clock(self, _: dict[str, Any]) -> Answer:
        now = time.monotonic_ns()
        boot = Path("/proc/sys/kernel/random/boot_id")
        return {"monotonic_ns": now, "boot": boot.read_text().strip() if boot.exists() else "unknown"}

    async def op_hello(self, request: dict[str, Any]) -> Answer:
        """From which number on uids are free for so many nodes (-1 without root), and who we are."""
        uid = usable_uid(FIRST_UID, int(request["nodes"])) if os.geteuid() == 0 else -1
        return {"uid": uid, "ident": process_ident(os.getpid())}

    async def op_ports(self, request: dict[str, Any]) -> Answer:
        return {"ports": free_ports(int(request["count"]), str(request["address"]))}

    async def op_node(self, request: dict[str, Any]) -> Answer:
        """Make a node's directory and disk; starts nothing."""
        user = (int(request["uid"]), int(request["gid"]))
        words = (self.directory, self.state, request["node"], user, request["control"], request["arguments"])
        node = ContainerNode(self._containers, *words) if self.state.engine else HostNode(*words)
        if request["disk"] and str(node.data) not in self.state.disks:
            node.data.mkdir(parents=True, exist_ok=True)
            disk.make(self.state, node.data, int(request["disk"]), max(node.uid, 0))
        node.write(request["files"])
        self.nodes[node.name] = node
        return {}

    async def op_directory(self, request: dict[str, Any]) -> Answer:
        """A directory that all nodes of the run may write to (the coalition's), by name below the run's."""
        path = self.directory / Path(str(request["name"])).name
        path.mkdir(exist_ok=True)
        if request["gid"] >= 0:
            os.chown(path, -1, request["gid"])
        path.chmod(0o770)
        self._containers.shared.append(str(path))
        return {"path": str(path)}

    async def op_file(self, request: dict[str, Any]) -> Answer:
        """A file that all nodes may read, by name below the run's directory."""
        path = self.directory / Path(str(request["name"])).name
        path.write_bytes(base64.b64decode(request["data"]))
        path.chmod(0o644)
        self._containers.shared.append(str(path))
        return {"path": str(path)}

    async def op_spawn(self, request: dict[str, Any]) -> Answer:
        return {"pid": await self._node(request).spawn()}

    async def op_signal(self, request: dict[str, Any]) -> Answer:
        """KILL (waits for the end), STOP (under the lease) or CONT."""
        node, number = self._node(request), signal.Signals[f"SIG{request['name']}"]
        if number == signal.SIGSTOP and self.lapsed:
            return {"error": f"the host has healed itself: {self.lapsed}", "lapsed": True}
        node.signal(number)
        if number == signal.SIGKILL and not await node.gone(10.0):
            return {"error": f"{node.name} does not end after SIGKILL; is its disk hanging?"}
        return {}

    async def op_ask(self, request: dict[str, Any]) -> Answer:
        """The control ports of some nodes, at once; null for one that does not answer, or is down."""

        async def one(node: HostNode) -> Answer | None:
            if not node.running:
                return None
            return await asyncio.to_thread(ask, node.control, request["request"], float(request["limit_s"]))

        names = [str(name) for name in request["nodes"]]
        replies = await asyncio.gather(*(one(self.nodes[name]) for name in names))
        return {"replies": dict(zip(names, replies, strict=True))}

    async def op_stop(self, request: dict[str, Any]) -> Answer:
        node = self._node(request)
        if node.running:
            node.signal(signal.SIGCONT)
            await asyncio.to_thread(ask, node.control, {"op": "stop"})
            await node.end()
        return {}

    async def op_wipe(self, request: dict[str, Any]) -> Answer:
        self._node(request).wipe()
        return {}

    async def op_look(self, request: dict[str, Any]) -> Answer:
        """Does its process live, and how does its log end?"""
        return {"running": self._node(request).running, "tail": self._node(request).tail()}

    async def op_cut(self, request: dict[str, Any]) -> Answer:
        add, delete = ([(int(u), str(a), int(p)) for u, a, p in request[key]] for key in ("add", "delete"))
        return {"healed": self.filter.cut(add, delete)}

    async def op_shape(self, request: dict[str, Any]) -> Answer:
        self.filter.shape([((int(u), str(a), int(p)), shape) for (u, a, p), shape in request["links"]])
        return {}

    async def op_counters(self, _: dict[str, Any]) -> Answer:
        if self.lapsed:
            return {"cuts": [], "lost": [], "delayed": 0}
        lost, delayed = self.filter.lost()
        return {"cuts": self.filter.dropped(), "lost": lost, "delayed": delayed}

    async def op_fill(self, request: dict[str, Any]) -> Answer:
        disk.fill(self._node(request).data)
        return {}

    async def op_free(self, request: dict[str, Any]) -> Answer:
        disk.empty(self.state, self._node(request).data)
        return {}

    async def op_space(self, request: dict[str, Any]) -> Answer:
        node = self._node(request)
        return {"free": disk.free(node.data), "refused": disk.refusals(node.log)}

    async def op_set_clock(self, request: dict[str, Any]) -> Answer:
        node = self._node(request)
        if node.name not in self.state.clocks:
            self.state.clocks.append(node.name)
            self.state.save()
        words = {"op": "clock", "skew_ms": int(request["skew_ms"]), "drift_ppm": int(request["drift_ppm"])}
        return {"reply": await asyncio.to_thread(ask, node.control, words)}

    async def op_announce(self, request: dict[str, Any]) -> Answer:
        """Tell the corrupted nodes of this host something, over their side channel."""
        from faults.byzantine.side_channel import announce  # with the nodes' dependencies

        announce(Path(request["directory"]), request["members"], request["key"], request["value"])
        return {}

    async def op_finish(self, _: dict[str, Any]) -> Answer:
        """Undo everything, end everything; what nodes left on disk stays for collection, but bounded disks go."""
        done = self.state.heal()
        done += await self._end_nodes()
        self.filter.close()
        self.state.unmount()
        self.state.closed = True
        self.state.save()
        self.ending.set()
        return {"undone": done}

    def _node(self, request: dict[str, Any]) -> HostNode:
        name = str(request["node"])
        if name not in self.nodes:
            raise ValueError(f"no node {name!r} on this host; it has {', '.join(sorted(self.nodes)) or 'none'}")
        return self.nodes[name]


def main() -> int:
    """Entry point."""
    directory, run_id, lease_s, seed = Path(sys.argv[1]), sys.argv[2], float(sys.argv[3]), int(sys.argv[4])
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # a closed terminal must not keep us from healing
        signal.signal(number, signal.SIG_IGN)
    os.umask(0o022)
    with contextlib.suppress(OSError):  # not root: then we are as late as the nodes are
        os.setpriority(os.PRIO_PROCESS, 0, PRIORITY)
    directory.mkdir(parents=True, exist_ok=True)
    warden = Warden(directory, run_id, lease_s, seed, *sys.argv[5:7])
    asyncio.run(warden.serve())
    return 0


if __name__ == "__main__":
    sys.exit(main())
