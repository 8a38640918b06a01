"""The scripted behaviour: steps in order, each when it can be taken, and nothing that the coalition could not make."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from faults.byzantine.registry import load_behaviour
from faults.byzantine.scripted import Scripted
from nodes.crypto import Ed25519Verifier, certificate_fault
from nodes.messages import (
    BlockCertificate,
    BlockRequest,
    BlockResponse,
    FallbackProposal,
    Message,
    NormalProposal,
    OptimisticProposal,
    Timeout,
    TimeoutCertificate,
    Vote,
    block_hash,
)
from nodes.port import Effect, Emit, Expire, Receive
from tests.coalition import Canned, sends, shell_of
from tests.moonshot_kit import Forge, ladder, one_leader

CONFIG = one_leader(leader="n3")
FORGE = Forge(CONFIG)
BLOCKS, QCS = ladder(FORGE, 2, by="n3")
MS = 1_000_000


class Stage:
    """n3 with a script; remembers what it sent."""

    def __init__(self, steps: list[dict[str, Any]], **options: Any) -> None:
        self.behaviour = load_behaviour("scripted", {"steps": steps, **options})
        self.core = Canned()
        self.shell = shell_of(self.core, self.behaviour, me="n3", coalition=("n3",), config=CONFIG)
        self.now = 1000 * MS
        self.sent: list[tuple[str, Message]] = []

    def hear(self, sender: str, *messages: Message) -> list[tuple[str, Message]]:
        new: list[tuple[str, Message]] = []
        for message in messages:
            new += self._collect(self.shell.step(self.now, Receive(sender, message)))
        return new

    def wait(self, ms: int) -> list[tuple[str, Message]]:
        self.now += ms * MS
        return self._collect(self.shell.step(self.now, Expire("byz:tick")))

    def _collect(self, effects: list[Effect]) -> list[tuple[str, Message]]:
        new = sends(effects)
        self.sent += new
        return new


def proposals() -> list[Message]:
    return [FORGE.nrm(BLOCKS[1], QCS[0]), FORGE.nrm(BLOCKS[2], QCS[1])]


def test_steps_are_taken_in_order_and_each_in_its_time() -> None:
    stage = Stage([
        {"do": "vote", "kind": "optimistic", "block": "@2", "to": ["n0"], "after_ms": 100},
        {"do": "vote", "kind": "commit", "block": "@2", "to": ["n1", "n2"], "heard": "VOTE 2 n0"},
    ])  # fmt: skip
    assert stage.hear("n0", *proposals()) == []
    assert stage.wait(50) == []
    ((to, vote),) = stage.wait(50)
    assert to == "n0" and isinstance(vote, Vote) and vote.block == block_hash(BLOCKS[2])
    assert [to for to, _ in stage.hear("n0", FORGE.vote("normal", BLOCKS[2], "n0"))] == ["n1", "n2"]
    assert stage.behaviour.receipt.bit


def test_a_certificate_needs_a_quorum_of_one_kind() -> None:
    stage = Stage([{"do": "certificate", "kind": "normal", "block": "@2", "to": ["n1"]}])
    stage.hear("n0", *proposals(), FORGE.vote("normal", BLOCKS[2], "n0"), FORGE.vote("optimistic", BLOCKS[2], "n1"))
    assert stage.sent == [] and not stage.behaviour.receipt.bit
    ((_, qc),) = stage.hear("n2", FORGE.vote("normal", BLOCKS[2], "n2"))
    assert isinstance(qc, BlockCertificate)
    committee, statement = FORGE.committee, FORGE.domain.vote("normal", 2, block_hash(BLOCKS[2]))
    parts = (qc.signers, qc.signatures, statement, Ed25519Verifier())
    assert certificate_fault(committee.tribe, committee.keys, committee.quorum, *parts) is None


def test_a_fallback_proposal_carries_the_time_outs_that_were_heard() -> None:
    """Of a voter who raises its lock, the lower one is used."""
    stage = Stage([
        {"do": "timeout", "view": 3, "lock": "@1", "to": ["n0"]},
        {"do": "propose", "kind": "fallback", "view": 4, "name": "F", "on": "@1", "signers": ["n0", "n1", "n3"],
         "to": ["n0"]},
        {"do": "timeout-certificate", "view": 3, "signers": ["n0", "n1", "n3"], "to": ["n1"]},
    ])  # fmt: skip
    stage.hear("n0", *proposals(), FORGE.tmo(3, QCS[1], "n0"), FORGE.tmo(3, QCS[2], "n0"))
    stage.hear("n1", FORGE.tmo(3, QCS[1], "n1"))
    own, proposal, certificate = [message for _, message in stage.sent]
    assert isinstance(own, Timeout) and (own.voter, own.lock.view) == ("n3", 1)
    assert isinstance(proposal, FallbackProposal) and proposal.block.parent == block_hash(BLOCKS[1])
    assert proposal.certificate == certificate
    assert isinstance(certificate, TimeoutCertificate) and certificate.lock_views == (1, 1, 1)


def test_two_blocks_on_one_parent_differ_and_one_may_be_proposed_in_two_kinds() -> None:
    step = {"do": "propose", "view": 3, "on": "@2", "to": ["n0"]}
    stage = Stage([
        {**step, "kind": "optimistic", "name": "A"},
        {**step, "kind": "optimistic", "name": "B"},
        {"do": "propose", "kind": "normal", "block": "A", "to": ["n1"]},
    ])  # fmt: skip
    stage.hear("n0", *proposals(), QCS[2])
    first, second, again = [message for _, message in stage.sent]
    assert isinstance(first, OptimisticProposal) and isinstance(second, OptimisticProposal)
    assert isinstance(again, NormalProposal)
    assert block_hash(first.block) != block_hash(second.block) and again.block == first.block
    served = stage.hear("n2", BlockRequest(block_hash(second.block), 0))
    assert served == [("n2", BlockResponse((second.block,)))]


def test_forged_signatures_are_not_signatures() -> None:
    stage = Stage([{"do": "forge", "kind": "normal", "block": "@2", "signers": ["n0", "n1", "n3"], "to": ["n1"]}])
    stage.hear("n0", *proposals())
    ((_, qc),) = stage.sent
    assert isinstance(qc, BlockCertificate) and len(qc.signatures) == 3
    assert qc.signatures[:2] == (bytes(64), bytes(64)) and qc.signatures[2] != bytes(64)


def test_mute_holds_back_the_core_in_these_views_and_kinds() -> None:
    steps = [{"do": "vote", "kind": "normal", "block": "@2", "to": ["n0"]}]
    stage = Stage(steps, mute=[{"views": [2, 3], "kinds": ["QC"]}])
    stage.core.effects = (*sends_of(QCS[1]), *sends_of(QCS[2]), *sends_of(FORGE.vote("normal", BLOCKS[2], "n3")))
    kept = [message for _, message in stage.hear("n0", QCS[1])]
    assert kept == [QCS[1], FORGE.vote("normal", BLOCKS[2], "n3")]
    assert stage.behaviour.receipt.dropped == 0  # the script has not come to its step yet
    stage.hear("n0", *proposals())
    assert stage.behaviour.receipt.dropped > 0


def sends_of(message: Message) -> tuple[Effect, ...]:
    from nodes.port import Send

    return (Send("n0", message),)


def test_at_view_waits_for_the_own_core() -> None:
    stage = Stage([{"do": "vote", "kind": "normal", "block": "@2", "to": ["n0"], "at_view": 3}])
    assert stage.hear("n0", *proposals()) == []
    stage.core.effects = (Emit("enter", {"view": 3, "via": "certificate"}),)
    assert len(stage.hear("n0", QCS[2])) == 1


def test_only_so_far_as_at_least_it_has_bitten() -> None:
    steps = [
        {"do": "vote", "kind": "normal", "block": "@1", "to": ["n0"]},
        {"do": "vote", "kind": "normal", "block": "@9", "to": ["n0"]},
    ]
    for at_least, bit in ((1, True), (2, False)):
        stage = Stage(steps, at_least=at_least)
        stage.hear("n0", *proposals())
        assert len(stage.sent) == 1 and stage.behaviour.receipt.bit == bit


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({}, "needs `steps`"),
        ({"steps": "vote"}, "a list of steps"),
        ({"steps": [{"do": "wave", "to": ["n0"]}]}, "step 1"),
        ({"steps": [{"do": "vote", "to": ["n0"], "kind": "normal"}]}, "'block' is missing"),
        ({"steps": [{"do": "vote", "to": [], "kind": "normal", "block": "@1"}]}, "names nobody"),
        ({"steps": [{"do": "vote", "to": ["n0"], "kind": "normal", "block": "@1", "times": 0}]}, "at least 1"),
        ({"steps": [{"do": "vote", "to": ["n0"], "kind": "normal", "block": "@x"}]}, "'@x'"),
        ({"steps": [{"do": "vote", "to": ["n0"], "kind": "normal", "block": "O"}]}, "no earlier step"),
        ({"steps": [{"do": "certificate", "to": ["n0"], "kind": "commit", "block": "@1"}]}, "commit"),
        ({"steps": [{"do": "propose", "to": ["n0"], "kind": "normal", "view": 3}]}, "`view`, `on` and `name`"),
        ({"steps": [{"do": "vote", "to": ["n0"], "kind": "normal", "block": "@1", "heard": "VOTE"}]}, "like"),
        ({"steps": [{"do": "vote", "to": ["n0"], "kind": "normal", "block": "@1", "heard": "X 1 n0"}]}, "'X'"),
        ({"steps": [{"do": "vote", "to": ["n0"], "kind": "normal", "block": "@1", "speed": 1}]}, "speed"),
        ({"steps": [{"do": "vote", "to": ["n0"], "kind": "normal", "block": "@1"}], "mute": [{"views": [1]}]}, "mute"),
        ({"steps": [{"do": "vote", "to": ["n0"], "kind": "normal", "block": "@1"}], "at_least": 2}, "at_least"),
    ],
)
def test_bad_scripts_are_refused_with_the_step_at_fault(options: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError) as caught:
        Scripted(**options)
    assert why in str(caught.value)


def test_a_script_changes_no_message_of_others() -> None:
    stage = Stage([{"do": "vote", "kind": "normal", "block": "@2", "to": ["n0"]}])
    heard = [*proposals(), msgspec.structs.replace(QCS[2])]
    stage.hear("n0", *heard)
    assert [event.message for event in stage.core.seen if isinstance(event, Receive)] == heard
