"""Removing what a run left on a host, by the run itself or by a later command after a kill -9."""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Callable, Iterator

import msgspec

from harness.backends import leftovers
from harness.backends.ssh import payload
from harness.backends.ssh.connection import Connection
from harness.backends.ssh.hosts import Host

KIND = "ssh"
SWEEP = "harness.backends.ssh.host.sweep"
REMOVE_S = CLEAN_S = 600.0  # many containers on a busy host


class Remains(msgspec.Struct, frozen=True):
    """A run's directory on a host, and the PYTHONPATH of the code that removes it. Holds no secret."""

    host: Host
    directory: str
    path: str


def register(run_id: str, host: Host, directory: str, path: str) -> None:
    """Write down that the run is about to use the directory (leftovers.py)."""
    leftovers.register(run_id, KIND, msgspec.json.encode(Remains(host, directory, path)).decode())


def remover(ident: str) -> str | None:
    """For `leftovers.sweep`. Raises MachineError when the host cannot be reached."""
    remains = msgspec.json.decode(ident, type=Remains)
    remove(remains.host, remains.directory, remains.path)
    return f"removed {remains.directory} on {remains.host.where}"


def remove(host: Host, directory: str, path: str) -> str:
    """Undo, end and remove everything of the run there; what was still in force. Where its directory is gone, somebody
    cleaned up, and maybe removed the uploads as well. Raises MachineError."""
    command = f"test ! -d {shlex.quote(directory)} || {privileged(host, path, SWEEP, directory)}"
    with fresh(host) as connection:
        return connection.run(command, timeout_s=REMOVE_S)


def remove_all(host: Host, progress: Callable[[str], None]) -> list[str]:
    """End the runs that are in force there, undo their faults, and remove everything of ours: containers and images of
    its engine, our whole directory, uploads included. A sentence for each. Raises MachineError."""
    with fresh(host) as connection:
        path = payload.provide_sources(connection, payload.examine(connection), progress)
        said = connection.run(privileged(host, path, SWEEP, "--all", host.directory, host.engine), timeout_s=CLEAN_S)
    return [f"{line} on {host.where}" for line in said.splitlines()]


def privileged(host: Host, path: str, module: str, *words: str) -> str:
    """The command that runs a module of ours there with the rights that the warden has."""
    command = ["env", f"PYTHONPATH={path}", "PYTHONDONTWRITEBYTECODE=1", "python3", "-P", "-m", module, *words]
    return shlex.join(["sudo", "-n", *command] if host.sudo else command)


@contextlib.contextmanager
def fresh(host: Host) -> Iterator[Connection]:
    """A new connection."""
    connection = Connection.connect(host)
    try:
        yield connection
    finally:
        connection.close()
