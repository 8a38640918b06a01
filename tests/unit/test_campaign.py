"""Campaigns: budgets, what is kept on disk, what counts as one finding, and a planted bug that is found."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import Executor, Future
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import msgspec
import pytest

from harness import commands
from harness.campaign import Budget, Campaign
from harness.campaign_state import FILE, Header, Line, Recorded, State, open_state
from harness.chunk import IDLE, OTHER, VACUOUS, Failure, Job, Outcome, outcome_of, run_chunk, why
from harness.command_search import budget_of, exit_of, job_of, record
from harness.executors import InProcess, LostError, Pool, make_executor, workers, workers_of
from harness.generators import generator
from harness.journal import Journal
from harness.outcome import Exit, RecordingError, UsageError
from nodes.moonshot import rules
from results.verdict import Status, Verdict

BASE = commands.read_scenario("swarm")
SMALL = {**BASE.raw, "cluster": {"nodes": 4, "clans": 1, "gateways": 1}, "name": "small"}
JOB = Job(SMALL, "seeds")


def outcome(seed: int, *causes: str, fails: tuple[tuple[str, str], ...] = (("fork", "fork"),)) -> Outcome:
    failed = tuple(Failure(p, kind, f"{p} broke by {kind}", True) for p, kind in fails)
    return Outcome(seed, "within", failed, causes=causes, passed=("prefix",), digest="d")


class Scripted(Executor):
    """Answers each seed out of a table; dies at the seeds that it is told to die at."""

    def __init__(
        self,
        table: dict[int, Outcome],
        deadly: dict[int, int] | None = None,
        death: type[Exception] = BrokenProcessPool,
    ) -> None:
        self.table, self.deadly, self.death = table, deadly or {}, death
        self.chunks: list[list[int]] = []

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        seeds = list(args[1])
        self.chunks.append(seeds)
        future: Future[Any] = Future()
        for seed in seeds:
            if self.deadly.get(seed, 0) > 0:
                self.deadly[seed] -= 1
                future.set_exception(self.death("a worker died"))
                return future
        future.set_result([self.table.get(seed, outcome(seed, fails=())) for seed in seeds])
        return future


def noted(job: Job, found: Outcome) -> Recorded:
    return Recorded(f"run-{found.seed}", "", True)


def campaign(tmp_path: Path, executor: Executor, budget: Budget, resume: bool = False, **more: Any) -> Campaign:
    state = open_state(tmp_path, "small", Header(JOB, 1, "code"), resume)
    return Campaign(JOB, 1, budget, state, Pool(1, lambda: executor), noted, **more)


# ---------------------------------------------------------------- counting and findings
def test_a_run_budget_is_met_exactly_and_seeds_count_up(tmp_path: Path) -> None:
    executor = Scripted({})
    done = campaign(tmp_path, executor, Budget(runs=37))
    done.run()
    assert sorted(seed for chunk in executor.chunks for seed in chunk) == list(range(1, 38))
    document = done.document()
    assert (document["runs"], document["failures"], document["clean"]) == (37, [], 37)
    assert document["upper_bound"] == pytest.approx(3 / 37)
    assert document["properties"] == {"prefix": {"pass": 37}}


def test_a_violation_with_a_wider_cause_is_the_same_finding(tmp_path: Path) -> None:
    table = {
        1: outcome(1, "crash", "loss", "partition"),
        2: outcome(2, "crash", "loss"),
        3: outcome(3, "crash", "loss", "pause"),
        4: outcome(4, "pause"),
        5: outcome(5, "crash", "loss", fails=(("liveness", "stalled"),)),
    }
    done = campaign(tmp_path, Scripted(table), Budget(runs=6))
    done.run()
    failures = done.document()["failures"]
    assert [(f["anomaly"], f["seed"], f["causes"], f["count"], f["run"]) for f in failures] == [
        ("fork", 2, ["crash", "loss"], 3, "run-2"),
        ("fork", 4, ["pause"], 1, "run-4"),
        ("stalled", 5, ["crash", "loss"], 1, "run-5"),
    ]
    assert exit_of(done) is Exit.SURPRISE and done.document()["upper_bound"] is None


def test_unknowns_are_never_a_pass(tmp_path: Path) -> None:
    def unknown(seed: int, name: str, kind: str) -> Outcome:
        return Outcome(seed, "within", unknown=((name, kind, "why"),), passed=("fork",))

    for kind, code in ((IDLE, Exit.AS_EXPECTED), (VACUOUS, Exit.INCONCLUSIVE), (OTHER, Exit.INCONCLUSIVE)):
        name = "receipts" if kind == IDLE else "dedup"
        done = campaign(tmp_path, Scripted({2: unknown(2, name, kind)}), Budget(runs=3))
        done.run()
        document = done.document()
        assert document["unknown"][kind] == 1 and sum(document["unknown"].values()) == 1
        assert document["clean"] == (3 if kind == IDLE else 2)
        assert exit_of(done) is code
    done = campaign(tmp_path, Scripted({2: Outcome(2, error="Traceback ...\nValueError: bad")}), Budget(runs=3))
    done.run()
    assert exit_of(done) is Exit.INCONCLUSIVE
    assert done.document()["errors"] == [{"seed": 2, "error": "ValueError: bad"}]


def test_reasons_are_told_apart() -> None:
    def verdict(name: str, reason: str, examined: int = 0) -> Verdict:
        return Verdict(name, Status.UNKNOWN, examined, reason=reason)

    assert why(verdict("receipts", "fault 1 (loss): it did not bite", 1)) == IDLE
    assert why(verdict("receipts", "fault 1 (loss): its heal was not verified", 1)) == OTHER
    ended = "pause stopped nodes that lead, yet no honest node ever timed out: the pacemaker was not exercised"
    assert why(verdict("liveness", ended, 4)) == IDLE
    assert why(verdict("liveness", f"the run was interrupted; {ended}", 4)) == OTHER
    assert why(verdict("dedup", "no transaction was applied")) == VACUOUS
    assert why(verdict("dedup", "the trace of n1 ends 9 s before the others", 3)) == OTHER


# ---------------------------------------------------------------- the state file
def test_a_campaign_goes_on_where_it_was_broken_off(tmp_path: Path) -> None:
    table = {3: outcome(3, "loss")}
    first = campaign(tmp_path, Scripted(table), Budget(runs=15))
    first.run()
    path = tmp_path / "search" / f"small-{Header(JOB, 1, 'code').key()}" / FILE
    with path.open("ab") as file:
        file.write(b'{"chunk": [{"seed": 16')  # killed in the middle of a line
    executor = Scripted(table)
    second = campaign(tmp_path, executor, Budget(runs=40), resume=True)
    second.run()
    assert sorted(seed for chunk in executor.chunks for seed in chunk) == list(range(16, 41))
    document = second.document()
    assert (document["runs"], document["resumed"]) == (40, 15)
    assert [(f["seed"], f["run"], f["count"]) for f in document["failures"]] == [(3, "run-3", 1)]
    lines = path.read_bytes().splitlines()
    assert msgspec.json.decode(lines[0], type=Line).campaign is not None
    assert sum(len(msgspec.json.decode(line, type=Line).chunk or ()) for line in lines) == 40


def test_what_cannot_be_resumed_is_refused(tmp_path: Path) -> None:
    header = Header(JOB, 1, "code")
    with pytest.raises(UsageError, match="no campaign like this one"):
        open_state(tmp_path, "small", header, resume=True)
    with open_state(tmp_path, "small", header, resume=False) as state:
        path = state.path
    with pytest.raises(UsageError, match="other code"):
        open_state(tmp_path, "small", Header(JOB, 1, "new code"), resume=True)
    with open_state(tmp_path, "small", header, resume=False) as other:
        assert other.path != path  # a second one like it has a place of its own
    other.path.write_bytes(b"no json\n")
    with pytest.raises(UsageError, match="damaged"):
        open_state(tmp_path, "small", header, resume=True)
    blocker = tmp_path / "file"
    blocker.write_text("")
    with pytest.raises(RecordingError, match="cannot be made"):
        open_state(blocker, "small", header, resume=False)


def test_a_worker_that_dies_costs_nothing_but_its_own_seed(tmp_path: Path) -> None:
    executor = Scripted({}, {4: 9})  # this one always kills its worker
    done = campaign(tmp_path, executor, Budget(runs=20))
    done.run()
    document = done.document()
    assert document["runs"] == 20
    assert [error["seed"] for error in document["errors"]] == [4]
    assert done.tally.clean == 19
    killed = next(chunk for chunk in executor.chunks if 4 in chunk)
    after = executor.chunks[executor.chunks.index(killed) + 1 :]
    assert len(killed) > 1 and [[seed] for seed in killed] == after[: len(killed)]  # each on its own, to see who it was


def test_a_killed_search_resumes_without_running_a_seed_twice(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "harness.cli", "search", "swarm", "--seed", "50", "--workers", "2"]
    command += ["--runs-dir", str(tmp_path), "--json"]
    process = subprocess.Popen([*command, "--runs", "400"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                               start_new_session=True)  # fmt: skip
    try:
        while sum(len(line.chunk or ()) for line in lines_of(tmp_path)) < 4:
            assert process.poll() is None
            time.sleep(0.1)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    before = [o.seed for line in lines_of(tmp_path) for o in line.chunk or ()]
    target = len(before) + 3
    ended = subprocess.run([*command, "--runs", str(target), "--resume"], capture_output=True, check=False)
    document = json.loads(ended.stdout)
    seeds = [o.seed for line in lines_of(tmp_path) for o in line.chunk or ()]
    assert ended.returncode in (0, 2), ended.stderr
    assert seeds[: len(before)] == before
    assert (document["runs"], document["resumed"]) == (target, len(before))
    assert len(seeds) == len(set(seeds)) == target
    assert not document["failures"] and not document["errors"]


def lines_of(root: Path) -> list[Line]:
    """What the one campaign under `root` has written, whole lines only."""
    found = list(root.glob(f"search/*/{FILE}"))
    data = found[0].read_bytes() if found else b""
    return msgspec.json.Decoder(Line).decode_lines(data[: data.rfind(b"\n") + 1])


# ---------------------------------------------------------------- real runs
def test_a_planted_bug_is_found_recorded_and_reproduced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A replica that votes for whatever is proposed optimistically: ByzzFuzz finds it within a few seeds."""
    monkeypatch.setattr(rules, "may_vote_optimistic", lambda state, block: state.view == block.view)
    job = Job(BASE.raw, "byzzfuzz")
    state = open_state(tmp_path, "byzzfuzz", Header(job, 0, "code"), False)
    done = Campaign(job, 0, Budget(runs=3), state, Pool(1, InProcess), lambda job, found: record(tmp_path, job, found))
    done.run()
    assert exit_of(done) is Exit.SURPRISE
    finding = next(f for f in done.findings if f.property == "fork")
    assert finding.reproduced and finding.regime == "within"
    assert len({f.run for f in done.findings}) == len({f.seed for f in done.findings})  # one run a seed
    run = Path(finding.run)
    assert {"run.json", "history.jsonl", "trace.jsonl", "verdicts.json", "report.html", "scenario.toml"} <= {
        path.name for path in run.iterdir()
    }
    again = commands.read_scenario(str(run / "scenario.toml"))
    assert again.raw == job.values(finding.seed)


