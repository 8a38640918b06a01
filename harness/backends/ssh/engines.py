"""The hosts' Docker engines as they are seen from here: whether they answer, and the image that they are given."""

from __future__ import annotations

import gzip
import secrets
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import docker.errors
import msgspec
import requests

from harness.backends.ssh import removal
from harness.backends.ssh.connection import Connection
from harness.outcome import MachineError
from harness.provision.engine import Engine, ensure_engine
from harness.provision.image import ensure_image
from harness.provision.state import state_directory

MODULE = "harness.backends.ssh.host.engine"
LIMIT_S = 700.0  # to load an image, or make a container, on a busy host
KEPT = 2  # archives of images in the state directory


class Said(msgspec.Struct, frozen=True):
    """What a host said about its engine. `image`: has it the one that was asked for?"""

    socket: str
    version: str
    image: bool
    why: str


class NodeImage:
    """The node image, made by an engine here; hosts get it as an archive."""

    def __init__(self, progress: Callable[[str], None]) -> None:
        """Raises MachineError where none can be made."""
        self._engine: Engine = ensure_engine(progress)
        self._lock = threading.Lock()
        with closing(self._engine.client()) as client:
            self.tag = ensure_image(client, progress)

    def archive(self) -> bytes:
        """As `docker save` writes it, compressed; kept in the state directory, for hosts to come."""
        kept = state_directory() / "payloads" / f"{self.tag.rpartition(':')[2]}.image.tgz"
        with self._lock:
            if not kept.is_file():
                kept.parent.mkdir(exist_ok=True)
                self._save(kept)
                old = sorted(kept.parent.glob("*.image.tgz"), key=lambda path: path.stat().st_mtime)[:-KEPT]
                for path in old:
                    path.unlink(missing_ok=True)
            return kept.read_bytes()

    def _save(self, target: Path) -> None:
        fresh = target.with_suffix(f".{secrets.token_hex(4)}")
        try:
            with closing(self._engine.client()) as client, gzip.open(fresh, "wb", 1) as file:
                for part in client.api.get_image(self.tag):
                    file.write(part)
            fresh.replace(target)
        except (docker.errors.DockerException, requests.RequestException) as error:
            raise MachineError(f"saving {self.tag} failed: {error}; `moonquake doctor` looks at the engine") from error
        finally:
            fresh.unlink(missing_ok=True)


def examine(connection: Connection, path: str, tag: str = "") -> Said:
    """Which engine the host has, or why none can be used."""
    return _ask(connection, path, "examine", connection.host.engine, tag)


def provide(connection: Connection, path: str, image: NodeImage, progress: Callable[[str], None]) -> str:
    """Give the host's engine the image if it has it not, and try it; the engine's socket. Raises MachineError."""
    host = connection.host
    found = _must(connection, examine(connection, path, image.tag))
    if not found.image:
        data = image.archive()
        progress(f"{host.where}: uploading {image.tag} ({len(data) / 2**20:.1f} MiB)")
        part = f"{host.directory}/cache/{secrets.token_hex(8)}.image"
        connection.put(data, part)
        loaded = _ask(connection, path, "load", found.socket, part)
        if loaded.why or not examine(connection, path, image.tag).image:
            raise MachineError(
                f"{host.where}: its Docker engine did not take the image {image.tag}: "
                f"{loaded.why or 'it has it not'}; is its disk full (`docker system df` there)?"
            )
    tried = _ask(connection, path, "try", found.socket, image.tag, host.directory)
    if tried.why:
        raise MachineError(
            f"{host.where}: its Docker engine cannot run nodes: {tried.why}; docs/hosts.md says what it must be, and "
            "--backend ssh does without one"
        )
    return found.socket


def _ask(connection: Connection, path: str, *words: str) -> Said:
    said = connection.run(removal.privileged(connection.host, path, MODULE, *words), timeout_s=LIMIT_S)
    return msgspec.json.decode(said, type=Said)


def _must(connection: Connection, said: Said) -> Said:
    if said.why:
        raise MachineError(f"{connection.host.where}: {said.why}")
    return said
