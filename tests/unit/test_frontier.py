"""The frontier: an attack that did not bite is never a hold, a surprise is never quiet, and a weakened rule shows."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from harness import cli, frontier
from harness.commands import read_scenario
from harness.executors import InProcess, Pool, make_executor
from harness.frontier import INTERRUPTED, Point, Sample, Task
from harness.frontier_attacks import ATTACKS, Attack, find
from harness.outcome import Exit, UsageError
from harness.scenario import load
from harness.trial import Trial
from nodes.committee import Committee, committee_of
from results.verdict import Anomaly, Status, Verdict

ONE, TWO = Pool(1, InProcess), Pool(2, lambda: make_executor(2))

SIZES = {"clan-data": 3, "clan-state": 3, "clan-liveness": 3, "family": 2, "tribe-liveness": 4} | dict.fromkeys(
    ("tribe", "amnesia"), 7
)
PASS, FAIL, UNKNOWN = Status.PASS, Status.FAIL, Status.UNKNOWN


# ---------------------------------------------------------------- the scenarios
@pytest.mark.parametrize("name", ATTACKS)
def test_at_the_size_of_the_boundary_pair_the_scenarios_are_the_pair(name: str) -> None:
    n, attack = SIZES[name], ATTACKS[name]
    for b, side in ((attack.claimed(n), "at"), (attack.claimed(n) + 1, "past")):
        made, written = attack.scenario(n, b), read_scenario(f"{name}-{side}-bound")
        for key in ("network", "workload", "adversary", "fault", "run"):
            assert made.get(key) == written.raw.get(key), key
        assert made["checks"].get("bounds", {}) == written.raw["checks"].get("bounds", {})
        assert bool(made["expect"] != "hold") == bool(written.expect.violate)
        assert set(attack.properties) <= {*written.checks}


@pytest.mark.parametrize("name", ATTACKS)
def test_every_point_can_be_run(name: str) -> None:
    attack = ATTACKS[name]
    wanted, scenarios = frontier.tasks(attack, attack.sizes, [], [1])
    assert {n for n, _ in scenarios} == set(attack.sizes)
    for n in attack.sizes:
        assert max(b for m, b in scenarios if m == n) > attack.claimed(n) >= attack.promised(n)
    assert [task.past for task in wanted] == [task.b > attack.claimed(task.n) for task in wanted]


def test_where_the_bounds_lie() -> None:
    tribe, silent, clan = ATTACKS["tribe"], ATTACKS["tribe-liveness"], ATTACKS["clan-liveness"]
    assert [(tribe.promised(n), tribe.claimed(n)) for n in range(4, 10)] == [
        (1, 1), (1, 2), (1, 1), (2, 2), (2, 3), (2, 2),
    ]  # fmt: skip
    assert [silent.claimed(n) for n in range(4, 10)] == [1, 1, 2, 2, 2, 3]
    assert [clan.claimed(n) for n in (3, 4, 5)] == [1, 2, 2]


def test_an_attack_may_be_a_behaviour_or_a_file(tmp_path: Path) -> None:
    assert find("silent-leader").claimed(7) == 2
    assert find("silent-leader").scenario(7, 3)["adversary"]["nodes"] == ["n4", "n5", "n6"]
    (tmp_path / "mine.py").write_text(IDLE)
    assert find(f"{tmp_path}/mine.py:Idle").name == "Idle"
    with pytest.raises(UsageError, match="did you mean 'tribe-liveness'"):
        find("tribe-livenes")
    for sizes, counts, message in (([3], [], "at least 4"), ([4], [3], "from 0 to 2")):
        with pytest.raises(UsageError, match=message):
            frontier.tasks(ATTACKS["tribe"], sizes, counts, [1])


# ---------------------------------------------------------------- one sample
def trial_with(**statuses: Status) -> Trial:
    verdicts = [
        Verdict(name, status, 1, [Anomaly("fork", "seen", [{}])] if status is FAIL else [], reason=f"why {name}")
        for name, status in statuses.items()
    ]
    nothing: Any = None
    return Trial(nothing, 1, nothing, tuple(verdicts), None, "", nothing)


@pytest.mark.parametrize(
    ("fork", "receipts", "past", "result"),
    [
        (PASS, PASS, False, "held"),
        (PASS, PASS, True, "held"),
        (FAIL, PASS, True, "violated"),
        (FAIL, UNKNOWN, False, "violated"),  # within the bound nothing excuses a violation
        (FAIL, UNKNOWN, True, "unknown"),  # past it, what broke is not shown to be the attack's doing
        (PASS, UNKNOWN, False, "unknown"),  # did not bite: no hold
        (UNKNOWN, PASS, True, "unknown"),
    ],
)
def test_what_a_run_says(fork: Status, receipts: Status, past: bool, result: str) -> None:
    assert frontier.judged(trial_with(fork=fork, receipts=receipts), ("fork",), past)[0] == result


def test_what_nobody_judged_is_unknown() -> None:
    assert frontier.judged(trial_with(fork=PASS), ("fork",), False)[0] == "unknown"
    assert frontier.judged(trial_with(receipts=PASS), ("fork",), False)[0] == "unknown"


def test_a_run_that_crashes_is_unknown() -> None:
    taken = frontier.sample(Task(4, 1, 1, {"name": "no-cluster"}, ("fork",), False))
    assert taken.result == "unknown" and "Traceback" in taken.reason


# ---------------------------------------------------------------- what they amount to
def grid(*results: str, defects: tuple[str, ...] = ()) -> list[Point]:
    """Points of n = 4 from letters, a string a b: h(eld), v(iolated), u(nknown)."""
    words: dict[str, Any] = {"h": "held", "v": "violated", "u": "unknown"}
    return frontier.points(
        Sample(4, b, seed, words[letter], defects=defects)
        for b, letters in enumerate(results)
        for seed, letter in enumerate(letters)
    )


@pytest.mark.parametrize(
    ("points", "observed", "expected"),
    [
        (grid("hh", "hh", "vh"), 1, True),
        (grid("hh", "hv", "vv"), 0, False),  # broken within the bound
        (grid("vh", "hh", "vv"), -1, False),
        (grid("hh", "hh", "hh"), 2, False),  # what must break does not: no teeth
        (grid("hh", "hu", "vv"), None, None),  # an unknown within the bound is no hold
        (grid("hh", "hh", "hu"), None, None),
        (grid("hh", "hh"), 1, None),  # nothing past the bound was tried
        (grid("hh", "hh", "vv", defects=("fork: invalid-certificate",)), 1, False),
        ([], None, None),
    ],
)
def test_observed_against_claimed(points: list[Point], observed: int | None, expected: bool | None) -> None:
    size = frontier.found(ATTACKS["tribe"], 4, points)
    assert (size.observed_bound, size.as_expected, size.claimed_bound) == (observed, expected, 1)


def test_a_gap_in_what_was_tried_is_no_bound() -> None:
    points = [p for p in grid("hh", "hh", "vv") if p.b != 1]
    assert frontier.found(ATTACKS["tribe"], 4, points).observed_bound is None


def test_unknown_runs_are_in_no_interval() -> None:
    (point,) = grid("hhvu")
    assert (point.runs, point.violations, point.held, point.unknown) == (4, 1, 2, 1)
    assert (point.low, point.high) == (pytest.approx(0.0084, abs=1e-4), pytest.approx(0.9057, abs=1e-4))
    (nothing,) = grid("uu")
    assert (nothing.low, nothing.high, nothing.state) == (0.0, 1.0, "open")


def test_exit_codes() -> None:
    good, bad, open_ = (frontier.found(ATTACKS["tribe"], 4, g) for g in (
        grid("h", "h", "v"), grid("h", "v", "v"), grid("h", "u", "v"),
    ))  # fmt: skip
    assert frontier.verdict([good]) == Exit.AS_EXPECTED
    assert frontier.verdict([good, open_]) == Exit.INCONCLUSIVE
    assert frontier.verdict([good], INTERRUPTED) == Exit.INCONCLUSIVE
    assert frontier.verdict([open_, bad], INTERRUPTED) == Exit.SURPRISE


# ---------------------------------------------------------------- measured
def measured(attack: Attack, n: int, counts: Sequence[int] = (), seeds: int = 1) -> dict[str, Any]:
    wanted, _ = frontier.tasks(attack, [n], counts, range(1, seeds + 1))
    samples: list[Sample] = []
    assert frontier.measure(wanted, ONE, samples.append) == ""
    return frontier.document(attack, [n], samples)


def test_the_tribe_of_four_breaks_where_it_must() -> None:
    found = measured(ATTACKS["tribe"], 4, seeds=2)
    assert [(p["b"], p["violations"], p["held"], p["unknown"]) for p in found["points"]] == [
        (0, 0, 2, 0), (1, 0, 2, 0), (2, 2, 0, 0),
    ]  # fmt: skip
    assert found["observed_bound"] == found["claimed_bound"] == 1
    assert found["exit"] == Exit.AS_EXPECTED


def test_a_weakened_quorum_moves_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    honest = Committee.__init__

    def weak(self: Committee, config: Any) -> None:
        honest(self, config)
        self.quorum -= 1

    monkeypatch.setattr(Committee, "__init__", weak)
    committee_of.cache_clear()  # committees of earlier tests are sound
    try:
        found = measured(ATTACKS["tribe"], 4, [0, 1])
    finally:
        committee_of.cache_clear()
    assert found["observed_bound"] < found["claimed_bound"] == 1
    assert "fork: fork" in found["anomalies"]
    assert found["exit"] == Exit.SURPRISE


IDLE = "from faults.byzantine.port import Behaviour\n\n\nclass Idle(Behaviour):\n    pass\n"


def test_an_attack_that_does_nothing_shows_nothing(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(IDLE)
    found = measured(find(f"{tmp_path}/mine.py:Idle"), 4, [0, 1])
    assert [(p["held"], p["unknown"]) for p in found["points"]] == [(1, 0), (0, 1)]
    assert found["observed_bound"] is None
    assert found["exit"] == Exit.INCONCLUSIVE


def test_processes_find_what_one_process_finds() -> None:
    wanted, _ = frontier.tasks(ATTACKS["tribe-liveness"], [4], [1, 2], [1])
    alone: list[Sample] = []
    pooled: list[Sample] = []
    assert frontier.measure(wanted, ONE, alone.append) == frontier.measure(wanted, TWO, pooled.append) == ""
    assert sorted(pooled, key=lambda s: s.b) == alone
    assert [s.result for s in alone] == ["held", "violated"]


def test_ctrl_c_keeps_what_was_measured() -> None:
    wanted, _ = frontier.tasks(ATTACKS["tribe"], [4], [], [1])
    samples: list[Sample] = []

    def take(sample: Sample) -> None:
        samples.append(sample)
        raise KeyboardInterrupt

    assert frontier.measure(wanted, ONE, take) == INTERRUPTED
    found = frontier.document(ATTACKS["tribe"], [4], samples, INTERRUPTED)
    assert [p["b"] for p in found["points"]] == [0]
    assert (found["observed_bound"], found["exit"]) == (0, Exit.INCONCLUSIVE)


# ---------------------------------------------------------------- the command
def moonquake(*words: str) -> int:
    with pytest.raises(SystemExit) as ended:
        cli.main(words)
    return int(ended.value.code or 0)


def test_the_command_writes_table_chart_and_scenarios(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("frontier", "tribe-liveness", "--n", "4", "--b", "1,2", "--seeds", "1", "--workers", "1")
    assert moonquake(*words, "--json", "--runs", str(tmp_path)) == Exit.AS_EXPECTED
    found = json.loads(capsys.readouterr().out)
    assert [(p["n"], p["b"], p["runs"], p["violations"]) for p in found["points"]] == [(4, 1, 1, 0), (4, 2, 1, 1)]
    assert (found["observed_bound"], found["claimed_bound"]) == (1, 1)
    directory = Path(found["directory"])
    assert directory.parent == tmp_path / "frontier" / "tribe-liveness"
    assert json.loads((directory / "frontier.json").read_text()) == found
    assert (directory / "frontier.csv").read_text().splitlines()[2].startswith("4,2,1,1,")
    assert "liveness: stalled" in (directory / "runs.csv").read_text()
    page = Path(found["chart"]).read_text()
    assert "AS EXPECTED" in page and 'src="http' not in page
    assert load(directory / "scenarios" / "tribe-liveness-n4-b2.toml").expect.violate == ("liveness",)


@pytest.mark.parametrize("words", [("--n", "x"), ("--n", "2"), ("--b", "9", "--n", "4"), ("--seeds", "0")])
def test_the_command_refuses_nonsense(words: tuple[str, ...], tmp_path: Path) -> None:
    assert moonquake("frontier", "tribe", *words, "--runs", str(tmp_path)) == Exit.USAGE
    assert not list(tmp_path.iterdir())


def test_frontiers_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert moonquake("list", "frontiers", "--json") == 0
    assert {row["name"] for row in json.loads(capsys.readouterr().out)["frontiers"]} == set(ATTACKS)
