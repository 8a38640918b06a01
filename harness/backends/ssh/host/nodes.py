"""The node processes of one run on this host, each as a user of its own."""

from __future__ import annotations

import asyncio
import os
import pwd
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from harness.backends.node_files import wipe_disk, write_private
from harness.backends.processes import die_with_parent, process_ident
from harness.backends.ssh.host.inforce import InForce

STOP_S = 5.0
TAIL = 12


class HostNode:
    """One node: `nodes/<id>/` (its files, its disk in `data/`) and `logs/<id>.log` below the run's directory."""

    def __init__(
        self, directory: Path, state: InForce, name: str, user: tuple[int, int], control: int, arguments: list[str]
    ) -> None:
        """`user`: uid and gid, -1 for our own. `arguments` of python, with {home} for the node's directory."""
        self.name = name
        self.uid, self.gid = user
        self.home = directory / "nodes" / name
        self.data = self.home / "data"
        self.log = directory / "logs" / f"{name}.log"
        self.control = control
        self._state = state
        self._arguments = [word.replace("{home}", str(self.home)) for word in arguments]
        self._process: subprocess.Popen[bytes] | None = None

    def write(self, files: dict[str, str]) -> None:
        """The node's own files, readable by it alone: they hold keys."""
        self.data.mkdir(parents=True, exist_ok=True)
        self.log.parent.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            path = self.home / Path(name).name
            write_private(path, text.replace("{home}", str(self.home)).encode())
            if self.uid >= 0:
                os.chown(path, self.uid, self.gid)
        if self.uid >= 0:
            os.chown(self.data, self.uid, self.gid)

    @property
    def running(self) -> bool:
        """Is the process alive (maybe stopped)?"""
        return self._process is not None and self._process.poll() is None

    async def spawn(self) -> int:
        """Start it; returns the pid."""
        return self._launch()

    def _launch(self) -> int:
        """In the event loop's thread: the kernel kills the node when that thread ends."""
        if self.running:
            raise RuntimeError(f"{self.name} is running already")
        more: dict[str, Any] = {"user": self.uid, "group": self.gid, "extra_groups": []} if self.uid >= 0 else {}
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-P", *self._arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                env={**os.environ, "HOME": str(self.home), "PYTHONUNBUFFERED": "1"},
                start_new_session=True,
                umask=0o002,  # the run's nodes are a group: a coalition's members write to each other's sockets
                preexec_fn=_before_exec,
                **more,
            )
        self._state.nodes[self.name] = {"ident": process_ident(self._process.pid), "control": self.control}
        self._state.save()
        return self._process.pid

    def signal(self, number: int) -> None:
        """Send a signal; a node that is down is an error of the caller."""
        if self._process is None or not self.running:
            raise RuntimeError(f"{self.name} is not running")
        self._process.send_signal(number)

    async def gone(self, timeout_s: float = STOP_S) -> bool:
        """Wait for the end of the process."""
        deadline = asyncio.get_running_loop().time() + timeout_s
        while self.running:
            if asyncio.get_running_loop().time() > deadline:
                return False
            await asyncio.sleep(0.01)
        return True

    async def end(self) -> None:
        """After it was asked to stop: wait, then SIGTERM, then SIGKILL."""
        for number in (None, signal.SIGTERM, signal.SIGKILL):
            if number is not None and self.running:
                self.signal(number)
            if await self.gone():
                return

    def wipe(self) -> None:
        """Lose the disk, but for the lab's own observations."""
        if self.running:
            raise RuntimeError(f"wipe of {self.name}, which is running; kill it first")
        wipe_disk(self.data)

    def tail(self) -> str:
        """The end of its log."""
        try:
            return "\n".join(self.log.read_text(errors="replace").splitlines()[-TAIL:]) or "(nothing)"
        except OSError as error:
            return f"(unreadable: {error.strerror})"


_die_with_parent = die_with_parent()


def _before_exec() -> None:
    """The node must not outlive the warden, nor share its priority. (It is another user by now.)"""
    os.setpriority(os.PRIO_PROCESS, 0, 0)
    if _die_with_parent is not None:
        _die_with_parent()


def usable_uid(first: int, count: int) -> int:
    """`first`, or the next number from which `count` uids belong to nobody on this host."""
    taken = {entry.pw_uid for entry in pwd.getpwall()}
    while any(uid in taken for uid in range(first, first + count)):
        first += count
    return first
