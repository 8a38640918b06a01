"""Every reader of outside files under atheris, a fixed number of executions each; and what fuzzing has found before."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from checkers.linearizable import Linearizable
from harness import judging
from results.alone import HistoryAlone
from results.history import HistoryError, read_history
from results.store import Run
from results.trace import read_trace
from results.verdict import Status
from tests.fuzzing.targets import TARGETS, seeds, story

RUNS = int(os.environ.get("MOONQUAKE_FUZZ_RUNS", "20000"))
# How many times as long as others one execution takes: what is accepted is judged, or written and read again.
DEAR = {
    "history-edn": 4,
    "history-json": 4,
    "history-jsonl": 4,
    "run-json": 10,
    "trace-jsonl": 10,
    "trace-parquet": 100,
}
HERE = Path(__file__).parents[2]


@pytest.mark.skipif(find_spec("atheris") is None, reason="no atheris wheel: there are x86-64 Linux ones only (2026-11)")
@pytest.mark.parametrize("name", TARGETS)
def test_atheris_finds_nothing(name: str, tmp_path: Path) -> None:
    words = [sys.executable, "-m", "tests.fuzzing", name, str(RUNS // DEAR.get(name, 1)), str(tmp_path)]
    work = tmp_path / "work"  # libFuzzer ends the process without tidying up
    work.mkdir()
    environment = {**os.environ, "TMPDIR": str(work)}
    done = subprocess.run(words, cwd=HERE, capture_output=True, text=True, env=environment)
    kept = {path.name: path.read_bytes() for path in tmp_path.glob("*-*")}
    assert done.returncode == 0 and not kept, f"{kept}\n{done.stderr[-4000:]}"


@pytest.mark.parametrize("name", TARGETS)
def test_every_target_takes_its_seeds_and_no_bytes_at_all(name: str) -> None:
    assert seeds(name)
    for data in (*seeds(name), b"", b"\n", b"null\n", b"[]", b"{}\n", b"\xef\xbb\xbf", b"\xff\xfe{}"):
        TARGETS[name](data)


def test_a_fault_in_a_reader_would_be_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.fuzzing.targets.read_history", lambda path: [])
    with pytest.raises(AssertionError, match="accepted what is no history"):
        TARGETS["history-jsonl"](seeds("history-jsonl")[0])


# ---------------------------------------------------------------- what atheris found
def test_bytes_that_are_no_text_in_what_is_skipped(tmp_path: Path) -> None:
    """msgspec does not look into fields that it does not know."""
    line = b'{"index":0,"time":1,"process":0,"type":"invoke","f":"txn","value":[],"more":"\xed"}\n'
    (tmp_path / "h.jsonl").write_bytes(line)
    with pytest.raises(HistoryError, match=r"h\.jsonl:1: not a history record: .*utf-8"):
        list(read_history(tmp_path / "h.jsonl"))
    with pytest.raises(HistoryError, match=r"h\.jsonl:1: not a history record: .*utf-8"):
        judging.open_run(tmp_path / "h.jsonl", ["elle-list-append"])
    (tmp_path / "h.json").write_bytes(b"[" + line.strip() + b"]")
    with pytest.raises(HistoryError, match=r"h\.json: not an array of operations: .*utf-8"):
        judging.open_run(tmp_path / "h.json", ["elle-list-append"])
    (tmp_path / "run.json").write_bytes(seeds("run-json")[0].replace(b'"process"', b'"process","more":"\xed"', 1))
    with pytest.raises(HistoryError, match=r"run\.json: not a run description: .*utf-8"):
        _ = Run(tmp_path).info


def test_a_value_that_is_no_text_is_told_with_its_line(tmp_path: Path) -> None:
    good = b'{"type":"invoke","process":0,"f":"read","value":["x",null]}\n'
    (tmp_path / "h.jsonl").write_bytes(good + b'{"type":"ok","process":0,"f":"read","value":["\xed",1]}\n')
    verdict = Linearizable().check(HistoryAlone(tmp_path / "h.jsonl"))
    assert verdict.status is Status.UNKNOWN and "crashed" not in verdict.reason
    assert "h.jsonl:2" in verdict.reason


def test_a_time_that_is_true_is_no_number(tmp_path: Path) -> None:
    (tmp_path / "trace.jsonl").write_bytes(b'{"time":true,"node":"n0","incarnation":1,"event":"start"}\n')
    with pytest.raises(HistoryError, match=r"trace\.jsonl:1: trace record whose 'time'"):
        list(read_trace(tmp_path / "trace.jsonl"))


def test_the_story_that_seeds_come_from_has_every_record() -> None:
    assert {"finalise", "vote", "certify", "execute", "gateway"} <= {event["event"] for event in story().trace}
