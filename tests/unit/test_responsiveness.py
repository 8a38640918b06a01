"""Two runs against each other: whether block period and commit latency follow the delay of the network."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
import tomli_w

from checkers import responsiveness
from checkers.index import index_of
from checkers.responsiveness import compare
from harness import cli
from harness.claims.responsiveness import DELAYS_MS, _at
from harness.judging import compared
from harness.mutants import applied, load_mutants
from harness.outcome import Exit, UsageError
from harness.provision import clean
from harness.trial import Trial, trial
from results.store import Run
from results.verdict import Status

FAST_MS, SLOW_MS = DELAYS_MS
WAITS = next(mutant for mutant in load_mutants() if mutant.id == "E28")


def run_at(md_ms: int, seed: int = 1, **changes: Any) -> Trial:
    made = _at(md_ms, 0)
    for section, values in changes.items():
        made.values[section] = {**made.values.get(section, {}), **values}
    return trial(made.scenario(), seed, ())


@pytest.fixture(scope="module")
def fast() -> Trial:
    return run_at(FAST_MS)


@pytest.fixture(scope="module")
def slow() -> Trial:
    return run_at(SLOW_MS)


def test_it_follows_the_network(fast: Trial, slow: Trial) -> None:
    verdict = compare(fast.run, slow.run)
    assert verdict.status is Status.PASS, verdict
    assert verdict.examined > 200
    for quantity, delays in (("period", 1), ("commit", 3)):
        found = verdict.measures[quantity]
        assert found["low"] <= found["elasticity"] <= found["high"] and abs(found["elasticity"] - 1) < 0.03
        for mean, md_ms in zip(found["means_ms"], DELAYS_MS, strict=True):
            assert mean == pytest.approx(delays * md_ms, rel=0.05)
    assert msgspec.json.encode(compare(slow.run, fast.run)) == msgspec.json.encode(verdict), "the order says nothing"


def test_waiting_for_delta_is_found_and_shown() -> None:
    with applied(WAITS):
        verdict = compare(*(run_at(md_ms, workload={"duration": "16s"}).run for md_ms in DELAYS_MS))
    assert verdict.status is Status.FAIL, verdict
    assert [anomaly.kind for anomaly in verdict.anomalies] == [
        "period"
    ]  # from its proposal on, a block is as fast as ever
    for anomaly in verdict.anomalies:
        assert "elasticity" in anomaly.summary and "Delta is 1000 ms" in anomaly.summary
        assert [event["md_ms"] for event in anomaly.witness] == [FAST_MS, FAST_MS, SLOW_MS, SLOW_MS]
    assert verdict.measures["period"]["high"] < 0.3


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({}, "the message delays are 20 and 20 ms"),
        ({"network": {"latency": "uniform:25"}}, "must be 1.5 times"),
        ({"cluster": {"nodes": 7}, "network": {"latency": "uniform:100"}}, "the runs differ in tribe"),
        (
            {"network": {"latency": "uniform:100"}, "cluster": {"parameters": {"delta_ms": 500}}},
            "the runs differ in parameters",
        ),
        ({"network": {"latency": "uniform:100", "egress_mbit": 100}}, "network (beside its latency)"),
        ({"network": {"latency": "uniform:100"}, "workload": {"duration": "1s"}}, "blocks tell of"),
    ],
)
def test_what_cannot_be_compared_is_unknown(changes: dict[str, Any], why: str, fast: Trial) -> None:
    verdict = compare(fast.run, run_at(FAST_MS, **changes).run)
    assert verdict.status is Status.UNKNOWN
    assert why in verdict.reason, verdict.reason


def altered(run: Any, **info: Any) -> Any:
    """The run with other facts in its run.json."""
    other = type(run).__new__(type(run))
    vars(other).update({name: value for name, value in vars(run).items() if not name.startswith("_derived")})
    vars(other)["info"] = msgspec.structs.replace(run.info, **info)
    return other


def test_faults_idle_leaders_and_broken_off_runs_tell_nothing(fast: Trial, slow: Trial) -> None:
    idle = {**fast.info.parameters, "idle_delay_ms": 100}
    for one, other, why in (
        (altered(fast.run, md_ms=0.0), slow.run, "no message delay"),
        (fast.run, altered(slow.run, byzantine=["n3"]), "faults or corrupted nodes"),
        (fast.run, altered(slow.run, interrupted=True), "interrupted"),
        (altered(fast.run, parameters=idle), altered(slow.run, parameters=idle), "idle leaders wait"),
        (fast.run, altered(slow.run, md_ms=2000.0), "beyond Delta"),
    ):
        verdict = compare(one, other)
        assert verdict.status is Status.UNKNOWN and why in verdict.reason, verdict.reason


def test_an_interval_that_reaches_outside_leaves_it_open(fast: Trial, slow: Trial) -> None:
    """Were the slower delay 116 ms, the elasticity would be 0.917: too near the bound for few blocks, not beyond."""
    found = responsiveness.judge(index_of(fast.run), index_of(altered(slow.run, md_ms=116.0)))
    assert found.status in (Status.PASS, Status.UNKNOWN)
    refuted = responsiveness.judge(index_of(fast.run), index_of(altered(slow.run, md_ms=130.0)))
    assert refuted.status is Status.FAIL


def test_damaged_records_and_crashes_are_unknown(tmp_path: Path, slow: Trial, monkeypatch: pytest.MonkeyPatch) -> None:
    verdict = compare(Run(tmp_path), slow.run)
    assert verdict.status is Status.UNKNOWN and "run.json" in verdict.reason

    def crash(*_: object) -> None:
        raise ZeroDivisionError("planted crash")

    monkeypatch.setattr(responsiveness, "judge", crash)
    verdict = compare(slow.run, slow.run)
    assert verdict.status is Status.UNKNOWN and "planted crash" in verdict.reason


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Any:
    monkeypatch.setattr(clean, "sweep", lambda progress: [])
    monkeypatch.chdir(tmp_path)

    def call(*words: str) -> tuple[int, str]:
        with pytest.raises(SystemExit) as ended:
            cli.main(words)
        assert isinstance(ended.value.code, int)
        return ended.value.code, capsys.readouterr().out

    return call


def test_the_command_compares(tmp_path: Path, command: Any) -> None:
    directories = []
    for md_ms in DELAYS_MS:
        path = tmp_path / f"at-{md_ms}.toml"
        path.write_text(tomli_w.dumps(_at(md_ms, 0).values))
        code, out = command("run", str(path), "--backend", "sim", "--seed", "1", "--json")
        assert code == Exit.AS_EXPECTED
        directories.append(json.loads(out)["run"])
    code, out = command("check", directories[0], "--against", directories[1], "--json")
    (verdict,) = json.loads(out)["verdicts"]
    assert (code, verdict["property"], verdict["status"]) == (Exit.AS_EXPECTED, "responsiveness", "PASS")
    code, out = command("check", directories[0], "--against", directories[0])
    assert code == Exit.INCONCLUSIVE and "the message delays are" in " ".join(out.split())


def test_it_compares_run_directories_only(tmp_path: Path, slow: Trial) -> None:
    with pytest.raises(UsageError, match="compares two run directories"):
        compared(slow.run, tmp_path / "none")
