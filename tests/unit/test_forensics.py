"""Culprits by their own signatures: which pairs of statements prove guilt, and evidence files that stand alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from checkers.culprits import contradiction, evidence, proofs, proofs_against, verify
from checkers.evidence import EvidenceError
from checkers.index import index_of
from checkers.registry import judge
from harness import judging
from harness.cli import main
from results.evidence import Evidence, Statement, read_evidence, write_evidence
from results.history import HistoryError
from results.verdict import Status
from tests.golden.make import world
from tests.golden.planting import OTHER
from tests.golden.plants_services import split
from tests.golden.story import Story
from tests.golden.world import World, certificate

A, B = "aa" * 32, "bb" * 32


def vote(kind: str, view: int, block: str = A) -> Statement:
    return Statement(kind, view, "", block)


def timeout(view: int, lock: int) -> Statement:
    return Statement("timeout", view, "", lock_view=lock)


@pytest.mark.parametrize(
    ("first", "second", "rule"),
    [
        (vote("normal", 5), vote("normal", 5, B), "double-vote"),
        (vote("commit", 5), vote("commit", 5, B), "double-vote"),
        (vote("normal", 5), vote("normal", 6, B), None),
        (vote("normal", 5), vote("fallback", 5), "normal-and-fallback"),
        (vote("optimistic", 5), vote("normal", 5, B), "contradicting-votes"),
        (vote("optimistic", 5), vote("normal", 5), None),
        (vote("optimistic", 5), vote("fallback", 5, B), None),  # an optimistic voter may still fall back
        (vote("normal", 5), vote("commit", 5, B), None),  # it voted for one and saw the other certified
        (vote("optimistic", 5), timeout(4, 4), "vote-after-timeout"),
        (vote("optimistic", 5), timeout(5, 4), None),  # the vote first, then the time-out
        (vote("normal", 5), timeout(4, 3), None),  # gave up view 4, then saw it certified
        (vote("commit", 5), timeout(5, 4), "lock-denied"),
        (vote("commit", 5), timeout(9, 4), "lock-denied"),
        (vote("commit", 5), timeout(4, 3), None),
        (vote("commit", 5), timeout(6, 5), None),
        (vote("normal", 5), timeout(5, 3), "lock-denied"),
        (vote("normal", 5), timeout(7, 4), None),
        (vote("fallback", 5), timeout(7, 1), None),
        (timeout(5, 3), timeout(5, 4), None),
        (timeout(5, 3), vote("normal", 5), None),
    ],
)
def test_a_pair_proves_guilt_only_if_no_order_of_signing_is_honest(
    first: Statement, second: Statement, rule: str | None
) -> None:
    assert contradiction(first, second) == rule


def test_every_timeout_counts_for_a_denied_lock() -> None:
    """The one with the lowest lock is the last but one; it is found from every earlier view."""
    statements = [vote("commit", 3), timeout(3, 3), timeout(4, 3), timeout(6, 2), timeout(8, 7), vote("commit", 7)]
    (proof,) = proofs_against("n0", statements)
    assert (proof.rule, proof.first, proof.second) == ("lock-denied", vote("commit", 3), timeout(6, 2))


@pytest.fixture(scope="module")
def origin() -> World:
    return world()


def _given_up(origin: World, story: Story, view: int, locks: dict[str, int]) -> None:
    signatures = [origin.signers[n].sign(origin.domain.timeout(view, lock)).hex() for n, lock in locks.items()]
    record = {"event": "timeout_certificate", "node": "n0", "incarnation": 1, "time": 10**9, "view": view}
    record |= {"high_view": max(locks.values()), "high": OTHER, "signers": list(locks)}
    story.add(record, lock_views=list(locks.values()), signatures=signatures)


def _over_a_timeout(origin: World) -> Story:
    """Height 3 is committed in view 3; n0 finalises another block of view 5, over a timeout certificate of view 4."""
    story = split(origin, origin.story().copy())
    fields = [certificate(origin, kind, 5, OTHER, ["n0", "n2", "n3"]) for kind in ("fallback", "commit")]
    for event, changed in zip(story.events("certify", node="n0", view=3), fields, strict=True):
        event |= changed
    story.events("finalise", node="n0", height=3)[0]["view"] = 5
    return story


def test_a_fork_over_a_timeout_certificate_names_those_who_denied_their_lock(origin: World) -> None:
    story = _over_a_timeout(origin)
    _given_up(origin, story, 4, {"n0": 2, "n2": 2, "n3": 2})
    (verdict,) = judge(story.run(), ["forensics"])
    assert verdict.status is Status.PASS, verdict
    assert verdict.measures["culprits"] == ["n2", "n3"] and verdict.measures["rules_broken"] == ["lock-denied"]


def test_without_the_record_of_the_timeout_certificate_nothing_is_concluded(origin: World) -> None:
    (verdict,) = judge(_over_a_timeout(origin).run(), ["forensics"])
    assert verdict.status is Status.UNKNOWN and "timeout certificate of view 4" in verdict.reason


def test_an_honest_run_has_no_culprits_and_nothing_to_explain(origin: World) -> None:
    story = origin.story().copy()
    assert not proofs(index_of(story.run()))
    (verdict,) = judge(story.run(), ["forensics"])
    assert verdict.status is Status.UNKNOWN and "no violation" in verdict.reason


# ---------------------------------------------------------------- evidence files
@pytest.fixture
def document(origin: World) -> Evidence:
    return evidence(index_of(split(origin, origin.story().copy()).run()))


def _ends(*words: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["check", *words])
    assert isinstance(ended.value.code, int)
    return ended.value.code


def test_an_evidence_file_stands_alone(document: Evidence, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "evidence.json"
    write_evidence(path, document)
    assert verify(read_evidence(path)) == (["n2", "n3"], [])
    assert _ends("--evidence", str(path)) == 0
    assert "proves at least 2 culprits: n2, n3" in capsys.readouterr().out


def _altered(document: Evidence, **changes: Any) -> Evidence:
    first = msgspec.structs.replace(document.proofs[0].first, **changes)
    return msgspec.structs.replace(
        document, proofs=[msgspec.structs.replace(document.proofs[0], first=first), *document.proofs[1:]]
    )


@pytest.mark.parametrize("changes", [{"block": "cc" * 32}, {"view": 4}, {"kind": "fallback"}, {"signature": "00" * 64}])
def test_a_statement_that_was_not_signed_proves_nothing(
    document: Evidence, changes: dict[str, Any], tmp_path: Path
) -> None:
    path = tmp_path / "evidence.json"
    write_evidence(path, _altered(document, **changes))
    assert _ends("--evidence", str(path)) == 1


def test_another_chain_or_one_culprit_proves_nothing(document: Evidence, tmp_path: Path) -> None:
    path = tmp_path / "evidence.json"
    write_evidence(path, msgspec.structs.replace(document, chain="another"))
    assert _ends("--evidence", str(path)) == 1
    write_evidence(path, msgspec.structs.replace(document, proofs=document.proofs[:1]))
    assert _ends("--evidence", str(path)) == 1


def test_one_block_in_two_spellings_is_no_double_vote(document: Evidence) -> None:
    proof = document.proofs[0]
    spelt = msgspec.structs.replace(proof.first, block=proof.first.block.upper())
    forged = msgspec.structs.replace(proof, second=spelt)
    with pytest.raises(EvidenceError, match="lower-case"):
        verify(msgspec.structs.replace(document, proofs=[forged]))


def test_one_key_for_two_names_counts_once(document: Evidence) -> None:
    keys = document.public_keys | {"n3": document.public_keys["n2"]}
    with pytest.raises(EvidenceError, match="one public key"):
        verify(msgspec.structs.replace(document, public_keys=keys))


@pytest.mark.parametrize(
    "text", ["", "[]", "{", '{"format":"moonquake-evidence/9"}', '{"proofs": [{"culprit": "n0"}]}', "\x00\xff"]
)
def test_a_malformed_file_is_named(text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "evidence.json"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(HistoryError, match=r"evidence\.json"):
        read_evidence(path)
    assert _ends("--evidence", str(path)) == 3
    assert "evidence.json" in capsys.readouterr().err.replace("\n", "")


def test_huge_numbers_and_odd_keys_are_malformed(document: Evidence, tmp_path: Path) -> None:
    path = tmp_path / "evidence.json"
    for name, wrong in (("epoch", 2**64), ("public_keys", {"n0": "zz"}), ("scheme", "rot13"), ("tribe", [])):
        path.write_bytes(msgspec.json.encode(msgspec.to_builtins(document) | {name: wrong}))
        assert _ends("--evidence", str(path)) == 3, name


def test_after_a_fork_the_culprits_are_asked_for(origin: World, tmp_path: Path) -> None:
    run = split(origin, origin.story().copy()).run()
    run.directory = tmp_path
    verdicts = judging.explained(run, judge(run, ["fork"]))
    assert [(v.property, v.status) for v in verdicts] == [("fork", Status.FAIL), ("forensics", Status.PASS)]
    assert verify(read_evidence(tmp_path / "evidence.json")) == (["n2", "n3"], [])


def test_without_a_violation_nobody_is_asked_for(origin: World, tmp_path: Path) -> None:
    run = origin.story().run()
    run.directory = tmp_path
    assert [v.property for v in judging.explained(run, judge(run, ["fork"]))] == ["fork"]
    assert not list(tmp_path.iterdir())
