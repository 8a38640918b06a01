"""Experiments, the store of their samples, and the work on them: nothing recorded is lost, nothing runs twice."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import msgspec
import pytest

from harness.claims import boundaries, gather, store, work
from harness.claims.experiment import Experiment, Made, sample_of
from harness.claims.experiments import EXPERIMENTS
from harness.claims.searches import NOTHING, alone
from harness.mutants import applied, load_mutants
from harness.outcome import UsageError
from harness.plan import resolve
from harness.sources import ROOT
from harness.trial import trial
from results.claim import Bound, Finding, Sample, experiments_of, register
from results.deciding import decide
from results.verdict import Anomaly, Status, Verdict
from tests.runs import small_info, write_run

RULES = [claim.rule for claim in register().values() if claim.rule is not None]


# ---------------------------------------------------------------- experiments
def test_claims_name_experiments_that_exist_and_every_experiment_serves_a_claim() -> None:
    named = experiments_of(list(register().values()))
    assert set(named) == set(EXPERIMENTS)


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_run_is_in_the_regime_that_its_role_needs(name: str) -> None:
    inside = any(name in rule.within for rule in RULES)
    beyond = any(isinstance(rule, Bound) and name in rule.beyond for rule in RULES)
    assert inside != beyond
    for index in range(min(EXPERIMENTS[name].runs, 12)):
        made = EXPERIMENTS[name].make(index)
        plan = resolve(made.scenario(), made.seed, "ideal")
        assert plan.regime.name == ("within" if inside else "beyond"), (index, plan.regime.beyond)
        assert EXPERIMENTS[name].make(index) == made, "a run is a pure function of its number"


def test_every_rule_can_be_met_by_the_runs_that_there_are() -> None:
    for claim in register().values():
        if isinstance(claim.rule, Bound):
            assert sum(EXPERIMENTS[name].runs for name in claim.rule.within) >= claim.rule.least, claim.id
            assert sum(EXPERIMENTS[name].runs for name in claim.rule.beyond) >= claim.rule.broken_least, claim.id
        elif claim.rule is not None and claim.rule.within and claim.id != "single-primary":
            assert sum(EXPERIMENTS[name].runs for name in claim.rule.within) >= claim.rule.least, claim.id


def test_one_fault_tries_every_kind_that_the_swarm_knows() -> None:
    from faults.search.kinds import FAULTS

    groups = {EXPERIMENTS["one-fault"].make(index).group for index in range(len(alone()))}
    assert groups == set(alone()) and {NOTHING, *FAULTS} <= groups


def test_a_sample_holds_what_was_judged_and_measured() -> None:
    sample = sample_of(EXPERIMENTS["preconfirmation-past"], 0)
    assert (sample.experiment, sample.regime, sample.bit, sample.error) == ("preconfirmation-past", "beyond", True, "")
    assert sample.statuses["preconfirmation"] == "FAIL" and sample.meant == ("preconfirmation",)
    assert sample.measures["never_rescued"] > 0 and sample.measures["void"] >= sample.measures["never_rescued"]
    assert len(sample.digest) == 64 and sample.cpu_s > 0
    assert msgspec.json.decode(msgspec.json.encode(sample), type=Sample) == sample


def test_a_run_that_cannot_be_made_is_a_sample_with_an_error() -> None:
    bad = Experiment("bad", "", 1, lambda index: Made({"name": "bad"}, 1, "none"))
    sample = sample_of(bad, 0)
    assert "ScenarioError" in sample.error and not sample.statuses


def test_a_planted_bug_refutes_the_claim_through_the_real_experiment() -> None:
    """A quorum that is one vote too small forks at the bound: the claim's own experiment must see it."""
    mutant = next(m for m in load_mutants() if m.id == "A1")
    with applied(mutant, must_run=False):
        sample = sample_of(EXPERIMENTS["tribe-at"], 1)
    assert sample.regime == "within"
    ruling = decide(register()["no-fork"], [sample])
    assert ruling.finding is Finding.REFUTED, sample.statuses
    assert decide(register()["no-fork"], [sample_of(EXPERIMENTS["tribe-at"], 1)]).finding is Finding.INCONCLUSIVE


