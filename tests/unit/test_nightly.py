"""Nights: what is chosen next, what a kill leaves, what a flake is, what is filed, who is told."""

from __future__ import annotations

import http.server
import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar
from xml.etree import ElementTree as xml

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness import cli, commands
from harness.backends.sim.backend import SimBackend
from harness.campaign import Budget
from harness.executors import InProcess, Pool
from harness.night import filing, records, summary, work
from harness.night.choice import GUESS_S, Coverage, Work, choose
from harness.night.records import FILE, Failure, Header, Line, Night, Piece
from harness.outcome import Exit, UsageError
from harness.progress import Observer
from harness.scenario import load
from harness.sources import code_digest
from harness.trial import trial
from nodes.moonshot import rules

SEARCH, SUITE, TOOTH, OLD = (
    Work("search", "swarm"),
    Work("scenario", "a"),
    Work("teeth", "MM1"),
    Work("regression", "r"),
)
KINDS = ["scenario", "search", "frontier", "teeth"]


def piece(w: Work, seconds: float = 10.0, runs: int = 1, **more: Any) -> Piece:
    return Piece(w.kind, w.name, 1, runs, seconds, more.pop("status", "ok"), **more)


def night(*pieces: Piece, started: str = "n", backend: str = "sim") -> Night:
    return Night(
        Path("/nights") / started, [Line(night=Header(started, 60.0, backend, "c")), *(Line(piece=p) for p in pieces)]
    )


# ---------------------------------------------------------------- what is next
def test_what_broke_before_comes_first_and_once() -> None:
    works = [SUITE, SEARCH, OLD]
    assert choose(works, Coverage([], []), 60.0) == OLD
    assert choose(works, Coverage([], [piece(OLD)]), 60.0) == SUITE


def test_what_an_earlier_night_left_out_comes_before_what_it_did() -> None:
    works = [SUITE, Work("scenario", "b"), SEARCH]
    assert choose(works, Coverage([night(piece(SUITE))], []), 60.0) == SEARCH
    assert choose(works, Coverage([night(piece(SUITE), piece(SEARCH, 50.0))], []), 60.0) == Work("scenario", "b")


def test_what_no_longer_fits_waits_but_something_is_always_done() -> None:
    coverage = Coverage([], [piece(SUITE, seconds=30.0)])
    assert choose([SUITE], coverage, 29.0) is None
    assert choose([SUITE, TOOTH], coverage, 29.0) == TOOTH
    assert choose([SUITE], Coverage([night(piece(SUITE, seconds=500.0))], []), 1.0) == SUITE


@given(st.lists(st.tuples(st.sampled_from(KINDS), st.sampled_from("abc")), min_size=1, unique=True), st.integers(1, 60))
def test_nothing_is_starved(pairs: list[tuple[Any, str]], rounds: int) -> None:
    """With a budget that fits all, pieces of one kind never differ by more than one run."""
    works = [Work(kind, name) for kind, name in pairs]
    coverage = Coverage([], [])
    for _ in range(rounds):
        chosen = choose(works, coverage, 1e9)
        assert chosen is not None
        coverage.add(piece(chosen, seconds=GUESS_S[chosen.kind] or 5.0))
    for kind in KINDS:
        runs = [coverage.total_runs[w] for w in works if w.kind == kind]
        assert not runs or max(runs) - min(runs) <= 1


# ---------------------------------------------------------------- what a kill leaves
def test_a_torn_line_is_dropped_and_the_night_goes_on(tmp_path: Path) -> None:
    header = Header("20260101T000000Z", 60.0, "sim", code_digest())
    _, journal = records.begin(tmp_path / "nights" / header.started, header)
    journal.append(Line(piece=piece(SUITE)))
    journal.close()
    path = tmp_path / "nights" / header.started / FILE
    path.write_bytes(path.read_bytes() + b'{"piece":{"kind":"sea')
    found, journal = records.go_on(tmp_path, "sim")
    journal.append(Line(piece=piece(SEARCH)))
    journal.append(Line(ended="now"))
    journal.close()
    assert [p.name for p in found.pieces] == ["a"]
    (whole,) = records.nights(tmp_path)
    assert [p.name for p in whole.pieces] == ["a", "swarm"] and whole.ended == "now"
    with pytest.raises(UsageError, match="was broken off"):
        records.go_on(tmp_path, "sim")


def test_other_code_or_another_backend_does_not_go_on(tmp_path: Path) -> None:
    records.begin(tmp_path / "nights" / "x", Header("x", 60.0, "sim", "other"))[1].close()
    with pytest.raises(UsageError, match="other code"):
        records.go_on(tmp_path, "sim")
    records.begin(tmp_path / "nights" / "y", Header("y", 60.0, "docker", code_digest()))[1].close()
    with pytest.raises(UsageError, match="--backend docker"):
        records.go_on(tmp_path, "sim")


