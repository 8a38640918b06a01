"""What one core does with hostile, early, late and incomplete input: reject, hold, fetch, accuse; never raise."""

from __future__ import annotations

import base64
from typing import Any

import msgspec
import pytest

from nodes.messages import (
    BlockCertificate,
    BlockRequest,
    BlockResponse,
    Message,
    NormalProposal,
    OptimisticProposal,
    Timeout,
    TimeoutCertificate,
    Vote,
    block_hash,
)
from nodes.port import Effect, Emit, Multicast, Persist, Send, SetTimer
from nodes.records import BlockRecord, ProposedRecord, VoteState
from tests.driver import MS
from tests.moonshot_kit import Forge, NoPayload, Script, batch_certificate, ladder, one_leader, small

CONFIG = one_leader()
FORGE = Forge(CONFIG)
ALL = ("n0", "n1", "n2", "n3")


def fresh(top: int = 2, **options: Any) -> tuple[Script, Any, Any]:
    """n1 in view top+1, with the ladder below it."""
    script = Script(CONFIG, "n1", **options)
    blocks, qcs = script.climb(FORGE, top)
    return script, blocks, qcs


# ---------------------------------------------------------------- refused
def bad_messages() -> list[tuple[str, Message]]:
    blocks, qcs = ladder(FORGE, 2)
    b3 = FORGE.block(blocks[2], 3, "n0")
    change = msgspec.structs.replace
    return [
        ("not a leader", FORGE.nrm(FORGE.block(blocks[2], 3, "n2"), qcs[2])),
        ("signed by another", FORGE.nrm(b3, qcs[2], by="n2")),
        ("another kind's signature", NormalProposal(b3, qcs[2], FORGE.opt(b3).signature)),
        ("another chain", FORGE.nrm(change(b3, chain="other"), qcs[2])),
        ("another epoch", FORGE.nrm(change(b3, epoch=1), qcs[2])),
        ("certificate of another epoch", change(FORGE.qc("normal", b3, ALL), epoch=1)),
        ("certificate of another view", FORGE.nrm(b3, qcs[1])),
        ("certificate of another kind", change(FORGE.qc("normal", b3, ALL), kind="optimistic")),
        ("another genesis", change(qcs[0], block=b"x" * 32)),
        ("too far ahead", FORGE.opt(FORGE.block(blocks[2], 24, "n0"))),
        ("vote too far ahead", FORGE.vote("normal", FORGE.block(blocks[2], 24, "n0"), "n2")),
        ("commit vote too far ahead", FORGE.cmt(FORGE.block(blocks[2], 24, "n0"), "n2")),
        ("timeout too far ahead", FORGE.tmo(24, qcs[2], "n2")),
        ("vote by a gateway", FORGE.vote("normal", b3, "g0")),
        ("vote by a stranger", change(FORGE.vote("normal", b3, "n2"), voter="n9")),
        ("timeout by a stranger", change(FORGE.tmo(3, qcs[2], "n2"), voter="n9")),
        ("timeout with another lock", change(FORGE.tmo(3, qcs[1], "n2"), lock=qcs[2])),
        ("timeout with a lock that is not older", FORGE.tmo(2, qcs[2], "n2")),
        ("relayed vote with a bad signature", change(FORGE.vote("normal", b3, "n2"), signature=bytes(64))),
        ("relayed commit vote with a bad signature", change(FORGE.cmt(b3, "n2"), signature=bytes(64))),
        ("a response nobody asked for", BlockResponse((b3,))),
        ("view 0", FORGE.opt(FORGE.genesis, by="n0")),
    ]


@pytest.mark.parametrize(("why", "message"), bad_messages(), ids=[why for why, _ in bad_messages()])
def test_a_bad_message_is_rejected_and_changes_nothing(why: str, message: Message) -> None:
    script, _, _ = fresh()
    effects = script.hear("n3", message)
    assert [type(e) for e in effects] == [Emit], effects
    assert script.events("reject")[-1]["sender"] == "n3"
    assert (script.core.view, script.core.state.lock.view) == (3, 2)


