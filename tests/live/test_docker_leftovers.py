"""After kill -9 of a harness the next command removes its containers, network, nft table, rule and daemon."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from harness.backends.docker import DockerBackend
from harness.backends.docker_network import LABEL_OWNER
from harness.backends.nft import Nft
from harness.provision import clean
from harness.provision.engine import find_engine
from harness.provision.state import project_root

pytestmark = [pytest.mark.live, pytest.mark.docker]

HARNESS = """
import asyncio, pathlib, sys
from harness.backends.docker import DockerBackend
from tests.live.docker_lab import make_spec

async def main():
    async with DockerBackend().up(make_spec(pathlib.Path(sys.argv[1]), tribe=3, gateways=0, delay_ms=5)):
        print("up", flush=True)
        await asyncio.sleep(600)

asyncio.run(main())
"""


def daemons_of(run_owner: int) -> list[str]:
    """Delay daemons whose parent is this process."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0")
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
        except (OSError, ValueError, IndexError):
            continue
        if b"harness.backends.delay" in words and parent == run_owner:
            found.append(entry.name)
    return found


def test_a_killed_harness_is_cleaned_up_after(docker_backend: DockerBackend, tmp_path: Path) -> None:
    harness = subprocess.Popen(
        [sys.executable, "-c", HARNESS, str(tmp_path)], cwd=project_root(), stdout=subprocess.PIPE, text=True
    )
    assert harness.stdout is not None
    assert harness.stdout.readline() == "up\n"
    daemons = daemons_of(harness.pid)
    harness.send_signal(signal.SIGKILL)
    harness.wait()
    harness.stdout.close()
    engine = find_engine()
    assert engine is not None
    with closing(engine.client()) as client:

        def left() -> list[str]:
            mine = f"{harness.pid}:"
            things = [*client.containers.list(all=True), *client.networks.list()]
            labels = [t.attrs.get("Labels") or t.attrs.get("Config", {}).get("Labels") or {} for t in things]
            owners = [str(label.get(LABEL_OWNER, "")) for label in labels]
            return [o for o in owners if o.startswith(mine)]

        assert len(left()) == 4  # three nodes, one network
        clean.sweep(lambda _: None)  # another command's own sweep may be quicker: what counts is that all is gone
        assert left() == []
    assert not [name for _, name in Nft().tables(f"moonquake_{harness.pid}_")]
    deadline = time.monotonic() + 20
    while any((Path("/proc") / pid).exists() for pid in daemons):
        assert time.monotonic() < deadline, "the delay daemon outlives its harness"
        time.sleep(0.05)
    assert not [line for line in clean.sweep(lambda _: None) if str(harness.pid) in line]
