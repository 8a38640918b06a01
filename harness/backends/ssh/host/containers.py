"""The nodes of one run as containers of this host's Docker engine, under the same warden as processes would be.

A container shares the host's network and runs as its node's own user, so cuts and delays find it by that user. Its
process is the host's process: pausing, killing and thawing go by its pid, so that whoever is left can undo them even
when the engine is gone. Its files lie where a process's would, at the same paths inside.
"""

from __future__ import annotations

import asyncio
import json
import os
import platform
import signal
import time
import urllib.parse
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.backends.processes import process_ident
from harness.backends.ssh.host.engine import LABEL_HOSTS, LABEL_RUN, Engine, EngineError, host_config, run_label
from harness.backends.ssh.host.inforce import InForce, alive, signal_process
from harness.backends.ssh.host.nodes import HostNode

SEEN_S = 60.0  # until the engine has seen that a container's process is gone
# Its output goes where a process's would, and a coalition's members may write to each other's sockets.
LAUNCH = (
    "import os, sys; log = os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND); os.dup2(log, 1); os.dup2(log, 2); "
    "os.umask(0o002); os.execv(sys.executable, [sys.executable, '-P', *sys.argv[2:]])"
)


@dataclass
class Containers:
    """What the containers of a run have in common. `shared`: paths of the run that several nodes may see; a node sees
    those that its own files name."""

    engine: Engine
    image: str
    run_id: str
    shared: list[str] = field(default_factory=list)


class ContainerNode(HostNode):
    """See HostNode. The container is made at the first start and kept until the run ends."""

    def __init__(
        self,
        containers: Containers,
        directory: Path,
        state: InForce,
        name: str,
        user: tuple[int, int],
        control: int,
        arguments: list[str],
    ) -> None:
        """See HostNode."""
        super().__init__(directory, state, name, user, control, arguments)
        self._engine, self._image, self._run_id = containers.engine, containers.image, containers.run_id
        self._offered = containers.shared
        self._shared: list[str] = []
        self._ident = self._container = ""

    def write(self, files: dict[str, str]) -> None:
        """See HostNode. The log is the node's own to write."""
        super().write(files)
        self.log.touch()
        if self.uid >= 0:
            os.chown(self.log, self.uid, self.gid)
        named = "".join(files.values())
        self._shared = [path for path in self._offered if path in named]

    @property
    def running(self) -> bool:
        """Is its process alive (maybe stopped)?"""
        return alive(self._ident)

    async def spawn(self) -> int:
        """Start the container, in a thread: the lease must not wait for the engine. Returns the pid."""
        if self.running:
            raise RuntimeError(f"{self.name} is running already")
        pid = await asyncio.to_thread(self._start)
        self._ident = process_ident(pid) if pid else ""
        self._state.nodes[self.name] = {"ident": self._ident, "control": self.control}
        self._state.save()
        return pid

    def signal(self, number: int) -> None:
        """Send a signal to its process; a node that is down is an error of the caller."""
        if not signal_process(self._ident, signal.Signals(number)):
            raise RuntimeError(f"{self.name} is not running")

    def _start(self) -> int:
        if not self._container:
            self._container = self._engine.create(f"moonquake-{self._run_id}-{self.name}", self._config())
        if self._state.ending:  # whoever ends the run may have looked before this one was there
            self._engine.remove(self._container)
            raise EngineError(f"{self.name} is not started: the run ends")
        deadline = time.monotonic() + SEEN_S
        while self._engine.state(self._container)["Running"]:  # a start would do nothing
            if time.monotonic() > deadline:
                raise EngineError(f"the Docker engine at {self._engine.path} does not see that {self.name} ended")
            time.sleep(0.05)
        self._engine.start(self._container)
        return int(self._engine.state(self._container)["Pid"])

    def _config(self) -> dict[str, Any]:
        uid, gid = (self.uid, self.gid) if self.uid >= 0 else (os.geteuid(), os.getegid())
        shared = [(path, Path(path).is_dir()) for path in self._shared]
        mounts = [(str(self.home), True), (str(self.log), True), *shared]
        return {
            "Image": self._image,
            "Entrypoint": ["python3", "-c", LAUNCH, str(self.log)],
            "Cmd": self._arguments,
            "User": f"{uid}:{gid}",
            "WorkingDir": "/",
            "Env": [f"HOME={self.home}"],
            "StopSignal": "SIGKILL",
            "Labels": {
                LABEL_RUN: self._run_id,
                LABEL_HOSTS: self._run_id,
                "moonquake.owner": process_ident(os.getpid()),  # the warden; for a harness on this very host
                "moonquake.host": platform.node(),
                "moonquake.node": self.name,
            },
            "HostConfig": host_config(mounts),
        }


async def trouble(engine: Engine, run_id: str) -> str:
    """Block until the engine is gone or kills a container of the run (we never ask it to while a run goes on; it does
    when it ends itself, or when somebody else tells it to); what happened, in words."""
    filters = {"type": ["container"], "event": ["kill"], "label": [run_label(run_id)]}
    request = f"GET /events?{urllib.parse.urlencode({'filters': json.dumps(filters)})} HTTP/1.0\r\nHost: docker\r\n\r\n"
    try:
        reader, writer = await asyncio.open_unix_connection(engine.path)
    except OSError as error:
        return f"no Docker engine answers at {engine.path} ({error.strerror})"
    try:
        writer.write(request.encode())
        while line := await reader.readline():
            if line.startswith(b"{"):
                names = json.loads(line).get("Actor", {}).get("Attributes", {})
                name = names.get("name", "a container")
                return f"its Docker engine at {engine.path} was told to end {name}, or ends itself"
    except (OSError, ValueError):
        pass
    finally:
        writer.close()
    return f"its Docker engine at {engine.path} ended"