def test_a_clean_build_gives_no_findings() -> None:
    for name in ("swarm", "twins", "byzzfuzz"):
        for found in run_chunk(Job(BASE.raw, name), range(200, 205)):
            assert not found.error and not found.failures, found
            assert found.goals and found.states and found.cells and found.views > 5


def test_an_outcome_is_plain_data_and_the_same_every_time() -> None:
    first = outcome_of(Job(BASE.raw), 7)
    assert msgspec.json.decode(msgspec.json.encode(first), type=Outcome) == first
    assert outcome_of(Job(BASE.raw), 7) == first
    assert outcome_of(Job({**BASE.raw, "workload": {}}), 7).error.startswith("refused: ")


# ---------------------------------------------------------------- the command's own rules
def test_options_that_make_no_sense_are_refused() -> None:
    with pytest.raises(UsageError, match="no such generator"):
        generator("storm")
    with pytest.raises(UsageError, match="within or beyond"):
        job_of(BASE, "swarm", "above", ())
    with pytest.raises(UsageError, match="brings an adversary of its own"):
        job_of(commands.read_scenario("fork-past-tribe-bound"), "swarm", "within", ())
    with pytest.raises(UsageError, match="at least 1"):
        budget_of(0, None)
    with pytest.raises(UsageError, match="--time"):
        budget_of(None, "soon")
    for text in ("0", "many"):
        with pytest.raises(UsageError, match="--workers"), workers(text):
            pass
    assert workers_of("3") == 3 and workers_of("") >= 1
    assert budget_of(None, None).runs == 1000
    assert budget_of(None, "2m") == Budget(None, 120.0)
    assert isinstance(make_executor(1), InProcess)


def test_a_chunk_that_a_cluster_lost_is_tried_seed_by_seed_and_the_others_go_on(tmp_path: Path) -> None:
    executor = Scripted({}, {7: 2}, LostError)  # with others, then alone
    done = campaign(tmp_path, executor, Budget(runs=30))
    done.run()
    assert done.tally.runs == 30
    assert [found.seed for found in done.tally.errors] == [7]
    assert [7] in executor.chunks
    counted = [seed for chunk in executor.chunks for seed in chunk]
    assert {seed for seed in counted if counted.count(seed) > 1} == set(next(c for c in executor.chunks if 7 in c))


def test_what_fails_in_this_process_fails_its_future() -> None:
    def broken() -> None:
        raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no"):
        InProcess().submit(broken).result()


def test_a_state_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    class Full:
        def write(self, data: bytes) -> int:
            raise OSError(28, "No space left on device")

    state = State(Journal(tmp_path, Full()))  # type: ignore[arg-type]
    with pytest.raises(RecordingError, match=r"No space left.*--resume"):
        state.append(Line(seconds=1.0))