@pytest.mark.parametrize(
    ("make", "index", "judge"),
    [("_large_tribe", 0, "fork"), ("_large_clan", 0, "availability"), ("_large_clan", 1, "state-root")],
)
def test_the_runs_of_large_committees_in_small(
    monkeypatch: pytest.MonkeyPatch, make: str, index: int, judge: str
) -> None:
    """Hold at the bound, break one past it, and vote on no batch that no transaction needs: at full size a batch is
    22,650 messages, so whole families that include each transaction once more were most of the work."""
    monkeypatch.setattr(boundaries, "TRIBE", 22)
    monkeypatch.setattr(boundaries, "CLAN", 13)
    bound = (22 - 1) // 3 if judge == "fork" else (13 - 1) // 2
    for b, status in ((bound, "PASS"), (bound + 1, "FAIL")):
        made = getattr(boundaries, make)(b, index)
        values = made.values | {"expect": "hold" if status == "PASS" else {"violate": [judge]}}
        found = trial(msgspec.structs.replace(made, values=values).scenario(), made.seed)
        statuses = {verdict.property: verdict.status.value for verdict in found.verdicts}
        assert (statuses[judge], statuses["receipts"]) == (status, "PASS"), b
        seen = [(e["tx"], e["batch"]) for e in found.run.trace if e["event"] == "include"]
        assert len({batch for _, batch in seen}) <= len({tx for tx, _ in seen}) > 0


# ---------------------------------------------------------------- the store
def sample(name: str = "swarm", index: int = 0, **fields: Any) -> Sample:
    return Sample(name, index + 1, "within", index=index, **fields)


def test_a_store_keeps_samples_over_a_torn_line(tmp_path: Path) -> None:
    with store.open_store(tmp_path, code="c" * 64) as first:
        first.append(sample(index=0))
        first.append(sample(index=1))
        first.append(sample(index=2, error="no memory"))
        assert len(first.samples) == 3
    path = first.directory / store.FILE
    path.write_bytes(path.read_bytes() + b'{"experiment":"swa')
    with store.open_store(tmp_path, resume=True, code="c" * 64) as again:
        assert set(again.samples) == {("swarm", 0), ("swarm", 1)}, "what had an error is tried again"
        again.append(sample(index=3))
    with store.open_store(tmp_path, code="c" * 64) as third:
        assert set(third.samples) == {("swarm", 0), ("swarm", 1), ("swarm", 3)}
    with store.open_store(tmp_path, code="d" * 64) as other:
        assert not other.samples, "samples of other code prove nothing about this one"


