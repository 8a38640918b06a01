"""What each reader must do with any bytes at all: accept what an independent parser accepts too, or say what is wrong.

A target takes bytes and raises nothing but AssertionError (or what should not have come out of the reader at all).
"""

from __future__ import annotations

import atexit
import json
import os
import shutil
import tempfile
import tomllib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from checkers import culprits
from checkers.evidence import EvidenceError
from checkers.registry import judge
from harness.outcome import UsageError
from harness.scenario import load
from results.alone import HistoryAlone
from results.evidence import read_evidence
from results.history import HistoryError, read_history
from results.store import Run
from results.trace import read_trace
from results.trace_columns import TraceColumns
from results.trace_parquet import write_trace
from results.verdict import Status
from tests.golden.story import Story
from tests.golden.story import load as load_story
from tests.golden.world import World

Target = Callable[[bytes], None]
GOLDEN = Path(__file__).parents[1] / "golden"
SHIPPED = Path(__file__).parents[2] / "harness" / "scenarios"
TARGETS: dict[str, Target] = {}
TRANSACTIONAL = ("elle-list-append", "elle-rw-register", "linearizable")
SAFETY = ("fork", "prefix", "order", "ancestry", "votes", "locks", "dedup", "timeouts")
LONGEST = 4096  # bytes of a seed


def target(name: str) -> Callable[[Target], Target]:
    def keep(function: Target) -> Target:
        TARGETS[name] = function
        return function

    return keep


@cache
def _directory() -> Path:
    """One directory for all inputs of this process, in memory where there is such a place."""
    where = "/dev/shm" if "TMPDIR" not in os.environ and os.access("/dev/shm", os.W_OK) else None
    made = tempfile.mkdtemp(prefix="moonquake-fuzz-", dir=where)
    atexit.register(shutil.rmtree, made, True)
    return Path(made)


def _file(name: str, data: bytes) -> Path:
    path = _directory() / name
    path.write_bytes(data)
    return path


def _told(error: Exception, path: Path) -> None:
    """A refusal says of which file it speaks and what is wrong."""
    assert str(path) in str(error) and len(str(error)) > len(str(path)) + 10, error


def _judged(path: Path) -> list[Any]:
    """The verdicts over a history alone; a checker that crashes is a bug."""
    verdicts = judge(HistoryAlone(path), TRANSACTIONAL)
    for verdict in verdicts:
        assert "crashed" not in verdict.reason, verdict.reason
        assert verdict.status is not Status.PASS or verdict.examined > 0
    return verdicts


def _plain(data: bytes) -> Any:
    """JSON as the standard library reads it; ... if it is none. Its longest numbers are not ours to judge."""
    try:
        return json.loads(data.decode().removeprefix("\ufeff"), parse_int=str, parse_float=str)
    except (ValueError, RecursionError):
        return ...


def _operations(data: bytes) -> int | None:
    """How many operations lines of JSON hold; None if one of them is none."""
    values = [_plain(line) for line in data.split(b"\n") if line.strip()]
    kinds = ("invoke", "ok", "fail", "info")
    fine = all(isinstance(value, dict) and value.get("type") in kinds for value in values)
    return len(values) if fine else None


@target("history-jsonl")
def history_jsonl(data: bytes) -> None:
    path = _file("history.jsonl", data)
    passed = [verdict for verdict in _judged(path) if verdict.status is Status.PASS]
    try:
        count = len(list(read_history(path)))
    except HistoryError as error:
        _told(error, path)
        return
    assert _operations(data) == count, "accepted what is no history"
    assert not passed or count


@target("history-json")
def history_json(data: bytes) -> None:
    """elle-cli's array of operations."""
    passed = [v for v in _judged(_file("history.json", b"[" + data)) if v.status is Status.PASS]
    if passed:
        values = _plain(b"[" + data)
        assert isinstance(values, list) and values, "a pass of what is no JSON array"


@target("history-edn")
def history_edn(data: bytes) -> None:
    passed = [verdict for verdict in _judged(_file("history.edn", data)) if verdict.status is Status.PASS]
    if passed:
        text = data.decode("utf-8-sig")
        even = all(text.count(a) == text.count(b) for a, b in ("[]", "{}"))
        assert even or any(mark in text for mark in ('"', ";", "#_", "\\")), "a pass of unbalanced brackets"
        assert "ok" in text, "a pass without a completed operation"


