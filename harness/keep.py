"""Where a run's records go: into a run directory, or, for campaigns of thousands of simulated runs, into memory."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import msgspec

from harness import collect, rundir
from harness.backends.port import MachineError, RunningCluster
from harness.backends.sim.cluster import SimCluster, events_of
from harness.recorder import Recorder
from results.history import Operation
from results.store import Run, RunInfo
from results.trace import TraceEvent, read_trace


class Keep(Protocol):
    """What the runner needs of the place. `directory` exists only where files are kept."""

    directory: Path
    run_id: str
    started: str  # UTC, for names

    def write_info(self, info: RunInfo) -> None:
        """Keep what is known of the run by now. Raises MachineError."""
        ...

    def recorder(self, now: Callable[[], int]) -> Recorder:
        """A history to write to."""
        ...

    def collect(self, cluster: RunningCluster) -> tuple[int, list[str]]:
        """Merge the stopped nodes' traces: how many records, and notes on what is missing. Raises MachineError."""
        ...

    def said_by(self, nodes: Collection[str]) -> list[TraceEvent]:
        """The collected events of these nodes."""
        ...


class DirectoryKeep:
    """A new run directory under `root`."""

    def __init__(self, root: Path, scenario: str, seed: int) -> None:
        self.started = rundir.utc_now()
        self.directory = rundir.create(root, scenario, seed, self.started)
        self.run_id = rundir.short_id(scenario, seed, self.started)
        self._trace = self.directory / "trace.jsonl"

    def write_info(self, info: RunInfo) -> None:
        rundir.write_info(self.directory, info)

    def recorder(self, now: Callable[[], int]) -> Recorder:
        return Recorder(self.directory / "history.jsonl", now)

    def collect(self, cluster: RunningCluster) -> tuple[int, list[str]]:
        if isinstance(cluster, SimCluster):
            data, count = merged(cluster)
            self._write(data)
            return count, []
        files = {node: cluster.trace_file(node) for node in cluster.roster.nodes}
        notes = collect.merge_traces(files, cluster.roster.byzantine, self._trace)
        return collect.count_records(self._trace), notes

    def _write(self, data: bytes) -> None:
        try:
            self._trace.write_bytes(data)
        except OSError as error:
            raise MachineError(
                f"{self._trace}: cannot be written: {error.strerror}; make room on the disk, or choose another with"
                " --runs DIR"
            ) from error

    def said_by(self, nodes: Collection[str]) -> list[TraceEvent]:
        return [event for event in read_trace(self._trace) if event["node"] in nodes]


class _MemoryFile:
    """A file that holds what is written to it."""

    def __init__(self) -> None:
        self.data = bytearray()

    def write(self, data: bytes | memoryview) -> int:
        self.data += data
        return len(data)

    def truncate(self, size: int) -> None:
        del self.data[size:]

    def close(self) -> None:
        """Nothing to do."""


class MemoryKeep:
    """The records of one simulated run, in memory: the same bytes as the files of a run directory would hold."""

    def __init__(self) -> None:
        self.directory = Path("memory")
        self.run_id = "memory"
        self.started = ""
        self.history = _MemoryFile()
        self.trace = b""

    def write_info(self, info: RunInfo) -> None:
        """The runner holds it."""

    def recorder(self, now: Callable[[], int]) -> Recorder:
        return Recorder(Path("history.jsonl"), now, self.history)

    def collect(self, cluster: RunningCluster) -> tuple[int, list[str]]:
        assert isinstance(cluster, SimCluster), "only simulated runs are kept in memory"
        self.trace, count = merged(cluster)
        return count, []

    def said_by(self, nodes: Collection[str]) -> list[TraceEvent]:
        return [event for event in self.events if event["node"] in nodes]

    @cached_property
    def events(self) -> list[TraceEvent]:
        """The collected trace, decoded once for the runner and the judges."""
        return decode_lines(self.trace)

    def digest(self) -> str:
        return digest_of(self.trace, bytes(self.history.data))


class MemoryRun(Run):
    """A run whose records are in memory, for the checkers."""

    def __init__(self, info: RunInfo, keep: MemoryKeep) -> None:
        super().__init__(keep.directory)
        self._info, self._keep = info, keep

    @property
    def trace_bytes(self) -> bytes:
        """What trace.jsonl would hold."""
        return self._keep.trace

    @property
    def history_bytes(self) -> bytes:
        """What history.jsonl would hold."""
        return bytes(self._keep.history.data)

    @cached_property
    def info(self) -> RunInfo:
        return self._info

    @cached_property
    def history(self) -> Sequence[Operation]:
        decoder = msgspec.json.Decoder(Operation)
        return [decoder.decode(line) for line in bytes(self._keep.history.data).splitlines()]

    @cached_property
    def trace(self) -> Sequence[TraceEvent]:
        return self._keep.events


def merged(cluster: SimCluster) -> tuple[bytes, int]:
    """The nodes' traces as `collect.merge_traces` would merge their files (bytes of trace.jsonl, number of records)."""
    byzantine = set(cluster.roster.byzantine)
    bodies: set[str] = set()
    events: list[dict[str, Any]] = []
    for name in sorted(cluster.nodes, key=lambda n: (n in byzantine, n)):  # honest first: their bodies are kept
        for event in events_of(cluster.nodes[name]):
            if event["event"] == "body":
                if event["batch"] in bodies:
                    continue
                bodies.add(event["batch"])
            events.append(event)
    events.sort(key=lambda event: int(event["time"]))
    return msgspec.json.Encoder().encode_lines(events), len(events)


def decode_lines(data: bytes) -> list[TraceEvent]:
    """Trace records of a trace.jsonl in memory."""
    decoder = msgspec.json.Decoder(dict[str, Any])
    return decoder.decode_lines(data)


def digest_of(trace: bytes, history: bytes) -> str:
    """What two equal runs have in common: SHA-256 over trace.jsonl and history.jsonl, each behind its length."""
    sha = hashlib.sha256()
    for data in (trace, history):
        sha.update(len(data).to_bytes(8, "big"))
        sha.update(data)
    return sha.hexdigest()


def digest_of_run(directory: Path) -> str:
    """The digest of a run directory. Raises OSError when a file is missing."""
    return digest_of((directory / "trace.jsonl").read_bytes(), (directory / "history.jsonl").read_bytes())
