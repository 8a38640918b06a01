"""Every registered behaviour differs from an honest node, in its own words only, and never forges anybody else's."""

from __future__ import annotations

import re
from collections.abc import Sequence

import pytest

from checkers import registry as checkers_registry
from faults.byzantine.port import Behaviour
from faults.byzantine.registry import BEHAVIOURS, load_behaviour
from faults.byzantine.side_channel import LOAD_START
from faults.byzantine.twins import Twins
from faults.registry import find, registered
from nodes.committee import Committee, LeaderSchedule
from nodes.crypto import Ed25519Verifier, bitmap_of
from nodes.messages import (
    AvailabilityCertificate,
    AvailabilityVote,
    Batch,
    BatchHeader,
    BatchMessage,
    BatchRequest,
    Block,
    BlockCertificate,
    CommitVote,
    FallbackProposal,
    Forward,
    Message,
    NormalProposal,
    OptimisticProposal,
    StateVote,
    Timeout,
    TimeoutCertificate,
    Vote,
    batch_id,
    block_hash,
    tx_root,
)
from nodes.port import EVERYONE, Effect, Multicast, Receive, Send
from tests.coalition import Canned, sends, shell_of
from tests.cores import appends
from tests.driver import domain_of, signer_of, small_config

ORDER = ("n1", "n3", "n2", "n6", "n0", "n4", "n5")  # view 2: n2, honest; then two of the coalition in a row
CONFIG = small_config(7, leaders=LeaderSchedule("fixed", ORDER))
DOMAIN = domain_of(CONFIG)
GENESIS = BlockCertificate(0, "normal", 0, bytes(32), b"\x00", ())
COALITION = ("n0", "n1", "n5", "n6")  # n0: the first of its clan, which is who acts for the others
ME = "n0"
H = bytes(range(32))
PRETENDERS = (
    "bad-signer",
    "domain-confuser",
    "impersonator",
    "malleator",
    "vote-repeater",
)  # their attack is what does not verify
GROUPS = [["n0", "n1", "n2"], ["n0'", "n3", "n4", "n5", "n6"]]
PARAMETERS = {  # of behaviours that do nothing without
    "batch-replayer": {"after_ms": 0},
    "byzzfuzz": {
        "rounds": [
            {"view": 3, "step": step, "receivers": ["n2", "n3"], "seed": 1}
            for step in ("proposal", "vote", "commit", "timeout")
        ]
    },
    "twins": {"rounds": [{"view": 3, "groups": GROUPS}]},
    "scripted": {"steps": [{"do": "vote", "kind": "normal", "block": "@3", "to": ["n2", "n3"]}]},
}


def batch_by(node: str) -> Batch:
    transactions = appends(CONFIG, 2)
    header = BatchHeader("test", 0, 0, 0, node, 1, tx_root(transactions), 2, 300, 5)
    return Batch(header, transactions, signer_of(node).sign(DOMAIN.batch(batch_id(header))))


def certificate_of(block: Block, *signers: str) -> BlockCertificate:
    statement = DOMAIN.vote("normal", block.view, block_hash(block))
    signed = tuple(signer_of(n).sign(statement) for n in signers)
    return BlockCertificate(
        0, "normal", block.view, block_hash(block), bitmap_of(Committee(CONFIG).tribe, signers), signed
    )


def block_of(view: int, proposer: str, parent: bytes, payload: tuple[AvailabilityCertificate, ...] = ()) -> Block:
    return Block("test", 0, view, view, parent, proposer, 5 * view, payload)


BATCH = AvailabilityCertificate(0, 0, 0, "n2", 1, H, 2, 300, 5, b"\x0f", (bytes(64),) * 4)
FIRST = block_of(1, "n3", GENESIS.block)
PARENT = block_of(2, "n2", block_hash(FIRST))
HIDDEN = block_of(3, "n6", block_hash(PARENT), (BATCH,))
QC = certificate_of(PARENT, "n0", "n1", "n2", "n3", "n4")


def proposed(block: Block) -> OptimisticProposal:
    statement = DOMAIN.proposal("optimistic", block.view, block_hash(block))
    return OptimisticProposal(block, signer_of(block.proposer).sign(statement))


def story() -> list[Message]:
    """What everybody can have heard by view 3: a chain, an honest vote for its tip, and an honest time-out below it."""
    tip, sign = block_hash(HIDDEN), signer_of("n2").sign
    return [
        *map(proposed, (FIRST, PARENT, HIDDEN)),
        Vote("optimistic", 3, tip, "n2", sign(DOMAIN.vote("optimistic", 3, tip))),
        Timeout(3, QC, "n2", sign(DOMAIN.timeout(3, QC.view))),
    ]


def words_of(node: str) -> list[Message]:
    """One of each message that a node signs, and a certificate."""
    sign = signer_of(node).sign
    block = block_of(4, node, H, (AvailabilityCertificate(0, 0, 0, "n1", 7, H, 2, 300, 5, b"", ()),))
    above = block_of(4, node, block_hash(HIDDEN), (BATCH,))
    timeouts = TimeoutCertificate(0, 3, QC, b"", (), ())
    facts = (0, node, 1, H, 2, 300, 5)
    return [
        proposed(block),
        NormalProposal(above, QC, sign(DOMAIN.proposal("normal", 4, block_hash(above)))),
        FallbackProposal(above, timeouts, sign(DOMAIN.proposal("fallback", 4, block_hash(above)))),
        Vote("normal", 3, H, node, sign(DOMAIN.vote("normal", 3, H))),
        CommitVote(3, H, node, sign(DOMAIN.commit(3, H))),
        Timeout(3, GENESIS, node, sign(DOMAIN.timeout(3, 0))),
        QC,
        BatchMessage(batch_by(node)),
        AvailabilityVote(*facts, node, sign(DOMAIN.available(*facts))),
        StateVote(0, 2, H, H, H, node, sign(DOMAIN.root(0, 2, H, H, H))),
    ]


