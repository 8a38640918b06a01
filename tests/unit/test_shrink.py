"""Shrinking on the real simulator, its command, and what it refuses."""

from __future__ import annotations

import base64
import json
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import msgspec
import pytest

from harness import cli, command_shrink, shrink
from harness.backends.sim.backend import SimBackend
from harness.commands import plan_of, read_scenario, run_plan
from harness.outcome import Exit, UsageError
from harness.progress import Observer
from harness.provision import clean
from harness.scenario import Scenario, parse
from harness.shrinking.passes import PASSES
from harness.shrinking.search import Search, Target, run_passes
from harness.shrinking.story import tell
from harness.toml import Source
from results.history import HistoryError
from results.store import Run
from results.verdict import Anomaly, Status, Verdict
from tests.runs import small_info, write_run
from tests.shrinking import FakeJudge

FORK = "fork-past-tribe-bound"
Command = Callable[..., tuple[int, str, str]]

IRRELEVANT = """
[[fault]]
use = "latency"
delay_ms = 30
victims = "one"
from = "1s"
until = "4s"
[[fault]]
use = "latency"
delay_ms = 15
jitter_ms = 5
from = "5s"
until = "8s"
[[fault]]
use = "bandwidth"
rate_kbit = 4000
from = "2s"
until = "6s"
[[fault]]
use = "loss"
probability = 0.05
from = "3s"
until = "7s"
[[fault]]
use = "pause"
victims = "one"
from = "2s"
until = "4s"
[[fault]]
use = "pause"
victims = ["n3"]
from = "5s"
until = "6s"
[[fault]]
use = "crash"
victims = ["n1"]
from = "3s"
until = "6s"
[[fault]]
use = "partition"
topology = "isolate"
victims = ["n2"]
from = "1s"
until = "3s"
[[fault]]
use = "partition"
topology = "one-way"
victims = ["n0"]
from = "6s"
until = "8s"
[[fault]]
use = "partition"
topology = "halves"
from = "4s"
until = "7s"
"""


def planted() -> dict[str, Any]:
    """A fork at b = f + 1 under a partition, with ten faults that have nothing to do with it."""
    values = dict(read_scenario(FORK).raw)
    values["fault"] = [*values["fault"], *tomllib.loads(IRRELEVANT)["fault"]]
    values["adversary"] = {**values["adversary"], "crashes": 1}
    return values


def ran(values: dict[str, Any], root: Path, seed: int = 1) -> Path:
    """A judged run directory of the scenario on the simulator."""
    plan = plan_of(parse(values, Source("s.toml")), seed, SimBackend.scheme)
    return run_plan(plan, SimBackend(), root, (), Observer()).directory


