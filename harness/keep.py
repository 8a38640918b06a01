"""Where a run's records go: into a run directory, or, for campaigns of thousands of simulated runs, into memory."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import msgspec

from faults.port import NodeId
from harness import collect, rundir
from harness.backends.port import MachineError, RunningCluster
from harness.backends.sim.cluster import SimCluster
from harness.backends.sim.node import Traced, record_of
from harness.recorder import Recorder
from results.history import Operation
from results.store import Run, RunInfo
from results.trace import TraceEvent, read_trace

PART = 20_000  # records that are encoded at a time


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
            return self._write(merged(cluster)), []
        files = {node: cluster.trace_file(node) for node in cluster.roster.nodes}
        notes = collect.merge_traces(files, cluster.roster.byzantine, self._trace)
        return collect.count_records(self._trace), notes

    def _write(self, parts: Iterable[tuple[bytes, int]]) -> int:
        """Write the trace part by part; returns the number of records."""
        count = 0
        try:
            with self._trace.open("wb") as file:
                for data, records in parts:
                    file.write(data)
                    count += records
        except OSError as error:
            raise MachineError(
                f"{self._trace}: cannot be written: {error.strerror}; make room on the disk, or choose another with"
                " --runs DIR"
            ) from error
        return count

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
        parts = list(merged(cluster))
        self.trace = b"".join(data for data, _ in parts)
        return sum(records for _, records in parts), []

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


def merged(cluster: SimCluster) -> Iterator[tuple[bytes, int]]:
    """The nodes' traces as `collect.merge_traces` would merge their files: bytes of trace.jsonl and the number of
    records in them, PART records at a time, so that a long run is not in memory three times."""
    byzantine = set(cluster.roster.byzantine)
    bodies: set[str] = set()
    entries: list[tuple[NodeId, Traced]] = []
    for name in sorted(cluster.nodes, key=lambda n: (n in byzantine, n)):  # honest first: their bodies are kept
        for traced in cluster.nodes[name].trace:
            if traced[2] == "body":
                batch = traced[3]["batch"]
                if batch in bodies:
                    continue
                bodies.add(batch)
            entries.append((name, traced))
    entries.sort(key=lambda entry: entry[1][0])
    encoder = msgspec.json.Encoder()
    for first in range(0, len(entries), PART):
        part = entries[first : first + PART]
        yield encoder.encode_lines([record_of(name, traced) for name, traced in part]), len(part)


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
    sha = hashlib.sha256()
    for name in ("trace.jsonl", "history.jsonl"):
        path = directory / name
        sha.update(path.stat().st_size.to_bytes(8, "big"))
        with path.open("rb") as file:
            for part in iter(lambda: file.read(1 << 20), b""):
                sha.update(part)
    return sha.hexdigest()