SCRIPT = """
import sys, time
from harness import cli
from harness.night import work
from harness.night.work import Done
def slow(desk, w, seed, slice_s):
    time.sleep(0.02)
    return Done(1, "ok")
work.DOING.update({kind: slow for kind in work.DOING})
sys.argv = ["moonquake", *sys.argv[1:]]
cli.main()
"""


def test_a_night_that_is_killed_goes_on_and_loses_nothing_recorded(tmp_path: Path) -> None:
    command = [sys.executable, "-c", SCRIPT, "nightly", "--backend", "sim", "--workers", "1", "--runs", str(tmp_path)]
    killed = subprocess.Popen([*command, "--budget", "100h"], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 120
        while not (before := [n for n in records.nights(tmp_path) if len(n.pieces) >= 3]):
            assert killed.poll() is None and time.monotonic() < deadline
            time.sleep(0.05)
    finally:
        killed.send_signal(signal.SIGKILL)
        killed.wait()
    recorded = records.nights(tmp_path)[0].pieces
    path = before[0].directory / FILE
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0].replace(b'"budget_s":360000.0', b'"budget_s":1.0') + b"".join(lines[1:]))
    again = subprocess.run([*command, "--resume", "--json"], capture_output=True, timeout=300, check=False)
    found = json.loads(again.stdout)
    assert again.returncode == found["exit"] == Exit.AS_EXPECTED
    (whole,) = records.nights(tmp_path)
    assert whole.pieces[: len(recorded)] == recorded and whole.ended
    assert found["pieces"] == len(whole.pieces)
    assert {"summary.json", "junit.xml", "night.html"} <= {p.name for p in whole.directory.iterdir()}


# ---------------------------------------------------------------- failures and flakes
SMALL = """
name = "small"
expect = "hold"
[cluster]
nodes = 4
[network]
latency = "uniform:50"
[workload]
kind = "transfers"
rate = 10
clients = 2
duration = "2s"
[run]
quiet = "1s"
"""


def small(path: Path) -> Path:
    """A scenario that takes a moment."""
    (path / "small.toml").write_text(SMALL)
    return path / "small.toml"


def desk(tmp_path: Path, backend: Any) -> work.Desk:
    return work.Desk(backend, Pool(1, InProcess), tmp_path, tmp_path / "night", tmp_path / "filed", Observer())


class Named(SimBackend):
    """The simulator under the name of a backend where the operating system has a say."""

    name = "process"


@pytest.mark.parametrize(("broken", "status"), [((True, True, False), "failure"), ((True, False, False), "flake")])
def test_a_surprise_that_does_not_come_back_is_a_flake(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: tuple[bool, ...], status: str
) -> None:
    left = list(broken)
    honest = commands.run_plan

    def sometimes(plan: Any, backend: Any, *rest: Any) -> Any:
        with pytest.MonkeyPatch.context() as patch:
            if left.pop(0):
                patch.setattr(rules, "may_vote_normal", lambda *a, **k: False)
                patch.setattr(rules, "may_vote_optimistic", lambda *a, **k: False)
                patch.setattr(rules, "may_vote_fallback", lambda *a, **k: False)
            return honest(plan, SimBackend(), *rest)

    monkeypatch.setattr(commands, "run_plan", sometimes)
    monkeypatch.setattr(filing, "file_failure", lambda *a: (tmp_path / "filed.toml", False))
    done = work.do(desk(tmp_path, Named()), Work("scenario", str(small(tmp_path))), 1, 1.0)
    assert done.status == status
    assert done.failures and done.failures[0].again == (sum(broken[1:]), 2)
    assert done.runs == 3


def test_what_a_search_finds_is_filed_and_known_the_next_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules, "may_vote_optimistic", lambda state, block: state.view == block.view)
    monkeypatch.setattr(work, "Budget", lambda seconds: Budget(runs=1))
    monkeypatch.setattr(work, "BASE", str(small(tmp_path)))
    monkeypatch.setattr(filing, "TRIALS", 3)
    at = desk(tmp_path, SimBackend())
    first = work.do(at, Work("search", "byzzfuzz"), 0, 1.0)
    assert first.status == "failure" and len({f.filed for f in first.failures}) == 1
    found = first.failures[0]
    assert found.again == (1, 1) and not found.known
    filed = load(Path(found.filed))
    assert filed.name == Path(found.filed).stem and not filed.expect.violate and filed.seed is not None
    assert {f.property for f in first.failures} & set(trial(filed, filed.seed).violated())
    monkeypatch.undo()
    assert Work("regression", filed.name) in work.works(at)
    again = work.do(at, Work("regression", filed.name), 1, 1.0)
    assert again.seed == 1 and again.failures == () and again.status in ("ok", "unknown")  # mended: it may not bite now
    path, known = filing.file_failure(Path(found.run), tmp_path / "filed", lambda: True)
    assert known and str(path) == found.filed


