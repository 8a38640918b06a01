"""The timing adversary: it keeps to Delta, it finds worse than chance does, and what it finds is judged."""

from __future__ import annotations

import tomllib
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from faults.delay_schedule import DelaySchedule
from faults.search.timing import (
    KINDS,
    MARGIN_MS,
    VIEWS,
    Stroke,
    changed,
    constructed,
    draw,
    painted,
    room_of,
    scenario_of,
    timing,
    uniform,
)
from harness import cli, generators
from harness.mutants import Function, Mutant, Patch, applied
from harness.shipped import ROOT
from harness.timing import Latency, bounds_of, climb, latency_of, scenario
from harness.trial import Trial, trial
from nodes.moonshot.engine import Engine
from nodes.moonshot.outbox import MS

BASE: dict[str, Any] = tomllib.loads((ROOT / "search" / "timing.toml").read_text())
ROOM = room_of(BASE)
EVERYTHING = Stroke(tuple(range(4)), KINDS, ROOM.tribe, ROOM.tribe, 1.0)


def run(strokes: tuple[Stroke, ...]) -> Trial:
    return trial(scenario(scenario_of(BASE, strokes, "A test.")), 1)


def receipt(done: Trial) -> dict[str, Any]:
    stops = [o.value["receipt"] for o in done.run.history if o.process == "nemesis" and o.f == "stop"]
    return next(r for r in stops if r.get("fault") == "delay-schedule")


# ---------------------------------------------------------------- schedules
@pytest.mark.parametrize("seed", range(20))
def test_a_schedule_delays_each_message_once_and_by_less_than_delta(seed: int) -> None:
    rng = Random(seed)
    strokes = draw(ROOM, rng)
    for _ in range(5):
        strokes = changed(strokes, ROOM, rng)
    delays = painted(strokes, ROOM)
    if delays:
        DelaySchedule(delays)  # refuses two entries about one message
    own, delta = 10.0, 100.0
    assert all(0 < d["delay_ms"] + own + MARGIN_MS <= delta for d in delays)
    assert all(ROOM.first <= d["views"][0] == d["views"][1] < ROOM.first + VIEWS for d in delays)


def test_later_strokes_paint_over_earlier_ones() -> None:
    over = Stroke((1,), ("VOTE",), ("n0",), ("n1",), 0.0)
    before = {(d["views"][0], k, n) for d in painted((EVERYTHING,), ROOM) for k in d["kinds"] for n in d["links"]}
    after = {(d["views"][0], k, n) for d in painted((EVERYTHING, over), ROOM) for k in d["kinds"] for n in d["links"]}
    assert len(before) == VIEWS * len(KINDS) * 12
    assert before - after == {(v, "VOTE", "n0>n1") for v in range(ROOM.first, ROOM.first + VIEWS) if v % 4 == 1}
    assert painted((EVERYTHING, replace(EVERYTHING, share=0.0)), ROOM) == []


def test_one_seed_gives_one_scenario_and_the_campaigns_know_it() -> None:
    make = generators.generator("timing")
    assert make(BASE, 3) == make(BASE, 3) == timing(BASE, 3) != timing(BASE, 4)
    scenario(timing(BASE, 3))


@pytest.mark.parametrize(
    "change",
    [
        {"network": {"latency": "gcp-5"}},
        {"network": {"latency": "uniform:120"}},
        {"fault": [{"use": "loss", "probability": 0.1}]},
        {"adversary": {"nodes": ["n2", "n3"]}},
    ],
)
def test_a_base_that_breaks_the_model_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="timing"):
        room_of({**BASE, **change})


def test_entries_about_one_message_are_refused() -> None:
    one = {"views": [3, 5], "kinds": ["VOTE", "QC"], "links": ["n0>n1"], "delay_ms": 20}
    with pytest.raises(ValueError, match=r"delays\[1\] and delays\[0\]"):
        DelaySchedule([one, {**one, "views": [5, 9], "kinds": ["QC"]}])
    DelaySchedule([one, {**one, "views": [6, 9]}])
    with pytest.raises(ValueError, match="delay_ms"):
        DelaySchedule([{**one, "delay_ms": 0}])


# ---------------------------------------------------------------- what it does
def test_nothing_is_lost_and_nothing_takes_longer_than_delta() -> None:
    done = run((EVERYTHING,))
    said = receipt(done)
    assert said["bit"] and said["heal_verified"], said
    assert "0 not at all" in said["evidence"]
    assert f"at worst by {ROOM.most_ms:.1f} ms" in said["evidence"]
    assert done.expected is True