def test_a_stranger_on_the_link_is_rejected() -> None:
    script, blocks, qcs = fresh()
    script.hear("x1", FORGE.nrm(FORGE.block(blocks[2], 3, "n0"), qcs[2]))
    assert script.votes(3) == []
    assert script.events("reject")[-1]["sender"] == "x1"


def test_a_bad_vote_is_evicted_and_the_quorum_forms_with_the_next_good_one() -> None:
    """C18: a bad signature from the voter itself sits in the tally until it matters, then goes; its place is free."""
    script, blocks, qcs = fresh()
    b3 = FORGE.block(blocks[2], 3, "n0")
    script.hear("n0", FORGE.nrm(b3, qcs[2]))
    script.hear("n2", msgspec.structs.replace(FORGE.vote("normal", b3, "n2"), signature=bytes(64)))
    script.hear("n3", FORGE.vote("normal", b3, "n3"))
    assert script.core.view == 3
    assert "bad signature of n2" in script.events("reject")[-1]["reason"]
    script.hear("n2", FORGE.vote("normal", b3, "n2"))
    assert script.core.view == 4


def test_nobody_can_take_another_voters_place() -> None:
    """A relayed vote is verified at once; a disputed place goes to the signature that verifies."""
    script, blocks, qcs = fresh()
    b3 = FORGE.block(blocks[2], 3, "n0")
    bad = msgspec.structs.replace(FORGE.vote("normal", b3, "n2"), signature=bytes(64))
    script.hear("n0", FORGE.nrm(b3, qcs[2]), bad)
    script.hear("n2", bad)
    script.hear("n3", FORGE.vote("normal", b3, "n2"), FORGE.vote("normal", b3, "n3"))
    assert script.core.view == 4


# ---------------------------------------------------------------- held, fetched
class Refusing(NoPayload):
    def fault(self, block: Any, taken: frozenset[bytes]) -> str | None:
        doubled = [c.batch for c in block.payload if c.batch in taken]
        return "batch ordered already" if doubled else super().fault(block, taken)


def test_a_payload_that_an_ancestor_has_is_refused() -> None:
    script = Script(one_leader(variant="pipelined"), "n1", Refusing())
    payload = (batch_certificate(1),)
    b1 = FORGE.block(FORGE.genesis, 1, "n0", payload=payload)
    qc1 = FORGE.qc("normal", b1, ("n0", "n2", "n3"))
    b2 = FORGE.block(b1, 2, "n0", payload=payload)
    script.hear("n0", FORGE.nrm(b1, FORGE.genesis_qc), FORGE.nrm(b2, qc1))
    assert script.votes(1) and script.votes(2) == []
    assert "batch ordered already" in script.events("reject")[-1]["reason"]


@pytest.mark.parametrize("changes", [{"height": 4}, {"height": 2}, {"timestamp_ms": 10_000}, {"timestamp_ms": 0}])
def test_height_and_time_are_checked_before_the_vote(changes: dict[str, int]) -> None:
    script = Script(CONFIG, "n1")
    _, qcs = ladder(FORGE, 1)
    b1 = FORGE.block(FORGE.genesis, 1, "n0", timestamp_ms=3)
    b2 = FORGE.block(b1, 2, "n0", **changes)
    script.hear("n0", FORGE.nrm(b1, qcs[0]), FORGE.nrm(b2, FORGE.qc("normal", b1, ("n0", "n2", "n3"))))
    wrong = changes != {"height": 2}
    assert (script.votes(2) == []) is wrong
    assert bool(script.events("reject")) is wrong


def test_the_vote_waits_for_the_parents_body() -> None:
    """1.8: the payload is checked against the ancestors, so a late node holds its vote and fetches them first."""
    script = Script(CONFIG, "n1")
    blocks, qcs = ladder(FORGE, 3)
    script.hear("n2", FORGE.nrm(blocks[3], qcs[2]))
    assert script.core.view == 3 and script.votes(3) == []
    assert script.sent(BlockRequest)[0] == BlockRequest(block_hash(blocks[2]), 1)
    script.hear("n2", BlockResponse((blocks[2], blocks[1])))
    assert script.votes(3) == [("normal", block_hash(blocks[3]))]