@target("trace-jsonl")
def trace_jsonl(data: bytes) -> None:
    """Accepted records are objects with the four fields; they come back from columns as they are."""
    path = _file("trace.jsonl", data)
    try:
        events = list(read_trace(path))
    except HistoryError as error:
        _told(error, path)
        return
    lines = [_plain(line) for line in data.split(b"\n") if line.strip()]
    assert len(lines) == len(events) and all(isinstance(line, dict) for line in lines), "accepted what is no trace"
    for event in events:
        assert type(event["time"]) is int and type(event["incarnation"]) is int
        assert isinstance(event["node"], str) and isinstance(event["event"], str)
    columns = _directory() / "columns.parquet"
    try:
        write_trace(columns, sorted(events, key=lambda event: int(event["time"])))
        assert TraceColumns(columns).records() == sorted(events, key=lambda event: int(event["time"]))
    except HistoryError as error:
        assert "are ours" in str(error) or str(columns) in str(error), error


@cache
def story() -> Story:
    """A small valid run, with every kind of record."""
    return World(plan=(1, 0)).story()


@cache
def _run() -> tuple[Path, bytes, list[dict[str, Any]]]:
    """A run directory with a trace.parquet, its bytes and its records."""
    directory = _directory() / "run"
    directory.mkdir(exist_ok=True)
    (directory / "run.json").write_bytes(msgspec.json.encode(story().info))
    (directory / "history.jsonl").write_bytes(b"".join(msgspec.json.encode(r) + b"\n" for r in story().history))
    path = directory / "trace.parquet"
    write_trace(path, sorted(story().trace, key=lambda event: int(event["time"])))
    return directory, path.read_bytes(), TraceColumns(path).records()


@target("trace-parquet")
def trace_parquet(data: bytes) -> None:
    """Damaged columns are refused by whoever reads them; what passes is what was written."""
    directory, _, records = _run()
    path = directory / "trace.parquet"
    path.write_bytes(data)
    passed = False
    for verdict in judge(Run(directory), SAFETY):
        assert "crashed" not in verdict.reason, verdict.reason
        passed |= verdict.status is Status.PASS
    try:
        assert not passed or TraceColumns(path).records() == records, "a pass of another trace"
    except HistoryError as error:
        _told(error, path)


@target("evidence")
def evidence(data: bytes) -> None:
    path = _file("evidence.json", data)
    try:
        found = read_evidence(path)
    except HistoryError as error:
        _told(error, path)
        return
    assert isinstance(_plain(data), dict)
    try:
        guilty, _ = culprits.verify(found)
    except EvidenceError as error:
        assert str(error)
        return
    assert set(guilty) <= set(found.tribe) & {proof.culprit for proof in found.proofs}


@target("run-json")
def run_json(data: bytes) -> None:
    directory = _directory() / "described"
    directory.mkdir(exist_ok=True)
    (directory / "run.json").write_bytes(data)
    (directory / "history.jsonl").write_bytes(b"".join(msgspec.json.encode(r) + b"\n" for r in story().history))
    (directory / "trace.jsonl").write_bytes(b"".join(msgspec.json.encode(r) + b"\n" for r in story().trace))
    run = Run(directory)
    try:
        info = run.info
    except HistoryError as error:
        _told(error, directory / "run.json")
        return
    assert isinstance(_plain(data), dict)
    for verdict in judge(run, ("fork", "votes", "prefix")):
        if verdict.status is Status.PASS:
            assert {event["node"] for event in story().trace} & {*info.tribe, *info.gateways}


@target("scenario")
def scenario(data: bytes) -> None:
    path = _file("scenario.toml", data)
    try:
        found = load(path)
    except UsageError as error:
        _told(error, path)
        return
    assert found.name and tomllib.loads(data.decode())


def seeds(name: str) -> list[bytes]:
    """Inputs to begin with: golden files, cut to some thousand bytes."""
    texts = sorted((GOLDEN / "elle-list-append" / "histories").glob("*.jsonl"))[::4]
    lines = [path.read_bytes() for path in texts]
    if name == "history-json":
        return [b",".join(line for line in text.splitlines()) + b"]" for text in lines]
    if name == "history-edn":
        return [_edn(text) for text in lines]
    if name == "trace-jsonl":
        return [b"".join(msgspec.json.encode(e) + b"\n" for e in story().trace[at : at + 9]) for at in (0, 40, 80)]
    if name == "trace-parquet":
        return [_run()[1]]
    if name == "run-json":
        return [msgspec.json.encode(story().info)]
    if name == "scenario":
        return [path.read_bytes() for path in sorted(SHIPPED.rglob("*.toml"))[::6]]
    return [_evidence()] if name == "evidence" else [text for text in lines if len(text) < LONGEST]


def _edn(text: bytes) -> bytes:
    from results.export import operation_edn
    from results.history import Operation

    return "\n".join(operation_edn(msgspec.json.decode(line, type=Operation)) for line in text.splitlines()).encode()


def _evidence() -> bytes:
    """The culprits of a golden run in which there are some."""
    from checkers.index import index_of

    run = load_story(GOLDEN / "fork" / "bad-two-certificates.jsonl").run()
    return msgspec.json.encode(culprits.evidence(index_of(run)))
