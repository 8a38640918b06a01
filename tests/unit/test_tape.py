"""What a tape records of a simulated run, and the charts and stories that are made of it."""

from __future__ import annotations

from harness.backends.sim.backend import SimBackend
from harness.backends.sim.tape import CONSENSUS, NEVER, Tape
from harness.commands import read_scenario
from harness.scenario import parse
from harness.shrinking.chart import chart_of
from harness.shrinking.search import Search, Target, run_passes
from harness.shrinking.story import tell
from harness.toml import Source
from harness.trial import trial
from tests.shrinking import FakeJudge

FORK = "fork-past-tribe-bound"


def test_the_tape_records_and_changes_nothing() -> None:
    scenario = read_scenario(FORK, time="9s")
    tape = Tape(since=1_000_000_000, until=2_000_000_000)
    taped, plain = trial(scenario, 1, (), SimBackend(tape=tape)), trial(scenario, 1, ())
    assert taped.digest == plain.digest
    assert {d.kind for d in tape.deliveries} <= set(CONSENSUS)
    assert {"VOTE", "TMO"} <= {d.kind for d in tape.deliveries}
    assert all(1_000_000_000 <= d.sent <= 2_000_000_000 for d in tape.deliveries)
    free = [d for d in tape.deliveries if d.sender == "n0" and d.receiver == "n1"]
    assert free and all(d.arrived - d.sent == 50_000_000 for d in free)
    cut = [d for d in tape.deliveries if d.sender == "n0" and d.receiver == "n2"]
    assert any(d.arrived == NEVER for d in cut)
    votes = {(e["node"], e["block"]) for e in plain.run.trace if e["event"] == "vote" and e["kind"] != "commit"}
    said = {(d.sender, d.subject) for d in tape.deliveries if d.kind == "VOTE" and d.sender in plain.info.honest}
    assert said and said <= votes


def test_chart_and_story_of_a_run_with_faults_say_what_was_on() -> None:
    """A fork that needs its partition: behaviours that begin when it is on."""
    values = dict(read_scenario(FORK).raw)
    late = [{**behaviour, "from": "500ms"} for behaviour in values["adversary"]["behaviour"]]
    values["adversary"] = {**values["adversary"], "behaviour": late}
    tape = Tape()
    scenario = parse(values, Source("late"))
    done = trial(scenario, 1, backend=SimBackend(tape=tape))
    verdict = next(v for v in done.verdicts if v.property == "fork")
    chart = chart_of(done, "fork", verdict.anomalies[0], tape)
    assert [band.text for band in chart.bands] == ["partition: n0 n1 g0 | n2 n3"]
    assert any(arrow.arrived is None for arrow in chart.arrows)
    assert sum(mark.strong for mark in chart.marks) == 2
    assert [life.name for life in chart.lifelines if life.byzantine] == ["n4", "n5", "n6"]
    search = Search(values, 1, Target("fork", "fork"))
    story = tell(run_passes(search, ()))
    assert "fault partition between n0, n1 and g0 and n2 and n3" in story
    assert "from 0.5 s" in story


def test_the_story_of_a_script_says_how_long_it_is() -> None:
    search = Search(dict(read_scenario("mm7").raw), 1, Target("fork", "fork"), FakeJudge(lambda scenario: True))
    story = tell(run_passes(search, ()))
    assert "n3 plays scripted (mute of two, steps of five) from the start" in story
    assert "message-loss, kinds CMT, views 23 and 23, senders n0, n1 and n2, receivers n0 and n1." in story
    assert "which is within every bound" in story
