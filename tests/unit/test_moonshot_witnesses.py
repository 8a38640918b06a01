"""Scripted witnesses of protocol.md 1.13: in each the correct rules refuse the step that the mutant would take.

n = 4, Q = 3. n0 is the Byzantine D and leads every view; the core under test is n1, the honest A.
"""

from __future__ import annotations

import msgspec
import pytest

from nodes.messages import BlockCertificate, CommitVote, Timeout, TimeoutCertificate, block_hash
from nodes.moonshot.core import MoonshotCore
from nodes.port import Emit, Multicast, Persist, Receive, Start
from nodes.records import Record
from tests.driver import MS
from tests.moonshot_kit import Forge, Script, core_of, ladder, one_leader

CONFIG = one_leader()
FORGE = Forge(CONFIG)


def finalised(script: Script) -> list[int]:
    return [e["view"] for e in script.events("finalise")]


@pytest.mark.parametrize("timed_out", [True, False])
def test_mm1_no_optimistic_vote_after_a_timeout_of_the_view_before(timed_out: bool) -> None:
    """X is certified at v-1 but A timed out there; the OPT on X must not get its vote, the FBK below X may."""
    script = Script(CONFIG, "n1")
    blocks, qcs = script.climb(FORGE, 2)
    x = FORGE.block(blocks[2], 3, "n0")
    script.hear("n0", FORGE.nrm(x, qcs[2]))
    if timed_out:
        script.expire()
    script.hear("n0", FORGE.qc("normal", x, ("n0", "n2", "n3")))
    o = FORGE.block(x, 4, "n0")
    script.hear("n0", FORGE.opt(o))
    assert script.votes(4) == ([] if timed_out else [("optimistic", block_hash(o))])
    f = FORGE.block(blocks[2], 4, "n0", tag=1)
    script.hear("n0", FORGE.fbk(f, FORGE.tc(3, {"n0": qcs[2], "n1": qcs[2], "n2": qcs[2]})))
    assert script.votes(4)[-1] == ("fallback", block_hash(f))


def test_mm2_kinds_are_never_added_up() -> None:
    """One o-vote, one n-vote and the own one for the same block are no certificate; three of one kind are."""
    script = Script(CONFIG, "n1")
    blocks, qcs = script.climb(FORGE, 2)
    o = FORGE.block(blocks[2], 3, "n0")
    script.hear("n0", FORGE.nrm(o, qcs[2]))  # A n-votes
    script.hear("n2", FORGE.vote("optimistic", o, "n2"))
    script.hear("n3", FORGE.vote("normal", o, "n3"))
    script.hear("n0", FORGE.vote("fallback", o, "n0"))
    assert script.core.view == 3
    script.hear("n0", FORGE.vote("normal", o, "n0"))
    assert script.core.view == 4
    assert script.events("certify")[-1]["kind"] == "normal"


def test_mm3_a_normal_vote_never_contradicts_the_own_optimistic_vote() -> None:
    script = Script(CONFIG, "n1")
    blocks, qcs = script.climb(FORGE, 2)
    first, second = FORGE.block(blocks[2], 3, "n0"), FORGE.block(blocks[2], 3, "n0", tag=1)
    script.hear("n0", FORGE.opt(first), FORGE.nrm(second, qcs[2]))
    assert script.votes(3) == [("optimistic", block_hash(first))]
    assert [e["kind"] for e in script.events("accuse")] == ["two-blocks-on-one-parent"]


@pytest.mark.parametrize("normal_first", [True, False])
def test_mm4_never_a_normal_and_a_fallback_vote(normal_first: bool) -> None:
    script = Script(CONFIG, "n1")
    blocks, qcs = script.climb(FORGE, 3)
    n, f = FORGE.block(blocks[3], 4, "n0"), FORGE.block(blocks[2], 4, "n0", tag=1)
    normal = FORGE.nrm(n, qcs[3])
    fallback = FORGE.fbk(f, FORGE.tc(3, {"n0": qcs[2], "n2": qcs[2], "n3": qcs[2]}))
    script.hear("n0", *((normal, fallback) if normal_first else (fallback, normal)))
    assert [kind for kind, _ in script.votes(4)] == ["normal" if normal_first else "fallback"]
    assert [e["kind"] for e in script.events("accuse")] == ["normal-and-fallback"]