@pytest.fixture(scope="module")
def fork_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with the planted fork."""
    return ran(planted(), tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def outcome(fork_run: Path) -> shrink.Outcome:
    """The planted fork, shrunk."""
    return shrink.shrink(fork_run)


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    monkeypatch.setattr(clean, "sweep", lambda progress: [])

    def call(*words: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            cli.main(words)
        assert isinstance(ended.value.code, int)
        out, err = capsys.readouterr()
        return ended.value.code, out, err

    return call


# ---------------------------------------------------------------- the planted fork
def test_a_planted_fork_with_ten_irrelevant_faults_shrinks_to_three(outcome: shrink.Outcome) -> None:
    document = outcome.document()
    assert document["faults_before"] == 13  # ten, the partition, and two behaviours
    assert document["faults_after"] <= 3
    assert document["trials"] <= 150
    assert document["minimal"]
    assert (document["nodes_before"], document["nodes_after"]) == (7, 4)
    assert (document["violation"]["property"], document["violation"]["kind"]) == ("fork", "fork")
    search = outcome.shrunk.search
    assert len(search.trial.info.byzantine) == 2  # f + 1 of four
    assert search.trial.expected is True


def test_the_file_fails_in_the_same_way_through_the_command_line(
    outcome: shrink.Outcome, command: Command, tmp_path: Path
) -> None:
    text = outcome.scenario.read_text()
    assert text.startswith(f"# Shrunk by moonquake from a run of {FORK} (seed 1, backend sim")
    assert tomllib.loads(text)["name"] == f"{FORK}-shrunk"
    seed = str(outcome.document()["seed"])
    code, out, _ = command(
        "run", str(outcome.scenario), "--backend", "sim", "--seed", seed, "--runs", str(tmp_path), "--json"
    )
    assert code == Exit.AS_EXPECTED
    again = json.loads(out)
    assert again["digest"] == outcome.document()["digest"]
    kinds = {(v["property"], a["kind"]) for v in again["verdicts"] for a in v["anomalies"]}
    assert ("fork", "fork") in kinds


def test_shrinking_again_gains_nothing(outcome: shrink.Outcome, tmp_path: Path) -> None:
    values = tomllib.loads(outcome.scenario.read_text())
    again = shrink.shrink(ran(values, tmp_path, outcome.shrunk.search.seed))
    assert again.shrunk.search.steps == []
    assert tomllib.loads(again.scenario.read_text()) == values


def test_the_story_names_who_did_what(outcome: shrink.Outcome) -> None:
    story = outcome.story
    info = outcome.shrunk.search.trial.info
    assert "\n" not in story
    for words in (*info.byzantine, "double-voter", "votes make a certificate", "finalised", "2 Byzantine of 4"):
        assert words in story
    assert (outcome.run / "story.md").read_text().startswith(story)


def test_the_chart_shows_both_finalisations_and_who_is_byzantine(outcome: shrink.Outcome) -> None:
    root = ElementTree.parse(outcome.chart).getroot()
    texts = ["".join(node.itertext()) for node in root.iter() if node.tag.endswith("text")]
    assert sum(text.startswith("FINALISES") for text in texts) >= 2
    assert texts.count("Byzantine") == 2
    assert any(text.startswith("proposes A to") for text in texts) and any("proposes B to" in text for text in texts)
    assert "prefers-color-scheme: dark" in outcome.chart.read_text()


def test_the_report_shows_the_chart_and_cannot_be_scripted_by_it(outcome: shrink.Outcome, command: Command) -> None:
    code, _, _ = command("report", str(outcome.run), "--json")
    assert code == Exit.AS_EXPECTED
    page = (outcome.run / "report.html").read_text()
    encoded = base64.b64encode(outcome.chart.read_bytes()).decode()
    assert f' src="data:image/svg+xml;base64,{encoded}" alt="message-sequence chart of the shrunk violation"' in page


def test_the_command_answers_in_json(fork_run: Path, command: Command) -> None:
    code, out, err = command("shrink", str(fork_run), "--trials", "4", "--json")
    document = json.loads(out)
    assert code == Exit.AS_EXPECTED
    assert document.keys() >= {
        "run", "faults_before", "faults_after", "trials", "scenario", "chart", "story", "violation",
    }  # fmt: skip
    assert document["trials"] == 4
    assert not document["minimal"] and document["stopped"] == "the budget was spent"
    assert document["faults_after"] <= document["faults_before"] == 13
    assert "trial" in err
    assert tomllib.loads(Path(document["scenario"]).read_text())["name"] == f"{FORK}-shrunk"


def test_an_interrupted_search_answers_with_what_it_has_and_is_inconclusive(
    outcome: shrink.Outcome, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken_off = msgspec.structs.replace(outcome.shrunk, minimal=False, stopped="interrupted")
    ended = msgspec.structs.replace(outcome, shrunk=broken_off)
    monkeypatch.setattr(command_shrink, "make_smaller", lambda *words: ended)
    code, out, _ = command("shrink", str(outcome.run))
    assert code == Exit.INCONCLUSIVE
    assert "interrupted; this is the smallest so far" in out
    assert (
        f"before:    13 faults and behaviours, 7 nodes\nnow:       {outcome.document()['faults_after']} faults" in out
    )
    assert "ended early (interrupted" in tell(broken_off)


# ---------------------------------------------------------------- the search
def settings_of(scenario: Scenario) -> set[str]:
    return {f.use for f in scenario.faults} | {b.use for b in scenario.adversary.behaviours}


def test_a_candidate_that_fails_otherwise_is_refused() -> None:
    """Without the partition another kind of anomaly appears: it must not be taken for the same."""

    def fails(scenario: Scenario) -> bool:
        return "partition" in settings_of(scenario)

    judge = FakeJudge(fails)

    def confused(scenario: Scenario, seed: int, checkers: Any = None, backend: Any = None) -> Any:
        found = judge(scenario, seed)
        if fails(scenario):
            return found
        other = FakeJudge(lambda scenario: True, kind="two-certificates")
        return other(scenario, seed)

    search = Search(planted(), 1, Target("fork", "fork"), confused)
    run_passes(search, PASSES)
    assert search.trial.anomalies() == (("fork", "fork"),)
    assert [f.use for f in search.trial.scenario.faults] == ["partition"]


def test_a_surprise_within_the_bound_never_becomes_one_beyond() -> None:
    values = planted()
    values["expect"] = "hold"
    values["adversary"] = {"nodes": ["n4", "n5"], "behaviour": values["adversary"]["behaviour"], "crashes": 1}
    judge = FakeJudge(lambda scenario: scenario.adversary.count >= 2)
    search = Search(values, 1, Target("fork", "fork"), judge)
    assert run_passes(search, PASSES).minimal
    assert search.trial.info.regime == "within"
    assert search.values["expect"] == "hold"
    assert len(search.trial.info.tribe) == 7  # two corrupted nodes are within the bound of seven, not of six


def test_an_expectation_becomes_hold_when_the_adversary_gets_within_the_bound() -> None:
    judge = FakeJudge(lambda scenario: "partition" in settings_of(scenario))
    search = Search(planted(), 1, Target("fork", "fork"), judge)
    run_passes(search, PASSES)
    assert search.values["expect"] == "hold"
    assert "adversary" not in search.values
    assert search.trial.expected is False


def test_another_seed_is_tried_where_the_first_does_not_show_it() -> None:
    judge = FakeJudge(lambda scenario: True)

    def shy(scenario: Scenario, seed: int, checkers: Any = None, backend: Any = None) -> Any:
        return judge(scenario, seed) if seed == 2 else FakeJudge(lambda scenario: False)(scenario, seed)

    search = Search(planted(), 9, Target("fork", "fork"), shy)
    assert search.seed == 2
    with pytest.raises(UsageError, match=r"does not show fork: fork .* with seed 9"):
        Search(planted(), 9, Target("fork", "fork"), FakeJudge(lambda scenario: False))


def test_ctrl_c_keeps_the_best_so_far() -> None:
    judge = FakeJudge(lambda scenario: True)

    def interrupted(scenario: Scenario, seed: int, checkers: Any = None, backend: Any = None) -> Any:
        if len(judge.asked) == 3:
            raise KeyboardInterrupt
        return judge(scenario, seed)

    search = Search(planted(), 1, Target("fork", "fork"), interrupted)
    found = run_passes(search, PASSES)
    assert (found.minimal, found.stopped) == (False, "interrupted")
    assert search.steps and search.values["workload"]["duration"] != "10s"


def test_time_that_is_up_ends_the_search() -> None:
    search = Search(planted(), 1, Target("fork", "fork"), FakeJudge(lambda scenario: True), late=lambda: True)
    assert run_passes(search, PASSES).stopped == "the budget was spent"
    assert search.trials == 1


def test_a_file_that_runs_otherwise_is_a_bug_that_is_told() -> None:
    search = Search(planted(), 1, Target("fork", "fork"), FakeJudge(lambda scenario: True))
    with pytest.raises(RuntimeError, match="does not run as the search saw it"):
        search.confirm(search.settled({**search.values, "workload": {"kind": "transfers", "rate": 3}}, 1))


# ---------------------------------------------------------------- runs that cannot be shrunk
def test_a_run_without_a_violation_is_refused(tmp_path: Path, command: Command) -> None:
    verdicts = [Verdict("fork", Status.PASS, 4), Verdict("dedup", Status.UNKNOWN, 0, reason="no transaction")]
    write_run(tmp_path / "run", small_info(), [], [], verdicts)
    code, out, _ = command("shrink", str(tmp_path / "run"), "--json")
    assert code == Exit.USAGE
    assert "nothing to shrink" in json.loads(out)["error"]
    assert "dedup UNKNOWN" in json.loads(out)["error"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["nothing-here"], "not a run directory"),
        (["."], "run.json"),
        ([".", "--time", "soon"], "--time"),
        ([".", "--trials", "0"], "--trials 0"),
    ],
)
def test_nonsense_is_refused(
    words: list[str], says: str, command: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, _ = command("shrink", *words, "--json")
    assert code == Exit.USAGE
    assert says in json.loads(out)["error"]


def failing(directory: Path, **fields: Any) -> Path:
    """A run directory whose verdicts say fork, of another backend or with a damaged scenario."""
    witness = [{"time": 5, "node": "n0", "event": "finalise"}]
    verdicts = [Verdict("fork", Status.FAIL, 4, [Anomaly("fork", "n0 contradicts n1", witness)])]
    return write_run(directory, small_info(**fields), [], [], verdicts).directory


def test_a_run_of_another_backend_is_shrunk_where_the_simulator_shows_it_too(tmp_path: Path) -> None:
    directory = failing(tmp_path / "run", scenario=planted(), name=FORK, backend="docker", seed=1)
    done = shrink.shrink(directory, max_trials=3)
    assert done.document()["violation"]["kind"] == "fork"
    assert "backend docker" in done.scenario.read_text()
    harmless = {**read_scenario("fault-free", time="1s").raw}
    harmless["checks"] = {"include": ["fork"]}
    directory = failing(tmp_path / "other", scenario=harmless, backend="docker")
    with pytest.raises(UsageError, match="the simulator does not show fork: fork"):
        shrink.shrink(directory)


def test_a_missing_attack_file_is_named(tmp_path: Path) -> None:
    values = planted()
    values["adversary"]["behaviour"] = [{"use": f"{tmp_path}/gone.py:Attack"}]
    with pytest.raises(UsageError, match=r"gone\.py"):
        shrink.shrink(failing(tmp_path / "run", scenario=values, backend="sim"))


def test_damaged_directories_are_refused(tmp_path: Path) -> None:
    directory = failing(tmp_path / "run", scenario=planted(), backend="sim")
    (directory / "verdicts.json").write_text("[{")
    with pytest.raises(HistoryError, match="not a list of verdicts"):
        shrink.shrink(directory)
    (directory / "verdicts.json").unlink()
    with pytest.raises(HistoryError, match="truncated"):  # judged again, and the records are not whole
        shrink.shrink(directory)


def test_a_run_that_nobody_judged_is_judged_first(fork_run: Path) -> None:
    (fork_run / "verdicts.json").rename(fork_run / "kept.json")
    try:
        verdicts = shrink.verdicts_of(fork_run)
    finally:
        (fork_run / "kept.json").rename(fork_run / "verdicts.json")
    kept = [
        v.property for v in Run(fork_run).verdicts if v.property != "forensics"
    ]  # it explains what the others found
    assert [v.property for v in verdicts] == kept
