"""The measurement of linearizability, on small cases and without its peer."""

from __future__ import annotations

import shutil
from random import Random

import pytest

from harness.bench.checkers_linear import Case, _lines, figures, made
from harness.bench.registers import Load, simulate

SMALL = Load(4, 200, 3, 4, 0.4, 0.3, 0.05)


def test_figures_without_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    good, bad = figures([Case("good", SMALL), Case("bad", Load(4, 400), wrong=True)])
    assert (good["verdict"], bad["verdict"]) == ("PASS", "FAIL")
    for row in (good, bad):
        assert row["name"].startswith("linearizable: ") and row["unit"] == "CPU s" and row["value"] > 0
        assert row["peer"] is None and row["ratio"] is None and "no Go toolchain" in row["note"]


def test_a_case_is_the_same_history_each_time() -> None:
    case = Case("bad", Load(4, 400), wrong=True)
    assert made(case) == made(case) != simulate(Random("bad"), case.load)


def test_the_peer_is_given_every_call() -> None:
    """Seven fields a line: client, begin, end, key, f, a, b; as many lines as calls that happened or may have."""
    history = simulate(Random(1), SMALL)
    lines = [line.split() for line in _lines(history).splitlines()]
    ended = [one.type for one in history if one.type == "ok" or (one.type == "info" and one.f != "read")]
    assert len(lines) == len(ended)
    assert {fields[4] for fields in lines} == {"r", "w", "c"} and all(len(fields) == 7 for fields in lines)
    assert all(int(begin) < int(end) for _, begin, end, *_ in lines)
