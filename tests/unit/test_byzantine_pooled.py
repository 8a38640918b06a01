"""The coalition's common ears: what one member hears, the others know, and make certificates of."""

from __future__ import annotations

from faults.byzantine.overheard import Overheard
from faults.byzantine.pooled import SLOTS, Pooled
from faults.byzantine.port import Behaviour, CorruptedNode
from faults.byzantine.side_channel import MemoryHub
from faults.byzantine.wrapper import CorruptedNodeShell, Mounted
from nodes.committee import Committee
from nodes.crypto import Ed25519Verifier, certificate_fault
from nodes.messages import Block, Message, NodeId, OptimisticProposal, Vote, block_hash
from nodes.port import Receive
from tests.coalition import Canned
from tests.driver import domain_of, signer_of, small_config

CONFIG = small_config(7)
DOMAIN = domain_of(CONFIG)
COMMITTEE = Committee(CONFIG)
BLOCK = Block("test", 0, 3, 2, bytes(32), "n0", 5, ())
COALITION = ("n5", "n6")


class Ears(Behaviour):
    def __init__(self) -> None:
        super().__init__()
        self.pool = Pooled()
        self.alone = Overheard()

    def receive(self, node: CorruptedNode, sender: NodeId, message: Message) -> Message | None:
        self.pool.catch_up(node)
        self.pool.hear(node, message)
        self.alone.learn(message)
        return message


def members() -> list[tuple[CorruptedNodeShell, Ears]]:
    hub = MemoryHub()
    found = []
    for me in COALITION:
        ears = Ears()
        signers = {n: signer_of(n) for n in COALITION}
        stack = [Mounted(0, ears)]
        found.append((CorruptedNodeShell(Canned(), me, COMMITTEE, DOMAIN, signers, stack, hub.join(me)), ears))
    return found


def vote(voter: str, view: int = 3) -> Vote:
    statement = DOMAIN.vote("optimistic", view, block_hash(BLOCK))
    return Vote("optimistic", view, block_hash(BLOCK), voter, signer_of(voter).sign(statement))


def test_what_each_heard_alone_makes_a_certificate_together() -> None:
    (one, first), (other, second) = members()
    proposal = OptimisticProposal(BLOCK, bytes(64))
    for message in (proposal, vote("n0"), vote("n1")):
        one.step(1, Receive("n0", message))
    for message in (vote("n2"), vote("n2")):
        other.step(2, Receive("n2", message))
    assert second.alone.certificate(other.node, block_hash(BLOCK)) is None
    made = second.pool.heard.certificate(other.node, block_hash(BLOCK))  # n0, n1 (told), n2 (heard), n5, n6 (own keys)
    assert made is not None
    statement = DOMAIN.vote("optimistic", 3, block_hash(BLOCK))
    tribe, quorum = COMMITTEE.tribe, COMMITTEE.quorum
    checked = (made.signers, made.signatures, statement, Ed25519Verifier())
    assert certificate_fault(tribe, COMMITTEE.keys, quorum, *checked) is None
    assert first.pool.heard.certificate(one.node, block_hash(BLOCK)) is None  # it was not told of n2's vote yet


def test_a_member_that_was_too_slow_goes_on_with_what_is_left() -> None:
    (one, _), (other, second) = members()
    for view in range(SLOTS + 5):
        one.step(1, Receive("n0", vote("n0", view)))
    other.step(2, Receive("n2", vote("n2")))
    assert second.pool.heard.said("VOTE", SLOTS + 4, ["n0"])
    assert not second.pool.heard.said("VOTE", 2, ["n0"])