def test_trouble_with_the_machine_is_unknown_and_the_night_goes_on(tmp_path: Path) -> None:
    done = work.do(desk(tmp_path, SimBackend()), Work("scenario", "no-such-scenario"), 1, 1.0)
    assert done.status == "unknown" and "no scenario" in done.reason and done.runs == 0


# ---------------------------------------------------------------- who is told
class Hook(http.server.BaseHTTPRequestHandler):
    """Keeps what it is told, and answers as it is set to."""

    told: ClassVar[list[dict[str, Any]]] = []
    answer = 204

    def do_POST(self) -> None:
        """One notification."""
        self.told.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(self.answer)
        self.end_headers()

    def log_message(self, *args: Any) -> None:
        """Nothing to standard error."""


@pytest.fixture
def hook() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hook)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/hook"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(("answer", "code"), [(204, Exit.AS_EXPECTED), (500, Exit.ENVIRONMENT)])
def test_the_webhook_is_told_and_trouble_with_it_is_not_silent(
    hook: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    answer: int,
    code: int,
) -> None:
    monkeypatch.setattr(Hook, "answer", answer)
    monkeypatch.setattr(work, "DOING", dict.fromkeys(work.DOING, lambda *a: work.Done(1, "ok")))
    Hook.told.clear()
    with pytest.raises(SystemExit) as ended:
        cli.main([
            "nightly", "--budget", "200ms", "--backend", "sim", "--workers", "1", "--runs", str(tmp_path), "--json",
            "--webhook", hook,
        ])  # fmt: skip
    assert ended.value.code == code
    assert [t["night"] for t in Hook.told] == [json.loads(capsys.readouterr().out)["night"]]


@pytest.mark.parametrize("words", [["--budget", "soon"], ["--webhook", "ftp://x"], ["--backend", "moon"], ["--resume"]])
def test_what_makes_no_sense_is_refused_before_anything_begins(words: list[str], tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["nightly", "--runs", str(tmp_path / "r"), *words])
    assert ended.value.code == Exit.USAGE
    assert not (tmp_path / "r").exists()


# ---------------------------------------------------------------- what it came to
def test_the_exit_code_and_junit_call_nothing_a_pass_that_is_none() -> None:
    bad = piece(SUITE, status="failure", failures=(Failure("fork", "fork", "two \x00 blocks", again=(2, 2)),))
    flaky = piece(SEARCH, status="flake", failures=(Failure("dedup", "twice", "applied twice", again=(0, 2)),))
    open_ = piece(TOOTH, status="unknown", reason="no engine")
    assert summary.exit_of([piece(SUITE)], False) == Exit.AS_EXPECTED
    assert summary.exit_of([], False) == summary.exit_of([piece(SUITE)], True) == Exit.INCONCLUSIVE
    assert summary.exit_of([flaky], False) == summary.exit_of([open_], False) == Exit.INCONCLUSIVE
    assert summary.exit_of([bad, flaky], True) == Exit.SURPRISE
    root = xml.fromstring(summary.junit(night(bad, flaky, open_, piece(OLD))))
    suites = {suite.get("name"): (suite.get("failures"), suite.get("errors")) for suite in root}
    assert suites == {"scenario": ("1", "0"), "search": ("0", "1"), "teeth": ("0", "1"), "regression": ("0", "0")}
    assert "came back 2 of 2 times" in (root.find("testsuite/testcase/failure").text or "")  # type: ignore[union-attr]


def test_figures_that_moved_are_named_with_their_direction() -> None:
    def of(latency: float, states: float, started: str) -> Night:
        return night(
            piece(SUITE, figures={"finality-bounds.ordering": latency}),
            piece(SEARCH, figures={"states": states}),
            started=started,
        )

    earlier = [of(100.0, 50.0, "1"), of(104.0, 50.0, "2"), night(piece(SUITE), backend="docker", started="3")]
    assert summary.changes(of(109.0, 51.0, "4"), earlier) == []
    moved = {
        c["figure"]: (c["usual"], c["better"], c["nights"]) for c in summary.changes(of(130.0, 80.0, "4"), earlier)
    }
    assert moved == {
        "scenario/a finality-bounds.ordering": (102.0, False, 2),
        "search/swarm states": (50.0, True, 2),
    }
