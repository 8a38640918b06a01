"""The steps of `moonquake teeth`, the order in which they are played, what they add up to, and what survives a stop."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness import regime
from harness.backends.sim.backend import SimBackend
from harness.mutants import Mutant, Patch
from harness.outcome import UsageError
from harness.plan import resolve
from harness.schedules import CORRUPTED, schedule
from harness.teeth import Done, Task, mutants, play, scenario_of
from harness.teeth_plan import Aim, Ledger
from harness.teeth_state import FILE, Line, digest, open_state
from results.stats import binomial_interval


def mutant(name: str) -> Mutant:
    patch = Patch("nodes.moonshot.rules:two_chain", lambda original: original)
    return Mutant(name, "X", "1.4", "something else", (patch,), ("fork",), witness="mm6")


A, B = mutant("A"), mutant("B")


@pytest.mark.parametrize(
    ("hits", "runs", "low", "high"),
    [(0, 100, 0.0, 0.0362167), (3, 100, 0.0062300, 0.0851761), (100, 100, 0.9637833, 1.0), (0, 0, 0.0, 1.0)],
)
def test_intervals_are_exact(hits: int, runs: int, low: float, high: float) -> None:
    """Reference values: Clopper-Pearson by the beta quantiles (0.05/2)^(1/100) and R's binom.test."""
    assert binomial_interval(hits, runs) == (pytest.approx(low, abs=1e-6), pytest.approx(high, abs=1e-6))


@pytest.mark.parametrize(("hits", "runs"), [(-1, 3), (4, 3)])
def test_no_interval_of_what_cannot_be(hits: int, runs: int) -> None:
    with pytest.raises(ValueError, match="make no sense"):
        binomial_interval(hits, runs)


def test_schedules_differ_are_repeatable_and_within_every_bound() -> None:
    scenarios = [schedule(seed) for seed in range(40)]
    assert len({str(s.raw) for s in scenarios}) == 40
    for seed, scenario in enumerate(scenarios):
        assert schedule(seed).raw == scenario.raw
        plan = resolve(scenario, seed, SimBackend.scheme)
        assert plan.regime == regime.Regime() and plan.genesis.roster.byzantine == (CORRUPTED,)


@pytest.mark.parametrize("generator", ["schedule", "swarm", "twins", "byzzfuzz"])
def test_every_generator_makes_a_run_of_a_seed(generator: str) -> None:
    assert scenario_of(generator, 3).raw == scenario_of(generator, 3).raw != scenario_of(generator, 4).raw


# ---------------------------------------------------------------- steps
def test_a_mutant_that_any_run_finds_is_killed_in_a_random_one() -> None:
    done = play(Task("random", "MM10", 1, "schedule"))
    assert done.hit and done.called and "fork" in done.by and done.seconds > 0


def test_the_clean_cores_raise_no_alarm() -> None:
    done = play(Task("clean", "", 1000, "schedule"))
    assert (done.hit, done.by, done.error) == (False, (), "")


def test_a_step_that_fails_is_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    patch = Patch("nodes.moonshot.rules:gone", lambda original: original)
    monkeypatch.setitem(mutants(), "GONE", Mutant("GONE", "X", "", "", (patch,), ("fork",), witness="mm6"))
    done = play(Task("witness", "GONE"))
    assert not done.hit and "nodes.moonshot.rules:gone does not exist" in done.error


# ---------------------------------------------------------------- order
def hand_out(ledger: Ledger, steps: int, hit: bool = False) -> list[Task]:
    """So many steps, each played in a second with the same result."""
    tasks = []
    for _ in range(steps):
        task = ledger.next()
        if task is None:
            break
        tasks.append(task)
        ledger.add(Done(task, hit=hit, seconds=1.0))
    return tasks


def test_witnesses_and_traps_come_first_then_all_kinds_by_turns() -> None:
    tasks = hand_out(Ledger((A, B), ["I1"], Aim(seeds=2, random=2, clean=3)), 99)
    assert tasks[:3] == [Task("witness", "A"), Task("witness", "B"), Task("trap", "I1")]
    assert [task.kind for task in tasks[3:6]] == ["random", "clean", "witness"]
    kinds = [task.kind for task in tasks]
    assert (kinds.count("witness"), kinds.count("random"), kinds.count("clean"), kinds.count("trap")) == (4, 4, 3, 1)
    assert len(set(tasks)) == len(tasks)


