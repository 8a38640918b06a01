"""What honest records say about receipts: a withheld vote that turns up in a certificate was not withheld."""

from __future__ import annotations

import pytest

from checkers.corroboration import contradictions
from checkers.index import Index
from results.store import FaultInfo
from tests.golden.world import World


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
