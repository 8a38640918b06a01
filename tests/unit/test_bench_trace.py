"""The long trace of the benchmark is valid, and each planted violation is found by the checker it is meant for."""

from __future__ import annotations

from pathlib import Path

import pytest

from checkers.registry import judge
from harness import judging
from harness.bench.checkers_trace import Case, figures, found
from harness.bench.trace_plants import PLANTS
from harness.bench.traces import Made, Shape, generate, save
from results.store import Run
from results.verdict import Status

SHAPE = Shape(12, nodes=7, batches=2, txs=3)


@pytest.fixture
def made() -> Made:
    return generate(SHAPE)


def test_the_trace_is_valid_by_columns_and_by_records(made: Made, tmp_path: Path) -> None:
    save(made, tmp_path)
    run = judging.open_run(tmp_path)
    by_columns = judge(run, PLANTS)
    assert {verdict.status for verdict in by_columns} == {Status.PASS}, by_columns
    plain = Run(tmp_path)
    trace = plain.trace
    assert len(trace) == made.records
    plain.__dict__["columns"] = None
    by_records = judge(plain, PLANTS)
    assert [(v.status, v.examined) for v in by_records] == [(v.status, v.examined) for v in by_columns]


@pytest.mark.parametrize("checker", PLANTS)
def test_each_planted_violation_is_found(checker: str, made: Made, tmp_path: Path) -> None:
    kind, plant = PLANTS[checker]
    plant(made)
    save(made, tmp_path)
    (verdict,) = judge(Run(tmp_path), [checker])
    assert verdict.status is Status.FAIL
    assert kind in {anomaly.kind for anomaly in verdict.anomalies}


def test_signatures_that_are_not_verified_are_told(made: Made, tmp_path: Path) -> None:
    save(made, tmp_path)
    run = Run(tmp_path)
    run.signatures_most = 60  # a quorum is five: 12 of 24 certificates
    (verdict,) = judge(run, ["fork"])
    assert verdict.status is Status.PASS
    assert (verdict.measures["signatures"], verdict.measures["signatures_unverified"]) == (60, 60)
    assert verdict.measures["certificates_unverified"] == 12
    assert "--signatures all" in verdict.measures["verification"]


def test_two_certificates_in_a_view_are_verified_whatever_the_limit(made: Made, tmp_path: Path) -> None:
    table = made.tables["certify"]
    at = (table["view"] == 5) & (table["@node"] == 2)
    table["@block"][at] = made.tables["execute"]["@root"][0]
    save(made, tmp_path)
    run = Run(tmp_path)
    run.signatures_most = 0
    (verdict,) = judge(run, ["fork"])
    assert verdict.status is Status.FAIL
    assert {anomaly.kind for anomaly in verdict.anomalies} == {"invalid-certificate"}


def test_ed25519_signatures_are_real(tmp_path: Path) -> None:
    save(generate(Shape(2, nodes=4, batches=1, txs=1, scheme="ed25519")), tmp_path)
    (verdict,) = judge(Run(tmp_path), ["fork"])
    assert verdict.status is Status.PASS and verdict.measures["signatures"] == 12


def test_the_figures_are_those_of_a_process_of_its_own() -> None:
    rows = list(figures([Case("small", SHAPE), Case("small, violated", SHAPE, planted=True)]))
    assert [row["verdict"] for row in rows] == ["PASS", "PASS", "FAIL", "FAIL"]
    assert all(row["value"] > 0 and row["unit"] in ("CPU s", "MB") for row in rows)
    assert ["planted" in row["note"] for row in rows] == [False, False, True, True]
    assert rows[2]["note"].endswith("8 of 8 planted violations found")
    assert found([{"property": "fork", "anomalies": [{"kind": "fork"}]}, {"property": "votes", "anomalies": []}]) == 1