def test_the_widest_interval_is_next() -> None:
    """0 of 3 is known less well than 0 of 4, and 2 of 4 less well than either."""
    done = [Done(Task("witness", m.id)) for m in (A, B)]
    done += [Done(Task("random", "A", seed, "schedule")) for seed in range(1, 5)]
    done += [Done(Task("random", "B", seed, "schedule")) for seed in range(1, 4)]
    aim = Aim(random=None)
    assert Ledger((A, B), [], aim, done).next() == Task("random", "B", 4, "schedule")
    done[2:4] = [Done(Task("random", "A", seed, "schedule"), hit=True) for seed in (1, 2)]
    assert Ledger((A, B), [], aim, done).next() == Task("random", "A", 5, "schedule")


# ---------------------------------------------------------------- sums
def test_a_mutant_is_killed_when_every_seed_kills_it() -> None:
    ledger = Ledger((A, B), [], Aim(seeds=2), [
        Done(Task("witness", "A", 1), True, ("fork",), 1.0), Done(Task("witness", "A", 2), True, ("fork", "x"), 3.0),
        Done(Task("witness", "B", 1), True, ("fork",), 1.0), Done(Task("witness", "B", 2), False, (), 1.0),
    ])  # fmt: skip
    a, b = ledger.rows()
    assert (a["killed"], a["by"], a["runs"], a["seconds"], a["seeds"]) == (True, ["fork", "x"], 1, 2.0, 2)
    assert (b["killed"], b["runs"]) == (False, None)


def test_shares_count_what_was_tried_only() -> None:
    ledger = Ledger((A,), [], Aim(random=None), [
        Done(Task("random", "A", 1, "schedule")), Done(Task("random", "A", 2, "schedule"), called=False),
        Done(Task("random", "A", 3, "schedule"), error="no verdict"),
        Done(Task("random", "A", 4, "schedule"), True, ("fork",)),
    ])  # fmt: skip
    share = ledger.share("random", "A", "schedule")
    assert (share["runs"], share["hits"], share["first"], share["unjudged"]) == (2, 1, 2, 2)
    assert share["by"] == {"fork": 1} and ledger.rows()[0]["best"] == "schedule"


def test_what_a_search_takes_is_the_median_of_the_first_five() -> None:
    hits = {3, 4, 10, 12, 17, 18}  # searches of 3, 1, 6, 2 and 5 runs; the sixth is one too many
    done = [Done(Task("random", "A", seed, "swarm"), seed in hits, seconds=0.5) for seed in range(1, 21)]
    ledger = Ledger([A], (), Aim(generators=("swarm",)), done)
    assert ledger.share("random", "A", "swarm")["search"] == {"searches": 5, "runs": 3, "seconds": 1.5}
    few = Ledger([A], (), Aim(generators=("swarm",)), done[:9])
    assert few.share("random", "A", "swarm")["search"] == {"searches": 2, "runs": 2, "seconds": 1.0}
    assert Ledger([A], (), Aim(generators=("swarm",)), done[:2]).share("random", "A", "swarm")["search"] is None


def test_false_alarms_are_bounded() -> None:
    done = [Done(Task("clean", "", seed, "schedule")) for seed in range(1, 31)]
    done.append(Done(Task("clean", "", 31, "schedule"), error="no verdict"))
    clean = Ledger((), [], Aim(clean=None), done).clean()
    assert clean["clean_unjudged"] == 1
    assert (clean["clean_runs"], clean["false_alarms"], clean["rule_of_three"]) == (30, 0, 0.1)
    assert clean["false_alarms_high"] == pytest.approx(1 - 0.025 ** (1 / 30))


# ---------------------------------------------------------------- state
def test_a_sitting_goes_on_where_it_was_broken_off(tmp_path: Path) -> None:
    done = Done(Task("witness", "A"), True, ("fork",), 1.5)
    with open_state(tmp_path, resume=False) as state:
        state.append(Line(done=done))
    with (state.directory / FILE).open("ab") as file:
        file.write(b'{"done":{"task":{"kind":"wit')  # killed in the middle of a line
    with open_state(tmp_path, resume=True) as again:
        assert again.directory == state.directory and again.done == [done]
        again.append(Line(done=done))
    with open_state(tmp_path, resume=True) as third:
        assert third.done == [done, done]
    with open_state(tmp_path, resume=False) as fresh:
        assert fresh.directory != state.directory and fresh.done == []


def test_other_code_is_another_sitting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    open_state(tmp_path, resume=False).__exit__(None, None, None)
    monkeypatch.setattr("harness.teeth_state.digest", lambda: digest()[::-1])
    with pytest.raises(UsageError, match="no sitting of this very code"):
        open_state(tmp_path, resume=True)