def test_mm5_a_fallback_below_the_highest_lock_is_refused() -> None:
    """The TC names QC_3; F on block 2 is refused, and so is a TC whose lock views were lowered to fit."""
    script = Script(CONFIG, "n1")
    blocks, qcs = script.climb(FORGE, 3)
    script.expire()
    f = FORGE.block(blocks[2], 5, "n0", tag=1)
    tc = FORGE.tc(4, {"n0": qcs[2], "n2": qcs[3], "n3": qcs[2]})
    lowered = msgspec.structs.replace(tc, high=qcs[2], lock_views=(2, 2, 2))
    unclaimed = msgspec.structs.replace(tc, high=qcs[2])
    script.hear("n0", FORGE.fbk(f, tc), FORGE.fbk(f, lowered), FORGE.fbk(f, unclaimed))
    assert script.votes(5) == []
    assert len(script.events("reject")) == 3
    good = FORGE.block(blocks[3], 5, "n0")
    script.hear("n0", FORGE.fbk(good, tc))
    assert script.votes(5) == [("fallback", block_hash(good))]


def test_mm6_a_gap_between_views_commits_nothing() -> None:
    """Pure asynchrony: B at 2, Y at 3 on P, Z at 4 on B, W at 5 on Y, all certified; nothing above P may commit."""
    config = one_leader(variant="pipelined")
    script = Script(config, "n1", observer=True)
    blocks, qcs = ladder(FORGE, 2)
    p, b = blocks[1], blocks[2]
    voters = ("n0", "n2", "n3")
    y = FORGE.block(p, 3, "n0", tag=1)
    z = FORGE.block(b, 4, "n0", tag=2)
    w = FORGE.block(y, 5, "n0", tag=3)
    qc_y = FORGE.qc("fallback", y, voters)
    script.hear("n0", FORGE.nrm(b, qcs[1]), qcs[2])  # P's own body stays away, so that P is not committed by (P, B)
    script.hear("n0", FORGE.fbk(y, FORGE.tc(2, dict.fromkeys(voters, qcs[1]))), qc_y)
    script.hear("n0", FORGE.fbk(z, FORGE.tc(3, dict.fromkeys(voters, qcs[2]))), FORGE.qc("fallback", z, voters))
    script.hear("n0", FORGE.nrm(p, qcs[0]))
    script.hear("n0", FORGE.fbk(w, FORGE.tc(4, dict.fromkeys(voters, qc_y))), FORGE.qc("fallback", w, voters))
    assert finalised(script) == [1]
    assert script.events("halt") == []


@pytest.mark.parametrize("timed_out", [True, False])
def test_mm7_no_commit_vote_after_a_timeout_of_the_view(timed_out: bool) -> None:
    script = Script(CONFIG, "n1")
    blocks, qcs = script.climb(FORGE, 2)
    x = FORGE.block(blocks[2], 3, "n0")
    script.hear("n0", FORGE.nrm(x, qcs[2]))
    if timed_out:
        script.expire()
    script.hear("n0", FORGE.qc("normal", x, ("n0", "n2", "n3")))
    assert script.core.state.lock.view == 3
    assert [v.view for v in script.sent(CommitVote) if v.view == 3] == ([] if timed_out else [3])


def replay(core: MoonshotCore, log: list[Record], messages: list[object]) -> tuple[list[object], list[Record]]:
    """Start a core on `log` and feed it; returns what left and what was logged."""
    effects = list(core.step(0, Start(tuple(log))))
    for number, message in enumerate(messages, 1):
        effects += core.step(number * MS, Receive("n0", message))  # type: ignore[arg-type]
    return [e.message for e in effects if isinstance(e, Multicast)], [
        e.record for e in effects if isinstance(e, Persist)
    ]


