"""Every shipped scenario: it loads, it is honest about its regime, and names only what is registered."""

from __future__ import annotations

import pytest

from checkers import registry
from faults.port import UnsupportedError
from harness import commands, shipped
from harness.backends import select
from harness.night.work import SUITES
from harness.plan import check_backend
from harness.suite import claimed
from harness.trial import trial
from results.verdict import Status

ALL = shipped.shipped()
ELSEWHERE = {
    "cadence": "a claim, measured by `moonquake claims`",
    "message-delays": "a claim, measured by `moonquake claims`",
    "forensics": "judges violations, of which no clean night has one",
    "linearizable": "joins by itself where the history has registers",
    "elle-list-append": "joins by itself where the history has lists",
    "elle-rw-register": "joins by itself where the history has registers",
    "tendermint-commits": "named by target cometbft for all of its runs",
    "tendermint-evidence": "named by target cometbft for all of its runs",
    "hotstuff-certificates": "named by target hotstuff for all of its runs",
}


@pytest.mark.parametrize("name", ALL)
def test_loads_and_means_what_it_says(name: str) -> None:
    for seed in (1, 2, 3):
        plan = commands.plan_of(commands.read_scenario(name), seed)
        assert plan.scenario.name == name
        assert plan.scenario.description.endswith(".")
        beyond = plan.regime.name == "beyond"
        if ALL[name].parent.name != "witnesses":  # those of a mutant that needs an adversary past the bound break
            assert beyond == (
                ALL[name].parent.name in ("negative", "foreign-negative") or name.endswith(("-past-bound", "-past"))
            )
        assert bool(plan.scenario.expect.violate) == beyond
        assert "receipts" in plan.checkers
        assert claimed(plan)


@pytest.mark.parametrize("name", ALL)
def test_each_backend_can_run_it_or_says_what_is_missing_and_who_has_it(name: str) -> None:
    plan = commands.plan_of(commands.read_scenario(name), 1)
    if ALL[name].parent.name in shipped.FOREIGN:
        with pytest.raises(UnsupportedError, match=r"'sim' lacks .*'program' \(needed by target .*process"):
            check_backend(plan, select.make("sim"))
        check_backend(plan, select.make("process"))
        return
    check_backend(plan, select.make("sim"))
    for backend in map(select.make, ("process", "docker")):
        missing = sorted(set(plan.needs) - backend.capabilities)
        if not missing:
            check_backend(plan, backend)
            continue
        assert ALL[name].parent.name not in shipped.DEFAULT_SUITE, "the default suite runs everywhere"
        with pytest.raises(UnsupportedError) as raised:
            check_backend(plan, backend)
        said = str(raised.value)
        assert f"backend {backend.name!r} lacks" in said and "use --backend" in said and "sim" in said
        assert all(f"{capability.value!r} (needed by {plan.needs[capability]})" in said for capability in missing)


def test_the_default_suite_is_what_the_issue_asks_for() -> None:
    assert [path.stem for path in shipped.suite()] == [
        "fault-free",
        "bridge-partition",
        "censoring-primary",
        "data-withholding-at-clan-bound",
        "duplicates-every-gateway",
        "equivocating-leader-under-partition",
        "leader-crash-restart",
        "lying-executors-at-clan-bound",
        "clan-majority-false-root",
        "clan-majority-withholds",
        "fork-past-tribe-bound",
    ]


def test_the_default_suite_fits_its_six_minutes() -> None:
    plans = [commands.plan_of(commands.read_scenario(path.stem), 1) for path in shipped.suite()]
    seconds = sum(p.scenario.workload.duration_s + p.scenario.quiet_s for p in plans)
    assert seconds < 200  # the rest is starting, stopping and judging
    assert all(7 <= len(p.scenario.cluster.tribe) <= 10 for p in plans)


def test_a_night_asks_every_checker() -> None:
    asked = {
        name
        for scenario, path in ALL.items()
        if path.parent.name in SUITES
        for name in commands.read_scenario(scenario).checks
    }
    assert sorted(asked | set(ELSEWHERE)) == registry.names()
    assert not asked & set(ELSEWHERE)


def test_duties_gives_every_checker_that_it_asks_something_to_judge() -> None:
    done = trial(commands.read_scenario("duties"), 1)
    assert {v.property: v.status for v in done.verdicts if v.status is not Status.PASS} == {}
    assert len(done.verdicts) >= 15
    assert all(verdict.examined for verdict in done.verdicts)
