"""The figures of the transactional checkers: they are of real processes with the right verdict."""

from __future__ import annotations

import sys
from pathlib import Path
from random import Random

import pytest

from harness.bench import checkers_elle
from harness.bench.checkers_elle import Case, figures
from harness.bench.transactions import Load, simulate
from harness.elle_cli import ENVIRONMENT


def test_a_row_for_time_and_one_for_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(ENVIRONMENT, raising=False)
    rows = list(figures([Case("small", "elle-rw-register", Load(50, registers=True))]))
    assert [(row["name"], row["unit"]) for row in rows] == [("small: CPU", "CPU s"), ("small: memory", "MB")]
    assert all(row["value"] > 0 and row["verdict"] == "PASS" and row["peer"] is None for row in rows)


def test_with_elle_at_hand_there_is_a_ratio(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    java = tmp_path / "java"
    java.write_text(f"#!{sys.executable}\nprint('history.edn', '\\t', 'true')\n")
    java.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv(ENVIRONMENT, "elle-cli.jar")
    for row in figures([Case("small", "elle-list-append", Load(50))]):
        assert row["ratio"] == row["value"] / row["peer"] and row["note"] == "Elle says true"


def test_histories_are_the_same_for_the_same_seed() -> None:
    load = Load(200, failed=0.1, lost=0.1)
    assert list(simulate(Random(1), load)) == list(simulate(Random(1), load))
    assert list(simulate(Random(1), load)) != list(simulate(Random(2), load))
    assert {case.checker for case in checkers_elle.CASES} == {"elle-list-append", "elle-rw-register"}