def test_a_store_refuses_what_it_cannot_trust(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nothing was begun"):
        store.open_store(tmp_path, resume=True, code="c" * 64)
    with store.open_store(tmp_path, code="c" * 64) as one, pytest.raises(UsageError, match="another"):
        store.open_store(tmp_path, code="c" * 64)
    (one.directory / store.FILE).write_bytes(b"not a sample\n")
    with pytest.raises(UsageError, match="damaged"):
        store.open_store(tmp_path, code="c" * 64)


def test_the_code_digest_leaves_out_what_no_run_passes_through() -> None:
    assert store.code_digest() == store.code_digest()
    missing = [name for name in store.APART if not list(ROOT.glob(f"{name}*"))]
    assert not missing, "a path that is gone would be left out of nothing"


# ---------------------------------------------------------------- the work
def test_jobs_go_round_by_round_and_heavy_ones_by_the_budget() -> None:
    names = ["swarm", "twins", "tribe-50-of-151"]
    order = work.jobs(names, set())
    assert order[0] == ("tribe-50-of-151", 0)
    light = order[1:]
    assert light[:2] == [("swarm", 0), ("twins", 0)]
    assert len(order) == sum(EXPERIMENTS[name].runs for name in names) == len(set(order))
    half = next(i for i, job in enumerate(light) if job == ("twins", EXPERIMENTS["twins"].runs // 2))
    assert abs(half - len(light) // 2) <= 3, "time that is cut short is spread over all"
    assert work.jobs(names, set(), hurried=True)[-1] == ("tribe-50-of-151", 0)
    assert ("swarm", 0) not in work.jobs(names, {("swarm", 0)})


class Answering(Executor):
    """Answers at once; dies of the jobs that it is told to die of, so many times each."""

    deadly: dict[tuple[str, int], int]

    def __init__(self) -> None:
        self.broken = False

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        job = (str(args[0]), int(args[1]))
        if self.deadly.get(job, 0) > 0:
            self.deadly[job] -= 1
            future.set_exception(BrokenProcessPool("a worker died"))
        else:
            future.set_result(sample(*job))
        return future


@pytest.mark.parametrize("times", [1, 9])
def test_a_run_that_kills_its_process_is_tried_alone_and_then_given_up(
    times: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Answering, "deadly", {("swarm", 1): times}, raising=False)
    monkeypatch.setattr(work, "make_executor", lambda workers: Answering())
    taken: list[Sample] = []
    assert work.carry_out([("swarm", i) for i in range(4)], 2, taken.append) == ""
    assert sorted(s.index for s in taken) == [0, 1, 2, 3]
    assert [s.index for s in taken if s.error] == ([] if times == 1 else [1])


def test_the_budget_and_ctrl_c_end_it_with_everything_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Answering, "deadly", {}, raising=False)
    monkeypatch.setattr(work, "make_executor", lambda workers: Answering())
    taken: list[Sample] = []
    assert work.carry_out([("swarm", i) for i in range(4)], 1, taken.append, seconds=0.0) == work.SPENT
    assert not taken

    def interrupting(found: Sample) -> None:
        taken.append(found)
        raise KeyboardInterrupt

    assert work.carry_out([("swarm", i) for i in range(4)], 1, interrupting) == work.INTERRUPTED
    assert len(taken) == 1


def test_kill_9_loses_only_what_was_under_way(tmp_path: Path) -> None:
    words = ["-m", "harness.cli", "claims", "no-fork", "--workers", "1", "--runs", str(tmp_path)]
    process = subprocess.Popen(
        [sys.executable, *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        lines = _until(lambda: _lines(tmp_path), 3)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert len(lines) >= 3
    again = subprocess.run(
        [sys.executable, *words, "--resume", "--budget", "1s", "--json"], capture_output=True, check=False
    )
    document = msgspec.json.decode(again.stdout)
    assert document["made"]["runs"] >= len(lines) - 1, "every whole line is there"
    assert document["made"]["stopped"] == work.SPENT
    assert again.returncode == 2


def _lines(root: Path) -> list[bytes]:
    return [line for path in root.glob("claims/*/samples.jsonl") for line in path.read_bytes().splitlines()]


def _until(look: Callable[[], list[bytes]], count: int) -> list[bytes]:
    """Look until there is so much; a limit only so that a broken command does not hang the tests."""
    for _ in range(3000):
        if len(look()) >= count:
            break
        time.sleep(0.1)
    return look()


# ---------------------------------------------------------------- run directories
def test_run_directories_are_evidence_by_what_was_judged_in_them(tmp_path: Path) -> None:
    held = [Verdict("fork", Status.PASS, 9), Verdict("receipts", Status.PASS, 1)]
    forked = [
        Verdict("fork", Status.FAIL, 9, [Anomaly("fork", "n0 and n1 disagree", [{"node": "n0"}])]),
        Verdict("receipts", Status.PASS, 1),
    ]
    write_run(tmp_path / "good", small_info(), [], [], held)
    write_run(tmp_path / "broken-off", small_info(incomplete="it was killed"), [], [], held)
    samples, left_out = gather.of_directories(tmp_path)
    assert [s.experiment for s in samples] == ["run/small"] and "killed" in left_out[0]
    assert decide(register()["no-fork"], samples).n == 1
    write_run(tmp_path / "bad", small_info(), [], [], forked)
    ruling = decide(register()["no-fork"], gather.of_directories(tmp_path)[0])
    assert ruling.finding is Finding.REFUTED and ruling.evidence[0].run == str(tmp_path / "bad")
    (tmp_path / "good" / "verdicts.json").unlink()
    assert "verdicts.json" in gather.of_directories(tmp_path / "good")[1][0]
