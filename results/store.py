"""The run directory: `runs/<scenario>/<utc>-<seed>/` (architecture section 5). Nothing is ever overwritten."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from results.history import UNDECODABLE, HistoryError, Operation, read_history, whole_text
from results.metrics import RunMetrics
from results.trace import TraceEvent, read_trace
from results.verdict import Verdict

if TYPE_CHECKING:
    from results.trace_columns import TraceColumns

COLUMNS = "trace.parquet"
METRICS = "metrics.json"


class FaultInfo(msgspec.Struct, omit_defaults=True):
    """A declared fault or behaviour: `id` ties it to its nemesis operations and receipts."""

    id: int
    use: str
    kind: str = "fault"  # fault | behaviour
    start: int = 0  # ns, as scheduled
    stop: int = 0
    targets: list[str] = []
    parameters: dict[str, Any] = {}


class RunInfo(msgspec.Struct, omit_defaults=True):
    """run.json."""

    scenario: dict[str, Any]
    name: str
    seed: int
    backend: str
    layer: str
    target: str
    expect: dict[str, Any]  # {"hold": true} or {"violate": [...], "hold": [...]}
    regime: str  # within | beyond
    chain: str
    epoch: int
    cycle: int
    tribe: list[str]
    gateways: list[str]
    clans: list[list[str]]
    public_keys: dict[str, str]
    honest: list[str]
    byzantine: list[str]
    amnesiac: list[str] = []  # nodes whose disk is lost in this run
    crashed: list[str] = []  # nodes that are killed at some time
    thresholds: dict[str, Any] = {}  # faults, quorum, validity; clans: [{size, faults, majority}]
    scheme: str = "ed25519"  # of all signatures
    ideal_seeds: dict[str, str] = {}  # scheme "ideal": public key -> seed, both hex; the adversary had only its own
    parameters: dict[str, Any] = {}  # protocol parameters, ms
    accounts: dict[str, int] = {}  # genesis balances by address
    beacon: str = ""
    leaders: dict[str, Any] = {}  # who leads a view: kind (fair-succession | round-robin | fixed), order (fixed only)
    md_ms: float = 0.0  # mean one-way message delay of the scenario's network
    load_start: int = 0  # ns: first client operation allowed
    load_end: int = 0  # ns: workload told to stop
    heal: int = 0  # ns: when the last fault was healed and the quiet phase began (GST of the run)
    end: int = 0  # ns: nodes told to stop
    stragglers: list[str] = []  # honest nodes that had not caught up when the quiet phase ended at its bound
    faults: list[FaultInfo] = []
    checks: dict[str, Any] = {}
    started_utc: str = ""
    versions: dict[str, str] = {}
    machine: dict[str, Any] = {}
    notes: list[str] = []  # e.g. "no Docker engine: fell back to processes"
    interrupted: bool = False
    incomplete: str = ""  # why the records are not those of a whole run: what they lack proves nothing
    recorded: dict[str, int] = {}  # records by file name, so that a file that was cut at a line's end is told
    as_expected: bool | None = None

    def __post_init__(self) -> None:
        """Refuse lists of names that are none; msgspec reports it as a validation error."""
        for where, names in (
            ("checks.include", self.checks.get("include", [])),
            ("expect.violate", self.expect.get("violate", [])),
            ("expect.hold", [] if self.expect.get("hold") is True else self.expect.get("hold", [])),
        ):
            if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
                raise ValueError(f"`{where}` must list names, not {names!r}")


class Run:
    """A run directory, read lazily. Raises HistoryError on files that are missing or damaged."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.signatures_most: int | None = None  # that judges of columns verify; None: their own limit

    @cached_property
    def info(self) -> RunInfo:
        path = self.directory / "run.json"
        try:
            return msgspec.json.decode(whole_text(path.read_bytes()), type=RunInfo)
        except FileNotFoundError as error:
            raise HistoryError(f"{path}: no such file; is {self.directory} a run directory?") from error
        except OSError as error:
            raise HistoryError(f"{path}: cannot be read: {error.strerror}") from error
        except UNDECODABLE as error:
            raise HistoryError(f"{path}: not a run description: {error}") from error

    @cached_property
    def history(self) -> Sequence[Operation]:
        return list(read_history(self.directory / "history.jsonl"))

    @cached_property
    def columns(self) -> TraceColumns | None:
        """The trace as columns, if there is a trace.parquet: then it is what is judged.

        Raises HistoryError if there is a trace.jsonl too that it was not made from.
        """
        path = self.directory / COLUMNS
        if not path.exists():
            return None
        from results.trace_columns import TraceColumns  # arrow: a second that runs without such a file do without

        columns = TraceColumns(path)
        columns.check_source(self.directory / "trace.jsonl")
        return columns

    @cached_property
    def trace(self) -> Sequence[TraceEvent]:
        """All trace events, ordered by time."""
        if self.columns is not None:
            return self.columns.records()
        return sorted(read_trace(self.directory / "trace.jsonl"), key=lambda event: int(event["time"]))

    @cached_property
    def verdicts(self) -> Sequence[Verdict]:
        path = self.directory / "verdicts.json"
        try:
            return msgspec.json.decode(path.read_bytes(), type=list[Verdict])
        except FileNotFoundError as error:
            raise HistoryError(
                f"{path}: no such file; judge the run with `moonquake check {self.directory}`"
            ) from error
        except OSError as error:
            raise HistoryError(f"{path}: cannot be read: {error.strerror}") from error
        except UNDECODABLE as error:
            raise HistoryError(f"{path}: not a list of verdicts: {error}") from error

    @cached_property
    def metrics(self) -> RunMetrics:
        """Its metrics.json; none where there is no such file (nobody counted them yet)."""
        path = self.directory / METRICS
        try:
            return msgspec.json.decode(path.read_bytes(), type=RunMetrics)
        except FileNotFoundError:
            return RunMetrics()
        except OSError as error:
            raise HistoryError(f"{path}: cannot be read: {error.strerror}") from error
        except UNDECODABLE as error:
            raise HistoryError(f"{path}: no metrics of a run: {error}; remove it, then `moonquake report`") from error

    def events(self, *names: str, honest: bool = True) -> list[TraceEvent]:
        """Events with one of the names, ordered by time; of honest nodes and gateways only unless told otherwise."""
        bad = set(self.info.byzantine) if honest else set()
        return [e for e in self.trace if e["event"] in names and e["node"] not in bad]
