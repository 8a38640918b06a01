"""The real command line in a process of its own, and everything it may leave behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from harness.backends.docker_network import LABEL_OWNER, LABEL_RUN
from harness.backends.nft import Nft
from harness.backends.processes import process_ident, process_start
from harness.provision.engine import find_engine
from harness.provision.packages import find_tool

LIMIT_S = 120.0
SCENARIO = """
name = "small"
expect = "hold"
[cluster]
nodes = 4
[network]
latency = "uniform:20"
[workload]
kind = "transfers"
rate = 10
clients = 4
duration = "LOAD"
[run]
quiet = "3s"
"""
PARTITION = """
[[fault]]
use = "partition"
topology = "halves"
from = "1s"
"""


class Command:
    """`moonquake WORDS` with a state directory of its own, in its own process group, its output in files.

    `program`: what Python runs in place of the command line.
    """

    def __init__(
        self,
        place: Path,
        *words: str,
        toxiproxy: Path | None = None,
        program: Sequence[str] = ("-m", "harness.cli"),
        **popen: Any,
    ) -> None:
        self.place = place
        self.runs = place / "runs"
        environment = {**os.environ, "MOONQUAKE_STATE": str(place / "state")}
        if toxiproxy is not None:
            environment["PATH"] = f"{toxiproxy.parent}{os.pathsep}{environment['PATH']}"
        engine = find_engine()
        if engine is not None:
            environment["DOCKER_HOST"] = engine.url
        environment |= popen.pop("environment", {})
        with (place / "out").open("wb") as out, (place / "err").open("wb") as err:
            self.process = subprocess.Popen(
                [sys.executable, *program, *words],
                stdout=out,
                stderr=err,
                env=environment,
                start_new_session=True,
                **popen,
            )

    @property
    def said(self) -> str:
        """Standard error so far."""
        return (self.place / "err").read_text(errors="replace")

    def document(self) -> Any:
        """The one JSON document on standard output."""
        return json.loads((self.place / "out").read_text())

    def until(self, what: Callable[[], bool]) -> None:
        """Poll until it holds; the command must still run."""
        deadline = time.monotonic() + LIMIT_S
        while not what():
            assert self.process.poll() is None, self.said
            assert time.monotonic() < deadline, self.said
            time.sleep(0.02)

    def interrupt(self, number: int = signal.SIGINT) -> None:
        """As a terminal does it: the whole process group gets the signal."""
        os.killpg(self.process.pid, number)

    def ended(self) -> int:
        """The exit code."""
        return self.process.wait(LIMIT_S)

    def directory(self) -> Path:
        """The only run directory."""
        (found,) = self.runs.glob("small/*/")
        return found

    def history(self) -> str:
        """What is recorded so far."""
        return "".join(path.read_text() for path in self.runs.glob("small/*/history.jsonl"))

    def children(self) -> list[str]:
        """pid:start of what this command started and is alive."""
        return [process_ident(pid) for pid in _pids() if _parent(pid) == self.process.pid and process_start(pid)]


def start_run(place: Path, backend: str, load: str = "300s", extra: str = PARTITION, **more: Any) -> Command:
    """`moonquake run` of a small scenario: four nodes, a partition that lasts to the end of the load."""
    (place / "small.toml").write_text(SCENARIO.replace("LOAD", load) + extra)
    words = ("run", str(place / "small.toml"), "--backend", backend, "--json", "--runs", str(place / "runs"))
    return Command(place, *words, **more)


def finish(place: Path, *words: str, **more: Any) -> tuple[int, Any]:
    """Run a command with --json to its end: exit code and document."""
    place.mkdir(exist_ok=True)
    command = Command(place, *words, "--json", **more)
    return command.ended(), command.document()


def gone(idents: list[str]) -> bool:
    """Has every one of these processes ended?"""
    return not any(process_start(int(ident.partition(":")[0])) == ident.partition(":")[2] for ident in idents)


def left_by(pid: int) -> list[str]:
    """Containers, networks, nft tables and iptables rules of the harness process `pid`."""
    found = []
    engine = find_engine()
    if engine is not None:
        with closing(engine.client()) as client:
            for container in client.containers.list(all=True, filters={"label": LABEL_RUN}):
                found += [container.name] * container.labels[LABEL_OWNER].startswith(f"{pid}:")
            for network in client.networks.list(filters={"label": LABEL_RUN}):
                found += [network.name] * network.attrs["Labels"][LABEL_OWNER].startswith(f"{pid}:")
    if os.geteuid() == 0 and find_tool("nft") is not None:
        found += [name for _, name in Nft().tables(f"moonquake_{pid}_")]
    tool = find_tool("iptables")
    if os.geteuid() == 0 and tool is not None:
        listed = subprocess.run([tool, "-w", "-t", "mangle", "-S"], capture_output=True, text=True, check=False)
        found += [line for line in listed.stdout.splitlines() if f"moonquake_{pid}_" in line]
    return found


def _pids() -> list[int]:
    return [int(path.name) for path in Path("/proc").glob("[0-9]*")]


def _parent(pid: int) -> int:
    try:
        return int((Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0
