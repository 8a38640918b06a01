"""What honest records say about receipts: a withheld vote that turns up in a certificate was not withheld."""

from __future__ import annotations

import pytest

from checkers.corroboration import contradictions
from checkers.index import Index
from results.store import FaultInfo
from tests.golden.story import Story
from tests.golden.world import World

SECOND = 1_000_000_000


@pytest.mark.parametrize(
    ("kind", "event"), [("availability", "available"), ("state", "state_certificate"), ("commit", "certify")]
)
def test_a_withheld_vote_inside_a_certificate_refutes_the_receipt(kind: str, event: str) -> None:
    story = World(plan=(1, 1, 0), seed=0).story()
    signer = story.events(event, **({"kind": "commit"} if kind == "commit" else {}))[-1]["signers"][0]
    for kinds, refuted in (([kind], True), (["timeout"], False)):
        fault = FaultInfo(1, "vote-withholder", "behaviour", 0, 0, [signer], {"kinds": kinds})
        found = contradictions(Index(story.run()), fault, (0, story.info["end"]))
        assert [f"{kind} certificate" in text and f"signed by {signer}" in text for text in found] == [True] * refuted


@pytest.mark.parametrize(("other", "refuted"), [(2, False), (0, True)])
def test_what_a_behaviour_further_out_says_is_not_held_against_who_withholds(other: int, refuted: bool) -> None:
    """Swarm, seed 3000047: a lazy signer declared after a vote-withholder votes past it; before it, it is withheld."""
    story = World(plan=(1, 1, 0), seed=0).story()
    signer = story.events("available")[-1]["signers"][0]
    fault = FaultInfo(1, "vote-withholder", "behaviour", 0, 0, [signer], {"kinds": ["availability"]})
    story.info["faults"] = [
        {"id": 1, "use": "vote-withholder", "kind": "behaviour", "targets": [signer]},
        {"id": other, "use": "lazy-signer", "kind": "behaviour", "targets": [signer]},
    ]
    assert bool(contradictions(Index(story.run()), fault, (0, story.info["end"]))) is refuted


def _tribe_with_n3_corrupted() -> Story:
    story = World(plan=(8, 4, 2, *([0] * 46)), seed=3).story()
    story.info["byzantine"], story.info["honest"] = ["n3"], ["n0", "n1", "n2"]
    return story


def _told(story: Story, use: str) -> list[str]:
    fault = FaultInfo(1, use, "behaviour", 0, 0, ["n3"])
    story.info["faults"] = [{"id": 1, "use": use, "kind": "behaviour", "targets": ["n3"]}]
    return contradictions(Index(story.run()), fault, (0, story.info["end"]))


def test_twins_with_two_keys_or_without_a_contradiction_are_none() -> None:
    story = _tribe_with_n3_corrupted()
    assert _told(story, "twins") == ["no honest node saw the copies of n3 contradict each other"]
    story.add({"event": "accuse", "culprit": "n3", "kind": "two-normal"}, node="n0", incarnation=1, time=SECOND)
    assert _told(story, "twins") == []
    refusal = {"event": "reject", "sender": "n3", "reason": "vote with a bad signature of n3"}
    story.add(refusal, node="n1", incarnation=1, time=SECOND)
    assert "its two copies have not the same key" in _told(story, "twins")[0]


def test_a_node_that_hears_nothing_more_of_whom_it_refused_has_shut_it_out() -> None:
    story = _tribe_with_n3_corrupted()
    own = {e["block"] for e in story.events("finalise") if e["proposer"] == "n3"}
    refusal = {"event": "reject", "sender": "n3", "reason": "block certificate of view 2: bad signature of n0"}
    story.add(refusal, node="n1", incarnation=1, time=SECOND)
    assert _told(story, "improviser") == []  # it votes for blocks of n3 later on
    story.trace = [e for e in story.trace if not (e["event"] == "vote" and e["node"] == "n1" and e["block"] in own)]
    assert "it may have shut n3 out" in _told(story, "improviser")[0]


def test_a_tribe_in_whose_certificates_the_refused_one_never_is_again_has_shut_it_out() -> None:
    story = _tribe_with_n3_corrupted()
    refusal = {"event": "reject", "sender": "n3", "reason": "block certificate of view 2: bad signature of n0"}
    for node in ("n0", "n1", "n2"):
        story.add(refusal, node=node, incarnation=1, time=SECOND)
    early = [e for e in story.events("certify") if e["time"] <= SECOND]
    early[0]["signers"] = [*early[0]["signers"][:-1], "n3"]
    for event in story.events("certify"):
        if event["time"] > SECOND:
            event["signers"] = ["n0", "n1", "n2"]
    assert _told(story, "improviser") == [
        "after its last refused message n3 is in no certificate any more: it may have been shut out"
    ]
    assert not any("shut out" in text for text in _told(story, "vote-withholder"))
