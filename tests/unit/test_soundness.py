"""Flaws that make a pass UNKNOWN: run.json that is not what its scenario asks for, judges that miscount, stragglers."""

from __future__ import annotations

import pytest

from checkers import soundness
from checkers.index import MS, Index
from checkers.soundness import flaws
from tests.golden.story import Story
from tests.golden.world import World

SECOND = 1000 * MS


@pytest.fixture
def story() -> Story:
    found = World(plan=(8, 4, 2, *([0] * 46)), seed=3).story()
    found.info["scenario"] |= {"cluster": {"nodes": 4, "parameters": {"delta_ms": 500}}, "adversary": {}}
    found.info["parameters"]["delta_ms"] = 500
    return found


def found_in(story: Story) -> list[str]:
    return [flaw for flaw in flaws(Index(story.run())) if "left no trace" not in flaw]


def test_what_is_as_declared_is_no_flaw(story: Story) -> None:
    assert found_in(story) == []


def test_parameters_that_the_scenario_did_not_ask_for(story: Story) -> None:
    story.info["parameters"]["delta_ms"] = 60_000
    assert "the scenario asks for delta_ms = 500, the nodes ran with 60000" in found_in(story)


@pytest.mark.parametrize(
    ("start_ms", "stop_ms", "flawed"),
    [(2000, 4000, False), (2900, 4000, True), (2000, 3000, True), (1000, 4000, False)],
)
def test_a_fault_must_cover_the_window_that_the_scenario_gives_it(
    story: Story, start_ms: int, stop_ms: int, flawed: bool
) -> None:
    begin = story.info["load_start"]
    story.info["scenario"]["fault"] = [{"use": "partition", "from": "2s", "until": "4000ms"}]
    story.info["faults"] = [
        {"id": 1, "use": "partition", "start": begin + start_ms * MS, "stop": begin + stop_ms * MS, "targets": []}
    ]
    assert any(f"from {start_ms} to {stop_ms} ms" in flaw for flaw in found_in(story)) is flawed


def test_another_fault_than_the_declared_one(story: Story) -> None:
    story.info["scenario"]["fault"] = [{"use": "partition"}]
    story.info["faults"] = [{"id": 1, "use": "latency", "start": 0, "stop": story.info["load_end"], "targets": []}]
    assert any("the scenario has partition" in flaw and "latency from" in flaw for flaw in found_in(story))


@pytest.mark.parametrize(("quorum", "flawed"), [(2, True), (3, False)])
def test_judges_whose_quorums_share_no_honest_node(
    story: Story, quorum: int, flawed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(soundness, "tribe_quorum", lambda n: quorum)
    assert any(f"a quorum of {quorum} of 4" in flaw for flaw in found_in(story)) is flawed


@pytest.mark.parametrize(
    ("quiet_s", "regime", "flawed"), [(99, "within", True), (1, "within", False), (99, "beyond", False)]
)
def test_stragglers_count_once_there_was_time_enough(story: Story, quiet_s: int, regime: str, flawed: bool) -> None:
    story.info["stragglers"] = ["n2"]
    story.info["regime"] = regime
    story.info["end"] = max(story.info["heal"], story.info["load_end"]) + quiet_s * SECOND
    assert any("n2 had not caught up" in flaw for flaw in found_in(story)) is flawed