def test_a_missing_body_is_asked_of_its_proposer_then_of_everybody() -> None:
    script = Script(CONFIG, "n1")
    blocks, qcs = ladder(FORGE, 3)
    effects = script.hear("n2", qcs[3])
    request = BlockRequest(block_hash(blocks[3]), 2)
    assert Send("n0", request) in effects
    due = next(e.at for e in effects if isinstance(e, SetTimer) and e.timer == "moonshot:sync")
    script.now = due - MS
    assert Multicast("tribe", request) in script.expire("sync")
    script.hear("n3", BlockResponse((blocks[3],)))
    assert script.sent(BlockRequest)[-1] == BlockRequest(block_hash(blocks[2]), 1)
    script.hear("n3", BlockResponse((blocks[2], blocks[1])))
    script.hear("n3", FORGE.cqc(blocks[3], ("n0", "n2", "n3")))
    assert [(e["height"], e["rule"]) for e in script.events("finalise")] == [
        (1, "ancestor"),
        (2, "ancestor"),
        (3, "commit-votes"),
    ]


def test_a_false_block_response_is_refused() -> None:
    script = Script(CONFIG, "n1")
    blocks, qcs = ladder(FORGE, 3)
    script.hear("n2", qcs[3])
    fake = FORGE.block(blocks[1], 2, "n0", tag=9)
    script.hear("n2", BlockResponse((fake,)), BlockResponse((blocks[3], fake)))
    assert len(script.events("reject")) == 2
    assert script.core.chain.get(block_hash(blocks[3])) is not None
    assert script.core.chain.get(block_hash(fake)) is None


def test_blocks_are_served_with_ancestors_and_not_without_end() -> None:
    script, blocks, _ = fresh(5)
    script.hear("g0", BlockRequest(block_hash(blocks[4]), 2), BlockRequest(b"?" * 32, 64))
    assert script.sent(BlockResponse) == [BlockResponse((blocks[4], blocks[3], blocks[2]))]
    for _ in range(100):
        script.hear("n3", BlockRequest(block_hash(blocks[4]), 64))
    assert len(script.sent(BlockResponse)) <= 1 + 32
    assert len(script.events("reject")) == 1


def test_proposals_of_later_views_are_kept_until_they_are_due() -> None:
    script, blocks, _ = fresh()
    b3 = FORGE.block(blocks[2], 3, "n0")
    b4 = FORGE.block(b3, 4, "n0")
    script.hear("n0", FORGE.opt(b4), FORGE.opt(b3))
    assert script.votes(4) == []
    script.hear("n0", FORGE.qc("optimistic", b3, ("n0", "n2", "n3")))
    assert script.votes(4) == [("optimistic", block_hash(b4))]


def test_after_a_fallback_proposal_no_optimistic_vote() -> None:
    script, blocks, qcs = fresh()
    script.expire()
    tc = FORGE.tc(3, dict.fromkeys(("n0", "n2", "n3"), qcs[2]))
    f = FORGE.block(blocks[2], 4, "n0")
    script.hear("n0", FORGE.fbk(f, tc), FORGE.opt(FORGE.block(blocks[1], 4, "n0", tag=1)))
    assert script.votes(4) == [("fallback", block_hash(f))]


# ---------------------------------------------------------------- the leader's side
def test_a_proposal_and_a_vote_are_durable_before_they_leave() -> None:
    def order(effects: list[Effect]) -> list[type[Any]]:
        both = [e for e in effects if isinstance(e, Persist | Multicast)]
        return [type(e.record if isinstance(e, Persist) else e.message) for e in both]

    leader = Script(small(), "n1")  # leads view 1 and has proposed at start
    assert order(leader.effects) == [VoteState, ProposedRecord, NormalProposal, Vote]
    script, blocks, _ = fresh()
    effects = script.hear("n0", FORGE.opt(FORGE.block(blocks[2], 3, "n0")))
    assert order(effects) == [VoteState, BlockRecord, Vote]