def heard() -> list[Message]:
    forwards = [Forward(transaction, "g0", 1, bytes(64)) for transaction in appends(CONFIG, 5)]
    return [*story(), *words_of("n2"), BatchRequest(H), *forwards]


def author_and_proof(message: Message) -> tuple[str, bytes, bytes] | None:
    """(author, statement, signature) of a signed message."""
    match message:
        case OptimisticProposal(block, signature):
            return block.proposer, DOMAIN.proposal("optimistic", block.view, block_hash(block)), signature
        case NormalProposal(block, _, signature):
            return block.proposer, DOMAIN.proposal("normal", block.view, block_hash(block)), signature
        case FallbackProposal(block, _, signature):
            return block.proposer, DOMAIN.proposal("fallback", block.view, block_hash(block)), signature
        case Vote(kind, view, block, voter, signature):
            return voter, DOMAIN.vote(kind, view, block), signature
        case CommitVote(view, block, voter, signature):
            return voter, DOMAIN.commit(view, block), signature
        case Timeout(view, lock, voter, signature):
            return voter, DOMAIN.timeout(view, lock.view), signature
        case BatchMessage(batch):
            return batch.header.proposer, DOMAIN.batch(batch_id(batch.header)), batch.signature
        case AvailabilityVote(clan, proposer, seq, batch, count, size, ms, voter, signature):
            return voter, DOMAIN.available(clan, proposer, seq, batch, count, size, ms), signature
        case StateVote(clan, height, block, previous, root, voter, signature):
            return voter, DOMAIN.root(clan, height, block, previous, root), signature
    return None


def played(use: str) -> tuple[list[Effect], list[tuple[str, Message]], bool, Sequence[Message]]:
    """A core that says each of its words to everybody, hears an honest node's words, and is asked for a batch."""
    own = words_of(ME)
    core = Canned(*(Multicast(EVERYONE, m) for m in own))
    behaviour = load_behaviour(use, PARAMETERS.get(use, {}))
    paired = core
    if isinstance(behaviour, Twins):  # two cores make the difference, no hook does
        paired = behaviour.pair(core, Canned(*core.effects), ME, Committee(CONFIG))
    shell = shell_of(paired, behaviour, me=ME, coalition=COALITION, config=CONFIG)
    told = heard()
    effects = [e for m in told for e in shell.step(1_000_000_000, Receive("n2", m))]
    passed = [e.message for e in core.seen if isinstance(e, Receive)]
    out = sends(effects) + [
        (to, e.message)
        for e in effects
        if isinstance(e, Multicast)
        for to in shell.node.committee.members(e.group)
        if to != ME
    ]
    return effects, out, behaviour.receipt.bit, [m for m in told if m not in passed]


ATTACK = re.compile(r"[BCDELR][1-9]\d?")  # an entry of protocol.md 5.3 to 5.8
INVARIANT = re.compile(r"[IL]-[A-Z]+(, [IL]-[A-Z]+)*")


@pytest.mark.parametrize("use", registered(BEHAVIOURS))
def test_it_says_what_it_is_and_who_judges_it(use: str) -> None:
    kind = find(BEHAVIOURS, use)
    assert issubclass(kind, Behaviour) and kind.name == use
    assert kind.attacks and all(ATTACK.fullmatch(attack) for attack in kind.attacks)
    assert kind.breaks_at
    invariants, _, checkers = kind.aims_at.partition(": ")
    assert INVARIANT.fullmatch(invariants)
    assert set(checkers.split(", ")) <= set(checkers_registry.names())


@pytest.mark.parametrize("use", registered(BEHAVIOURS))
def test_it_differs_from_an_honest_node_and_says_so(use: str) -> None:
    effects, out, bit, withheld = played(use)
    honest = len(words_of(ME)) * 7
    untouched = len(out) == honest * len(heard()) and all(m in words_of(ME) for _, m in out) and not withheld
    assert bit and not untouched
    assert all(isinstance(e.message, Message) for e in effects if isinstance(e, Send))


@pytest.mark.parametrize("use", registered(BEHAVIOURS))
def test_whatever_it_says_is_signed_by_a_coalition_member(use: str) -> None:
    """What others signed it may repeat; what does not verify is the whole point of a few."""
    _, out, _, _ = played(use)
    verifier, told = Ed25519Verifier(), heard()
    signed = false = 0
    for _, message in out:
        proof = author_and_proof(message)
        if proof is not None:
            author, statement, signature = proof
            if not verifier.verify(signer_of(author).public_key, statement, signature):
                false += 1
            elif message not in told:
                assert author in COALITION, f"{use} spoke for {author}"
                signed += 1
    assert signed
    assert bool(false) == (use in PRETENDERS)


@pytest.mark.parametrize("use", registered(BEHAVIOURS))
def test_outside_its_window_it_is_an_honest_node(use: str) -> None:
    core = Canned(*(Multicast(EVERYONE, m) for m in words_of(ME)))
    behaviour = load_behaviour(use, PARAMETERS.get(use, {}))
    shell = shell_of(core, behaviour, me=ME, coalition=COALITION, config=CONFIG)
    shell.stack[0].trigger.from_ns = 5
    shell.node.blackboard[LOAD_START] = 0
    effects = shell.step(4, Receive("n2", words_of("n2")[3]))
    assert [e for e in effects if isinstance(e, Multicast)] == list(core.effects)
    assert not behaviour.receipt.bit
