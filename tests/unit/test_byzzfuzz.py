"""Mutated messages: one field differs, the sender's signature holds, every receiver that was chosen gets the same."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from faults.byzantine.byzzfuzz import ByzzFuzz
from faults.byzantine.registry import load_behaviour
from faults.byzantine.rewrites import OPERATORS, Rewriting, Seen, rewrite
from faults.rounds import STEPS, round_of
from faults.search.byzzfuzz import VIEWS, byzzfuzz
from harness import commands
from nodes.crypto import Ed25519Verifier
from nodes.messages import (
    BatchRequest,
    Block,
    BlockCertificate,
    CommitCertificate,
    CommitVote,
    FallbackProposal,
    Message,
    NormalProposal,
    OptimisticProposal,
    Timeout,
    TimeoutCertificate,
    Vote,
    block_hash,
    decode,
    encode,
)
from nodes.port import Multicast, Receive
from tests.coalition import Canned, sends, shell_of
from tests.conformance.test_behaviours import author_and_proof
from tests.driver import domain_of, signer_of, small_config

CONFIG = small_config(7)
DOMAIN = domain_of(CONFIG)
ME = "n6"
H = bytes(range(32))


def block(view: int, parent: bytes = H) -> Block:
    return Block("test", 0, view, view, parent, ME, 1000 + view, ())


def certificate(view: int) -> BlockCertificate:
    return BlockCertificate(0, "normal", view, block_hash(block(view)), b"\x1f", (bytes(64),) * 5)


def originals() -> list[Message]:
    """One of each kind, of view 9, signed by the node."""
    sign = signer_of(ME).sign
    made = block(9, block_hash(block(8, block_hash(block(7)))))
    digest = block_hash(made)
    timeouts = TimeoutCertificate(0, 8, certificate(7), b"\x1f", (7,) * 5, (bytes(64),) * 5)
    return [
        OptimisticProposal(made, sign(DOMAIN.proposal("optimistic", 9, digest))),
        NormalProposal(made, certificate(8), sign(DOMAIN.proposal("normal", 9, digest))),
        FallbackProposal(made, timeouts, sign(DOMAIN.proposal("fallback", 9, digest))),
        Vote("normal", 9, digest, ME, sign(DOMAIN.vote("normal", 9, digest))),
        CommitVote(9, digest, ME, sign(DOMAIN.commit(9, digest))),
        Timeout(9, certificate(8), ME, sign(DOMAIN.timeout(9, 8))),
        certificate(9),
        CommitCertificate(0, 9, digest, b"\x1f", (bytes(64),) * 5),
        timeouts,
    ]


def seen() -> Seen:
    found = Seen()
    for view in range(4, 9):
        made = block(view, block_hash(block(view - 1)))
        found.take(NormalProposal(made, certificate(view - 1), bytes(64)))
        found.take(certificate(view))
    found.take(TimeoutCertificate(0, 6, certificate(5), b"\x1f", (5,) * 5, (bytes(64),) * 5))
    return found


def node() -> Any:
    return shell_of(Canned(), me=ME, coalition=(ME,), config=CONFIG).node


CASES = [(type(m).__name__, name, m) for m in originals() for name in OPERATORS[type(m)] if name != "omit"]


@pytest.mark.parametrize(("kind", "operator", "message"), CASES, ids=[f"{k}-{o}" for k, o, _ in CASES])
@pytest.mark.parametrize("near", [True, False])
def test_an_operator_changes_the_message_and_signs_it_again(
    kind: str, operator: str, message: Message, near: bool
) -> None:
    verifier = Ed25519Verifier()
    changed = 0
    for seed in range(5):
        mutated = rewrite(Rewriting(node(), seen(), Random(seed), near), message, operator)
        assert mutated is not None
        if mutated == message:
            continue
        changed += 1
        assert decode(encode(mutated)) == mutated
        proof = author_and_proof(mutated)
        if proof is not None and not isinstance(mutated, NormalProposal | FallbackProposal):
            assert proof[0] == ME
        if proof is not None:
            author, statement, signature = proof
            assert verifier.verify(signer_of(author).public_key, statement, signature)
    if operator not in ("drop-batch", "repeat-batch", "payload"):  # these blocks hold no batches
        assert changed


def test_every_kind_can_be_withheld_and_small_steps_are_small() -> None:
    for message in originals():
        assert rewrite(Rewriting(node(), seen(), Random(1), True), message, "omit") is None
    vote = originals()[3]
    assert isinstance(vote, Vote)
    views = {rewrite(Rewriting(node(), seen(), Random(s), True), vote, "view").view for s in range(20)}  # type: ignore[union-attr]
    assert views == {8, 10}
    far = {rewrite(Rewriting(node(), seen(), Random(s), False), vote, "view").view for s in range(60)}  # type: ignore[union-attr]
    assert len(far) > 10 and 9 not in far
    near = {rewrite(Rewriting(node(), seen(), Random(s), True), vote, "block").block for s in range(20)}  # type: ignore[union-attr]
    assert near == {block_hash(block(v, block_hash(block(v - 1)))) for v in (7, 8)}


def test_chosen_receivers_get_the_same_and_others_the_original() -> None:
    message = originals()[3]
    rounds = [{"view": 9, "step": "vote", "receivers": ["n1", "n2", "n4"], "seed": 3, "operator": "kind"}]
    behaviour = ByzzFuzz(rounds)
    shell = shell_of(Canned(Multicast("tribe", message)), behaviour, me=ME, coalition=(ME,), config=CONFIG)
    out = dict(sends(shell.step(1, Receive("n1", certificate(8)))))
    assert out["n1"] == out["n2"] == out["n4"] != message
    assert out["n0"] == out["n3"] == out["n5"] == message
    assert isinstance(out["n1"], Vote) and out["n1"].kind != "normal"
    assert (behaviour.receipt.matched, behaviour.receipt.changed) == (6, 3)
    again = dict(sends(shell.step(2, Receive("n1", certificate(8)))))
    assert again == out


def test_rounds_are_read_off_messages() -> None:
    assert [round_of(m) for m in originals()[:6]] == [
        (9, "proposal"), (9, "proposal"), (9, "proposal"), (9, "vote"), (9, "commit"), (9, "timeout")
    ]  # fmt: skip
    assert round_of(BatchRequest(H)) == (-1, "")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"step": "dance"}, "step out of"),
        ({"scope": "huge"}, "scope small or any"),
        ({"operator": "explode"}, "operator = 'explode'"),
        ({"receivers": []}, "at least one node"),
        ({"view": 0}, "a view from 1 on"),
        ({"viev": 1}, "unknown field"),
    ],
)
def test_schedules_that_make_no_sense_are_refused(change: dict[str, Any], words: str) -> None:
    table: dict[str, Any] = {"view": 9, "step": "vote", "receivers": ["n1"], "seed": 1}
    with pytest.raises(ValueError, match=words):
        load_behaviour("byzzfuzz", {"rounds": [{**table, **change}]})


def test_the_generator_keeps_to_its_horizon() -> None:
    base = commands.read_scenario("swarm").raw
    steps: set[str] = set()
    for seed in range(150):
        values = byzzfuzz(base, seed)
        tables = [t for fault in values.get("fault", ()) for t in fault["rounds"]]
        for behaviour in values.get("adversary", {}).get("behaviour", ()):
            (who,) = behaviour["nodes"]
            for table in behaviour["options"]["rounds"]:
                tables.append(table)
                assert who not in table["receivers"]
                if table["step"] == "proposal":
                    assert values["cluster"]["leaders"][table["view"]] == who
                steps.add(table["step"])
        views = [table["view"] for table in tables]
        assert views and max(views) - min(views) < VIEWS
    assert steps == set(STEPS)