@pytest.mark.parametrize("amnesia", [True, False])
def test_mm8_a_restarted_replica_remembers_its_votes(amnesia: bool) -> None:
    blocks, qcs = ladder(FORGE, 2)
    first, second = FORGE.block(blocks[2], 3, "n0"), FORGE.block(blocks[2], 3, "n0", tag=1)
    bodies = [FORGE.nrm(blocks[1], qcs[0]), FORGE.nrm(blocks[2], qcs[1])]
    sent, log = replay(core_of(CONFIG, "n1"), [], [*bodies, FORGE.nrm(first, qcs[2])])
    assert any(getattr(m, "kind", "") == "normal" and m.block == block_hash(first) for m in sent)  # type: ignore[attr-defined]
    sent, _ = replay(core_of(CONFIG, "n1"), [] if amnesia else log, [*bodies, FORGE.nrm(second, qcs[2])])
    again = [m for m in sent if getattr(m, "kind", "") == "normal" and getattr(m, "view", 0) == 3]
    assert len(again) == (1 if amnesia else 0)


def forged(qc: BlockCertificate) -> BlockCertificate:
    return msgspec.structs.replace(qc, signatures=tuple(bytes(64) for _ in qc.signatures))


def test_mm9_a_certificate_is_verified_wherever_it_comes_from() -> None:
    """A forged QC_3 inside NRM, FBK, TMO, TC or alone moves neither the view nor the lock."""
    script = Script(CONFIG, "n1")
    blocks, qcs = script.climb(FORGE, 2)
    x = FORGE.block(blocks[2], 3, "n0")
    fake = forged(FORGE.qc("normal", x, ("n0", "n2", "n3")))
    child = FORGE.block(x, 4, "n0")
    grandchild = FORGE.block(x, 5, "n0")
    tc = FORGE.tc(4, {"n0": fake, "n2": qcs[2], "n3": qcs[2]})
    script.hear(
        "n0",
        FORGE.nrm(child, fake),
        FORGE.fbk(grandchild, tc),
        tc,
        FORGE.tmo(4, fake, "n0"),
        fake,
        FORGE.cqc(x, ("n0",)),
    )
    assert (script.core.view, script.core.state.lock.view) == (3, 2)
    assert len(script.events("reject")) == 6


def test_mm10_thresholds_and_distinct_signers() -> None:
    """Q-1 signers, or a signature list that repeats one, are no certificate of any kind."""
    script = Script(CONFIG, "n1")
    blocks, qcs = script.climb(FORGE, 2)
    x = FORGE.block(blocks[2], 3, "n0")
    two = FORGE.qc("normal", x, ("n0", "n2"))
    doubled = msgspec.structs.replace(two, signatures=(*two.signatures, two.signatures[0]))
    claimed = msgspec.structs.replace(doubled, signers=b"\x0d")
    beyond = msgspec.structs.replace(doubled, signers=b"\x1d")
    tc: TimeoutCertificate = FORGE.tc(3, {"n0": qcs[2], "n2": qcs[2]})
    script.hear("n0", two, doubled, claimed, beyond, tc, FORGE.cqc(x, ("n0", "n2")))
    for _ in range(3):
        script.hear("n0", FORGE.vote("normal", x, "n0"))
    script.hear("n2", FORGE.vote("normal", x, "n2"))
    assert (script.core.view, script.core.state.lock.view) == (3, 2)
    assert len(script.events("reject")) == 6


def test_one_timeout_is_no_amplification_but_two_are() -> None:
    """V = f+1 = 2: one Byzantine timeout draws nothing, a second draws the own, and three make the certificate."""
    script = Script(CONFIG, "n1")
    _, qcs = script.climb(FORGE, 2)
    script.hear("n0", FORGE.tmo(3, qcs[2], "n0"), FORGE.tmo(3, qcs[2], "n0"))
    assert script.sent(Timeout) == []
    effects = script.hear("n2", FORGE.tmo(3, qcs[1], "n2"))
    assert [t.view for t in script.sent(Timeout)] == [3]
    assert script.core.view == 4  # own + two = Q
    order = [e.event for e in effects if isinstance(e, Emit) and e.event in ("timeout", "enter")]
    assert order == ["timeout", "enter"]
    assert isinstance(effects[0], Persist)  # the snapshot is in front of everything
    assert [t.high.view for t in script.sent(TimeoutCertificate)] == [2]
