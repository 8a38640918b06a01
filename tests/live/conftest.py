"""What live tests need is provided here, once a session; skipped only where it cannot be had, with the reason."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.backends.docker import DockerBackend
from harness.backends.port import MachineError
from harness.provision.toxiproxy import ensure_toxiproxy
from tests.live.on_hosts import STARTED


@pytest.fixture(scope="session")
def docker_backend() -> DockerBackend:
    """Engine up, image built, packet layer there."""
    said: list[str] = []
    backend = DockerBackend(said.append)
    try:
        backend.prepare()
    except MachineError as error:
        pytest.skip(f"no containers on this machine: {error}")
    return backend


@pytest.fixture(scope="session")
def toxiproxy_server() -> Path:
    """The Toxiproxy binary."""
    try:
        return ensure_toxiproxy(lambda _: None)
    except MachineError as error:
        pytest.skip(f"no Toxiproxy on this machine: {error}")


@pytest.fixture
def ended() -> Iterator[None]:
    """No harness on hosts outlives its test, whatever that came to."""
    STARTED.clear()
    yield
    for command in STARTED:
        if command.process.poll() is None:
            command.process.kill()
            command.process.wait()