def test_latencies_are_measured_in_delta_and_grow_with_the_delays() -> None:
    calm, slow = latency_of(trial(scenario(BASE), 1)), latency_of(run((EVERYTHING,)))
    assert 3.0 < calm.gap < 4.0  # one silent view of 3 Delta, and a few hops of a tenth of Delta
    assert calm.commit < 1.0 and 3.0 <= calm.view < 4.0
    assert slow.gap > calm.gap + 2 and slow.commit > 2 * calm.commit and slow.view > calm.view
    assert bounds_of(BASE) == Latency(10.0, 5.0, 5.0)


def test_the_climb_beats_uniform_delays_and_stays_within_the_bounds() -> None:
    """The claim is about the clean build: no timing within the model takes longer than L-VIEW and L-COMMIT allow."""
    yardstick = max(latency_of(trial(scenario(uniform(BASE, seed)), seed)) for seed in range(6))
    found = climb(BASE, 1, lambda done: done < 12)
    assert found.runs == 12
    assert found.worst.latency > yardstick
    assert found.worst.latency.gap > yardstick.gap
    assert not found.failures
    assert latency_of(trial(scenario(found.worst.values), 1)) == found.worst.latency  # the file is the finding


def test_a_tribe_that_is_parted_before_a_silent_view_waits_for_eight_delta() -> None:
    """Two nodes enter the silent view Delta before the third, whose time-out everybody needs: 5 Delta; then a fallback
    block, its votes and commit votes: 3 Delta. A tenth of Delta is the network's own, the rest the margin."""
    by_theory = [latency_of(run(strokes)) for strokes in constructed(ROOM)]
    assert len(by_theory) == 3
    assert max(by_theory).gap >= 7.7
    assert all(found.gap < bounds_of(BASE).gap for found in by_theory)


def test_the_climb_comes_close_to_eight_delta() -> None:
    found = climb(BASE, 1, lambda done: done < 14)
    assert found.worst.latency.gap >= 7.8
    assert found.drawn.gap < 6.5, "by chance alone it is not found"
    assert not found.failures


def test_nothing_is_constructed_where_nobody_knows_who_is_silent_when() -> None:
    for change in ({"leaders": "fair-succession"}, {"leaders": ["n0", "n1"]}):
        assert constructed(room_of({**BASE, "cluster": {**BASE["cluster"], **change}})) == []
    assert constructed(room_of({**BASE, "adversary": {**BASE["adversary"], "nodes": 1}})) == []


def slower_and_slower(original: Function) -> Function:
    """Engine.enter: each time-out makes the view timer three Delta longer, up to eight, and nothing shortens it."""

    def enter(self: Engine, view: int, via: str) -> None:
        original(self, view, via)
        self.backed_off = min(5, getattr(self, "backed_off", 0) + 3 * (via == "timeout"))  # type: ignore[attr-defined]
        if self.signer:
            self.out.timer("view", self.out.now + (3 + self.backed_off) * self.parameters.delta_ms * MS)  # type: ignore[attr-defined]

    return enter


BACK_OFF = Mutant(
    "slow-back-off", "E", "1.6", "the view timer grows with each time-out and never shrinks",
    (Patch("nodes.moonshot.engine:Engine.enter", slower_and_slower),), ("liveness",),
)  # fmt: skip


def test_a_slow_back_off_is_found_where_an_even_network_hides_it() -> None:
    with applied(BACK_OFF):
        assert latency_of(trial(scenario(BASE), 1)).gap < bounds_of(BASE).gap
        found = climb(BASE, 1, lambda done: done < 8)
    assert {"late-finality", "long-view"} <= {kind for kind, _, _ in found.failures}
    assert found.worst.latency.gap > found.bounds.gap


def test_the_command_records_the_worst_and_compares_it_with_the_bounds(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["search", "timing", "--generator", "timing", "--runs", "2", "--runs-dir", str(tmp_path), "--json"]
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    assert ended.value.code == 0
    told = msgspec.json.decode(capsys.readouterr().out)
    assert told["runs"] == 2 and told["failures"] == []
    assert told["worst"]["gap"] >= told["by_chance"]["gap"] > 3.0 and told["bounds"]["gap"] == 10.0
    again = trial(scenario(tomllib.loads(Path(told["scenario"]).read_text())), 1)
    assert latency_of(again).gap == told["worst"]["gap"]
    with pytest.raises(SystemExit) as refused:
        cli.main([*arguments, "--resume"])
    assert refused.value.code == 3
