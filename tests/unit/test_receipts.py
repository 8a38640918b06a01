"""Receipts of behaviours: one that bit is enough, but every corrupted node must have had an occasion."""

from __future__ import annotations

from typing import Any

from checkers.registry import judge
from results.verdict import Status, Verdict
from tests.golden.story import Story
from tests.golden.world import MS, World


def receipts(story: Story) -> Verdict:
    return judge(story.run(), ["receipts"])[0]


def test_a_behaviour_that_bit_on_one_node_counts_if_the_others_had_occasions() -> None:
    story = World(plan=(2, 2, 0, 0), seed=5).story().copy()
    story.info["byzantine"], story.info["regime"] = ["n1", "n2"], "beyond"
    story.info["faults"] = [{"id": 3, "use": "some-attack", "kind": "behaviour", "targets": ["n1", "n2"]}]

    def nemesis(time: int, f: str, **more: Any) -> None:
        value = {"id": 3, "use": "some-attack", "kind": "behaviour", **more}
        story.tell({"index": 0, "time": time * MS, "process": "nemesis", "type": "info", "f": f, "value": value})

    def receipt(matched: int, dropped: int) -> dict[str, Any]:
        return {"matched": matched, "changed": 0, "dropped": dropped, "injected": 0, "bit": dropped > 0}

    nemesis(100, "start")
    nemesis(2000, "stop", node="n1", receipt=receipt(3, 0))
    assert "did not bite" in receipts(story).reason
    nemesis(2000, "stop", node="n2", receipt=receipt(5, 5))
    assert receipts(story).status is Status.PASS
    (idle,) = (op for op in story.history if op["process"] == "nemesis" and op["value"].get("node") == "n1")
    idle["value"]["receipt"] = receipt(0, 0)  # a twin that never leads is no attack
    assert "n1 never had an occasion" in receipts(story).reason
    idle["value"]["receipt"] = receipt(3, 3) | {"error": "mine.py:7: KeyError: 'n9'\nTraceback"}
    found = receipts(story)  # it did bite, until its own code failed
    assert found.status is Status.UNKNOWN
    assert "its own code failed on n1: mine.py:7: KeyError: 'n9'" in found.reason
