"""What is in force on this host, and how all of it is undone, by whoever is left to do it.

`state.json` in the run's directory is written before a fault is applied, so that the warden, its guardian and
`moonquake doctor --clean` undo the same things. Undoing is idempotent and goes on after a failure.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

from harness.backends.processes import process_start
from harness.backends.ssh.host.engine import Engine, EngineError, run_label
from harness.provision.packages import find_tool

STATE = "state.json"
ASK_S = 2.0
COMMAND_S = 20.0
END_S = 10.0
MAX_REPLY = 1 << 20


class InForce:
    """The run's table, firewall rules, nodes, disks and clocks on this host; `save` makes it durable enough for kill
    -9 of whoever wrote it (not for a crash of the host, which undoes everything itself)."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.table = ""  # nft table of family ip
        self.rules: list[list[str]] = []  # commands that delete what we put elsewhere
        self.nodes: dict[str, dict[str, Any]] = {}  # id -> {"ident": "pid:start", "control": port}
        self.disks: dict[str, str] = {}  # mount point -> size as mount(8) says it
        self.clocks: list[str] = []  # nodes whose clocks may be off
        self.closed = False  # everything was undone in order: nothing for the guardian to do
        self.engine = ""  # socket of the Docker engine whose containers the nodes are; empty: they are processes
        self.run_id = ""  # what its containers are labelled with
        self.ending = False  # nothing is to be started any more

    @classmethod
    def load(cls, directory: Path) -> InForce:
        """What the file says; nothing in force where there is none (it is written before the first fault)."""
        state = cls(directory)
        with contextlib.suppress(OSError, ValueError):
            state.__dict__.update(json.loads((directory / STATE).read_text()))
        state.directory = directory
        return state

    def save(self) -> None:
        """Write the file, whole or not at all."""
        fresh = self.directory / f"{STATE}.{os.getpid()}"
        fresh.write_text(json.dumps({k: v for k, v in self.__dict__.items() if k != "directory"}))
        fresh.replace(self.directory / STATE)

    # ---------------------------------------------------------------- undoing
    def heal(self) -> list[str]:
        """Undo every fault; a sentence for each thing that was there to undo, and for each failure."""
        done: list[str] = []
        if self.table:
            self._run(done, "cuts and delays", [find_tool("nft") or "nft", "delete", "table", "ip", self.table])
        for rule in self.rules:
            self._run(done, "a firewall rule", rule)
        for node, entry in self.nodes.items():
            if signal_process(str(entry.get("ident", "")), signal.SIGCONT):
                done.append(f"{node} runs")
        for path, size in self.disks.items():
            if os.path.ismount(path):
                self._run(done, f"the disk {path}", [*mount_command(), "-o", f"remount,size={size}", path])
        for node in self.clocks:
            control = int(self.nodes.get(node, {}).get("control", 0))
            if ask(control, {"op": "clock", "skew_ms": 0}) is not None:
                done.append(f"the clock of {node} is true")
        return done

    def end_nodes(self) -> list[str]:
        """kill -9 every node, and remove its container; returns when they are gone, or after a few seconds. What could
        not be removed, in words."""
        self.ending = True
        idents = [str(entry.get("ident", "")) for entry in self.nodes.values()]
        waiting = [ident for ident in idents if signal_process(ident, signal.SIGKILL)]
        deadline = time.monotonic() + END_S
        while time.monotonic() < deadline and any(alive(ident) for ident in waiting):
            time.sleep(0.02)
        try:
            if self.engine:
                Engine(self.engine).remove_labelled(run_label(self.run_id))
        except EngineError as error:
            return [f"containers of run {self.run_id} may be left, and go when the engine is back: {error}"]
        return []

    def unmount(self) -> None:
        """Give the disks back; what was on them is gone."""
        tool = find_tool("umount")
        for path in self.disks:
            if tool is not None and os.path.ismount(path):
                subprocess.run([tool, "-l", path], capture_output=True, timeout=COMMAND_S, check=False)

    def _run(self, done: list[str], what: str, command: list[str]) -> None:
        try:
            ended = subprocess.run(command, capture_output=True, text=True, timeout=COMMAND_S, check=False)
        except (OSError, subprocess.SubprocessError) as error:
            done.append(f"could not undo {what}: {error}")
            return
        if ended.returncode == 0:
            done.append(f"undid {what}")
        elif "No such file" not in ended.stderr and "does a matching rule exist" not in ended.stderr:
            done.append(f"could not undo {what}: {ended.stderr.strip()[:200]}")


def mount_command() -> list[str]:
    """mount(8), by path."""
    return [find_tool("mount") or "mount"]


def alive(ident: str) -> bool:
    """Does the process `pid:start` live?"""
    pid, _, start = ident.partition(":")
    return pid.isdigit() and bool(start) and process_start(int(pid)) == start


def signal_process(ident: str, number: signal.Signals) -> bool:
    """Send a signal to the process `pid:start` if it is still that one."""
    if not alive(ident):
        return False
    with contextlib.suppress(ProcessLookupError):
        os.kill(int(ident.partition(":")[0]), number)
        return True
    return False


def ask(port: int, request: dict[str, Any], timeout_s: float = ASK_S) -> dict[str, Any] | None:
    """One request to a node's control port on loopback; None when it does not answer."""
    if not port:
        return None
    try:
        with socket.create_connection(("127.0.0.1", port), timeout_s) as connection:
            connection.settimeout(timeout_s)
            connection.sendall(json.dumps(request).encode() + b"\n")
            data = b""
            while not data.endswith(b"\n") and len(data) < MAX_REPLY:
                more = connection.recv(65536)
                if not more:
                    return None
                data += more
        reply = json.loads(data)
    except (OSError, ValueError):
        return None
    return reply if isinstance(reply, dict) else None