def test_the_leader_waits_until_its_parents_timestamp_has_passed() -> None:
    script = Script(one_leader(leader="n1"), "n1")
    forge = Forge(one_leader(leader="n1"))
    parent = forge.block(forge.genesis, 2, "n1", timestamp_ms=400)
    qc = forge.qc("normal", parent, ("n0", "n2", "n3"))
    effects = script.hear("n0", qc, BlockResponse((parent,)))
    assert not [p for p in script.sent(NormalProposal) if p.block.view == 3]
    assert SetTimer("moonshot:propose", 400 * MS) in effects
    script.now = 399 * MS
    script.expire("propose")
    (proposal,) = [p for p in script.sent(NormalProposal) if p.block.view == 3]
    assert proposal.block.timestamp_ms == 400 and proposal.block.height == 2


def test_the_leader_waits_for_its_parents_body() -> None:
    script = Script(small(), "n2")
    forge = Forge(small())
    b1 = forge.block(forge.genesis, 1, "n1")
    script.hear("n0", forge.qc("normal", b1, ("n0", "n1", "n3")))
    assert script.core.view == 2 and not script.sent(NormalProposal)
    script.hear("n1", BlockResponse((b1,)))
    assert [p.block.parent for p in script.sent(NormalProposal)] == [block_hash(b1)]


def test_an_optimistic_and_a_normal_proposal_on_one_parent_are_one_block() -> None:
    script = Script(small(), "n2")
    forge = Forge(small())
    b1 = forge.block(forge.genesis, 1, "n1")
    script.hear("n1", forge.nrm(b1, forge.genesis_qc))
    (optimistic,) = script.sent(OptimisticProposal)
    script.hear("n0", forge.qc("normal", b1, ("n0", "n1", "n3")))
    (normal,) = script.sent(NormalProposal)
    assert optimistic.block == normal.block


# ---------------------------------------------------------------- helping late peers (1.6)
def test_a_stale_timeout_is_answered_with_the_lock() -> None:
    script, _, qcs = fresh(3)
    late = FORGE.tmo(2, qcs[1], "n2")
    assert Send("n2", qcs[3]) in script.hear("n2", late)
    assert script.hear("n2", late) == []  # rate-limited
    script.now += 2000 * MS
    assert Send("n2", qcs[3]) in script.hear("n2", late)


def test_after_a_timeout_certificate_a_stale_timeout_is_answered_with_the_own_one() -> None:
    script, _, qcs = fresh(2)
    script.hear("n0", FORGE.tc(3, dict.fromkeys(("n0", "n2", "n3"), qcs[2])))
    script.hear("n0", FORGE.tc(4, dict.fromkeys(("n0", "n2", "n3"), qcs[2])))
    effects = script.hear("n2", FORGE.tmo(3, qcs[2], "n2"))
    answers = [e.message for e in effects if isinstance(e, Send) and e.to == "n2"]
    assert [(type(m), m.view) for m in answers] == [(Timeout, 4), (TimeoutCertificate, 4)]  # type: ignore[union-attr]


# ---------------------------------------------------------------- evidence
def accusations(script: Script) -> list[tuple[str, str]]:
    return [(e["culprit"], e["kind"]) for e in script.events("accuse")]


def test_equivocating_votes_are_accused_once_with_both_signatures() -> None:
    script, blocks, _ = fresh()
    x, y = FORGE.block(blocks[2], 3, "n0"), FORGE.block(blocks[2], 3, "n0", tag=1)
    script.hear("n2", *(FORGE.vote("optimistic", b, "n2") for b in (x, y, x, y)))
    assert accusations(script) == [("n2", "double-vote-optimistic")]
    first, second = msgspec.msgpack.decode(base64.b64decode(script.events("accuse")[0]["evidence"]), type=list[Vote])
    assert {first.block, second.block} == {block_hash(x), block_hash(y)}
    script.hear("n2", FORGE.vote("normal", y, "n2"), FORGE.vote("fallback", y, "n2"))
    assert accusations(script)[1:] == [("n2", "optimistic-normal-mismatch"), ("n2", "normal-and-fallback-vote")]
    script.hear("n3", FORGE.cmt(x, "n3"), FORGE.cmt(y, "n3"))
    assert accusations(script)[3:] == [("n3", "double-vote-commit")]


