"""What every registered checker must do, whatever it checks."""

from __future__ import annotations

from random import Random

import pytest

from checkers.judge import Judge
from checkers.registry import judge, load, names
from results.verdict import Status, Verdict
from tests.golden.make import good, world
from tests.golden.plants import PLANTS
from tests.golden.story import Story
from tests.golden.world import World

OWN = [name for name in names() if isinstance(load(name), Judge)]
PLANTED = [(checker, kind) for checker in OWN for kind in PLANTS.get(checker, {})]
READ_BESIDE = {"proposals": ("view",), "view-sync": ("view",), "accusations": ("evidence",)}


@pytest.fixture(scope="module")
def origin() -> World:
    return world()


@pytest.fixture(scope="module")
def base(origin: World) -> Story:
    return origin.story()


def gist(verdict: Verdict) -> tuple[str, Status, int, list[str]]:
    return verdict.property, verdict.status, verdict.examined, sorted(a.kind for a in verdict.anomalies)


@pytest.mark.parametrize("name", names())
def test_its_property_is_its_name(name: str) -> None:
    assert load(name).property == name


@pytest.mark.parametrize("name", names())
def test_an_empty_run_is_unknown(name: str, base: Story) -> None:
    (verdict,) = judge(Story(base.info, [], []).run(), [name])
    assert verdict.status is Status.UNKNOWN and verdict.reason and "crashed" not in verdict.reason


@pytest.mark.parametrize("name", OWN)
def test_it_has_planted_anomalies(name: str) -> None:
    assert PLANTS.get(name), f"give {name} at least one plant in tests/golden/plants.py"


@pytest.mark.parametrize("name", OWN)
def test_a_good_run_passes(name: str, base: Story) -> None:
    (verdict,) = judge(good(name, base).run(), [name])
    assert verdict.status is Status.PASS, verdict


@pytest.mark.parametrize(("name", "kind"), PLANTED)
def test_it_finds_what_was_planted(name: str, kind: str, origin: World, base: Story) -> None:
    story = base.copy()
    PLANTS[name][kind](origin, story)
    (verdict,) = judge(story.run(), [name])
    if name == "receipts":
        assert verdict.status is Status.UNKNOWN and kind in verdict.reason
        return
    assert verdict.status is Status.FAIL
    found = [anomaly for anomaly in verdict.anomalies if anomaly.kind == kind]
    assert found and all(anomaly.witness and len(anomaly.summary) > 20 for anomaly in found)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", OWN)
def test_unrelated_records_may_come_in_any_order(name: str, seed: int, origin: World, base: Story) -> None:
    rng = Random(seed)
    stories = [good(name, base)]
    for kind in sorted(PLANTS[name]):
        story = base.copy()
        PLANTS[name][kind](origin, story)
        stories.append(story)
    for story in stories:
        assert gist(judge(story.run(), [name])[0]) == gist(judge(story.shuffled(rng).run(), [name])[0])


@pytest.mark.parametrize("name", OWN)
def test_a_crash_inside_is_unknown(name: str, base: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(*_: object) -> Verdict:
        raise ZeroDivisionError("planted crash")

    monkeypatch.setattr(type(load(name)), "judge", crash)
    (verdict,) = judge(base.run(), [name])
    assert verdict.status is Status.UNKNOWN
    assert "planted crash" in verdict.reason and "Traceback" in verdict.reason


@pytest.mark.parametrize("name", OWN)
def test_damaged_records_are_never_a_pass_by_crashing_out(name: str, base: Story) -> None:
    """Records without their fields: no exception leaves the checker."""
    story = good(name, base).copy()
    for event in story.trace:
        for key in ("height", "tx", "batch", "signers", "clan", "phase", *READ_BESIDE.get(name, ())):
            event.pop(key, None)
    for operation in story.history:
        if operation["process"] == "nemesis":
            del operation["value"]
    verdict = load(name).check(story.run())
    assert verdict.status is Status.UNKNOWN
