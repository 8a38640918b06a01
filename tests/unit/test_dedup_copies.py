"""Which second copies are rightful in a run without faults: those of secondaries that had waited for their deadline."""

from __future__ import annotations

from checkers.registry import judge
from results.verdict import Status, Verdict
from tests.golden.story import Story
from tests.golden.world import MS, World


def dedup(story: Story) -> Verdict:
    return judge(story.run(), ["dedup"])[0]


def waited(ms: int) -> Story:
    """Every transaction is included by a secondary as well, `ms` after the secondary received it."""
    story = World(plan=(2, 2, 0, 0), copies=True, seed=5).story().copy()
    for start in story.events("start"):
        start["time"] = -5000 * MS
    for event in story.events("include", role="secondary"):
        for received in story.events("received", tx=event["tx"], node=event["node"]):
            received["time"] = event["time"] - ms * MS
    return story


def test_a_secondary_that_waited_must_include() -> None:
    assert dedup(waited(1990)).status is Status.PASS


def test_a_hasty_secondary_is_found() -> None:
    assert {a.kind for a in dedup(waited(300)).anomalies} == {"duplicate-inclusion"}


def test_a_patient_inclusion_that_never_became_final_excuses_nobody() -> None:
    story = waited(300)
    for event in story.events("include", role="secondary"):
        story.add(event, batch="cd" * 32, time=event["time"] + 3000 * MS)
    assert {a.kind for a in dedup(story).anomalies} == {"duplicate-inclusion"}