def test_a_forged_vote_accuses_nobody() -> None:
    script, blocks, _ = fresh()
    x, y = FORGE.block(blocks[2], 3, "n0"), FORGE.block(blocks[2], 3, "n0", tag=1)
    forged = msgspec.structs.replace(FORGE.vote("optimistic", y, "n2"), signature=bytes(64))
    script.hear("n3", forged)
    script.hear("n2", FORGE.vote("optimistic", x, "n2"))
    script.hear("n3", forged)
    assert accusations(script) == []


def test_equivocating_leaders_are_accused() -> None:
    script, blocks, qcs = fresh(3)
    on_3, on_2, on_1 = (FORGE.block(blocks[p], 4, "n0") for p in (3, 2, 1))
    script.hear("n0", FORGE.opt(on_3), FORGE.opt(on_2), FORGE.nrm(on_3, qcs[3]))
    assert accusations(script) == []  # the legal shape: two OPT with different parents and one of NRM or FBK
    script.hear("n0", FORGE.opt(on_1))
    script.hear("n0", FORGE.opt(FORGE.block(blocks[3], 4, "n0", tag=1)))
    script.hear("n0", FORGE.nrm(FORGE.block(blocks[3], 4, "n0", tag=2), qcs[3]))
    script.hear("n0", FORGE.fbk(on_2, FORGE.tc(3, dict.fromkeys(("n0", "n2", "n3"), qcs[2]))))
    assert {kind for _, kind in accusations(script)} == {
        "three-optimistic",
        "two-optimistic",
        "two-blocks-on-one-parent",
        "two-normal",
        "normal-and-fallback",
    }
    assert {culprit for culprit, _ in accusations(script)} == {"n0"}


def test_a_commit_certificate_against_the_final_chain_halts_the_core() -> None:
    script, blocks, qcs = fresh(3)
    assert script.core.height == 2
    other = FORGE.block(blocks[1], 2, "n0", tag=5)
    script.hear("n2", FORGE.cqc(other, ("n0", "n2", "n3")))
    assert len(script.events("halt")) == 1
    assert script.hear("n0", FORGE.nrm(FORGE.block(blocks[3], 4, "n0"), qcs[3])) == []


def test_nothing_a_peer_can_say_raises() -> None:
    """Every field of every message pushed to an odd value: rejected or ignored, never an exception."""
    script, blocks, qcs = fresh()
    b3 = FORGE.block(blocks[2], 3, "n0")
    base: list[Message] = [
        FORGE.opt(b3),
        FORGE.nrm(b3, qcs[2]),
        FORGE.fbk(b3, FORGE.tc(2, dict.fromkeys(("n0", "n2", "n3"), qcs[1]))),
        FORGE.vote("normal", b3, "n2"),
        FORGE.cmt(b3, "n2"),
        FORGE.tmo(3, qcs[2], "n2"),
        FORGE.tc(3, dict.fromkeys(("n0", "n2", "n3"), qcs[2])),
        FORGE.qc("normal", b3, ALL),
        FORGE.cqc(b3, ALL),
    ]
    odd: list[Any] = [
        0,
        2**62,
        b"",
        b"\xff" * 128,
        (),
        "n1",
        "g0",
        qcs[0],
        BlockCertificate(0, "normal", 9, b"", b"", ()),
    ]
    for message in base:
        for field in msgspec.structs.fields(message):  # type: ignore[arg-type]
            held = getattr(message, field.name)
            for value in odd:
                if type(value) is type(held) and field.name != "kind":
                    script.hear("n2", msgspec.structs.replace(message, **{field.name: value}))  # type: ignore[type-var]
    assert not script.core.halted
