"""More of groups D, E, F and G of teeth.md section 2: batches, buckets, execution, what a restart must not forget."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from msgspec.structs import replace

from harness.backends.sim.disk import Disk
from harness.mutants import Function, Mutant, Patch
from nodes.committee import Committee
from nodes.crypto import Domain, Verifier, assemble
from nodes.execution.core import ExecutionCore
from nodes.execution.ledger import Ledger
from nodes.execution.votes import StateVotes
from nodes.gateway.tracker import Coverage
from nodes.messages import (
    NO_HASH,
    AvailabilityCertificate,
    AvailabilityVote,
    BatchHeader,
    NodeId,
    StateCertificate,
    StateVote,
)
from nodes.port import Effect, Start
from nodes.records import BatchRecord
from nodes.xrbc.check import key_of, statement_of
from nodes.xrbc.core import XrbcCore

XRBC = "nodes.xrbc.core:XrbcCore."
LEDGER = "nodes.execution.ledger:"
DISK = "harness.backends.sim.disk:Disk."


# ---------------------------------------------------------------- D: restarts
def rarely_synced(original: Function) -> Function:
    """Disk.synced: what the node takes for durable is on the disk only now and then."""

    def synced(self: Disk, count: int, took_ns: int = 0) -> None:
        before = self._durable
        original(self, count, took_ns)
        if count - before < 40:
            self._durable = before

    return synced


def forgets_own(original: Function) -> Function:
    """XrbcCore._on_start takes no batch of its own out of the log, and counts from zero again."""

    def on_start(self: XrbcCore, now: int, event: Start, out: list[Effect]) -> None:
        kept = tuple(
            r for r in event.records if not (isinstance(r, BatchRecord) and r.batch.header.proposer == self._me)
        )
        original(self, now, replace(event, records=kept), out)
        self._next_seq = 0

    return on_start


def learns_nothing(original: Function) -> Function:
    """XrbcCore._learn_seq does not look at own certificates."""

    def learn_seq(self: XrbcCore, certificate: AvailabilityCertificate) -> None:
        if certificate.proposer != self._me:
            original(self, certificate)

    return learn_seq


# ---------------------------------------------------------------- E: repeats
def nothing(original: Function) -> Function:
    return lambda self, *args: None


def only_once(original: Function) -> Function:
    """GatewayCore._forward sends a transaction the first time only."""

    def forward(self: Any, now: int, entry: Any, out: list[Effect]) -> None:
        if not entry.attempts:
            original(self, now, entry, out)

    return forward


# ---------------------------------------------------------------- F: execution
def keeps_number(original: Function) -> Function:
    """Ledger._execute_one: a transaction that fails does not use up its sequence number."""

    def execute_one(self: Ledger, tx: bytes, transaction: Any, *rest: Any) -> str:
        held = self.account(transaction.sender)
        reason: str = original(self, tx, transaction, *rest)
        if reason == "insufficient":
            self._accounts[transaction.sender] = held
        return reason

    return execute_one


def without_balance(original: Function) -> Function:
    """The balance of an account is not part of the state root."""
    return lambda address, state: original(address, (0, state[1]))


def unchained(original: Function) -> Function:
    """A state root does not bind the one before it."""
    return lambda tree_root, previous: original(tree_root, NO_HASH)


def all_take_effect(original: Function) -> Function:
    """EffectiveBatches.split: a second batch under one number takes effect as well."""

    def split(self: Any, certificates: Iterable[AvailabilityCertificate]) -> Any:
        effective, void = original(self, list(certificates))
        return (*effective, *void), ()

    return split


# ---------------------------------------------------------------- G: clans
def by_height(original: Function) -> Function:
    """StateVotes.add counts votes for any root of a height, and certifies the root of the last one."""
    held: dict[tuple[int, int], dict[NodeId, bytes]] = {}

    def add(self: StateVotes, vote: StateVote, own: bool = False) -> StateCertificate | str | None:
        signatures = held.setdefault((id(self), vote.height), {})
        signatures[vote.voter] = vote.signature
        result: StateCertificate | str | None = original(self, vote, own)
        if result is None and len(signatures) >= self._majority:
            bitmap, signed = assemble(self._members, signatures, self._majority)
            claim = (vote.block, vote.previous_root, vote.root)
            return StateCertificate(
                self._domain.epoch, self._domain.cycle, self._clan, vote.height, *claim,
                signers=bitmap, signatures=signed,
            )  # fmt: skip
        return result

    return add


def any_member(original: Function) -> Function:
    """availability_fault counts signatures of whoever is in the tribe, not of distinct members of the clan."""

    def fault(
        certificate: AvailabilityCertificate, committee: Committee, domain: Domain, verifier: Verifier
    ) -> str | None:
        statement, keys = statement_of(domain, certificate), [committee.keys[node] for node in committee.tribe]
        good = sum(any(verifier.verify(key, statement, s) for key in keys) for s in certificate.signatures)
        return None if good >= committee.majority(certificate.clan) else "too few signers"

    return fault


def blind_votes(original: Function) -> Function:
    """XrbcCore._on_vote: a member that hears of a batch votes for it, without having it."""

    def on_vote(self: XrbcCore, now: int, sender: NodeId, vote: AvailabilityVote, out: list[Effect]) -> None:
        original(self, now, sender, vote, out)
        mine = self._clan == vote.clan and self._signer is not None
        if mine and self._voted.get(key_of(vote)) is None and vote.batch not in self._bodies:
            header = BatchHeader(
                self._domain.chain, self._domain.epoch, self._domain.cycle, vote.clan, vote.proposer, vote.seq,
                NO_HASH, vote.tx_count, vote.byte_length, vote.created_ms,
            )  # fmt: skip
            self._vote(now, header, vote.batch, out)

    return on_vote


def trusts_clan(original: Function) -> Function:
    """Coverage.certify: a gateway does not hold a certified root against its own execution."""

    def certify(self: Coverage, height: int, root: bytes) -> None:
        if height in self._roots:
            self._roots[height] = root
        original(self, height, root)

    return certify


def own_word(original: Function) -> Function:
    """ExecutionCore._compare: the own root gives way to the certified one."""

    def compare(self: ExecutionCore, certificate: StateCertificate, out: list[Effect]) -> None:
        if certificate.height in self._claims:
            self._claims[certificate.height] = (certificate.block, certificate.previous_root, certificate.root)
        original(self, certificate, out)

    return compare


MUTANTS = (
    Mutant(
        "D3", "D", "1.3 DURABLE", "what the node takes for durable was not synced, and a loss of power takes it",
        (Patch(DISK + "synced", rarely_synced),), ("votes", "fork"), (), "d3",
    ),
    Mutant(
        "D13", "D", "2.3 seq++; persist", "a proposer counts its batches from zero again after a restart",
        (Patch(XRBC + "_on_start", forgets_own), Patch(XRBC + "_learn_seq", learns_nothing)),
        ("xrbc-agreement", "votes", "accountability"), (), "d13",
    ),
    Mutant(
        "E24", "E", "2.3", "a batch without certificate is never sent again",
        (Patch(XRBC + "_resend", nothing),), ("finality-bounds", "censorship"), (), "e24",
    ),
    Mutant(
        "E25", "E", "2.5 gateway", "a gateway never forwards a transaction again",
        (Patch("nodes.gateway.core:GatewayCore._forward", only_once),), ("finality-bounds", "censorship"), (), "e25",
    ),
    Mutant(
        "F4", "F", "2.7", "a transaction that fails does not use up its sequence number",
        (Patch(LEDGER + "Ledger._execute_one", keeps_number),), ("state-root", "dedup"), (), "f4",
    ),
    Mutant(
        "F13", "F", "2.7", "balances are no part of the state root",
        (Patch(LEDGER + "account_entry", without_balance),), ("state-root",), (), "fault-free-4",
    ),
    Mutant(
        "F14", "F", "2.7 prevRoot", "a state root does not bind the one before it",
        (Patch(LEDGER + "chain_root", unchained),), ("state-root",), (), "fault-free-4",
    ),
    Mutant(
        "F15", "F", "2.3 EQ-FIRST", "a second batch under one number takes effect as well",
        (Patch("nodes.chainrules:EffectiveBatches.split", all_take_effect),),
        ("xrbc-agreement", "dedup", "state-root", "conservation"), (), "f15",
    ),
    Mutant(
        "G2", "G", "0 (2)", "signers of an availability certificate need not be members of its clan",
        (Patch("nodes.xrbc.check:availability_fault", any_member, everywhere=True),),
        ("availability",), ("undersigned-certificate",), "d5-foreign-certificate-at",
    ),
    Mutant(
        "G4", "G", "2.7 STATECERT", "state votes for different roots of one height are added up",
        (Patch("nodes.execution.votes:StateVotes.add", by_height),),
        ("state-root",), (), "g4",
    ),
    Mutant(
        "G6", "G", "2.3 clan node i", "a clan member votes for a batch that it does not have",
        (Patch(XRBC + "_on_vote", blind_votes),), ("availability", "state-root", "liveness"), (), "g6",
    ),
    Mutant(
        "G7", "G", "2.7", "a gateway does not compare what a clan certifies with its own execution",
        (
            Patch("nodes.gateway.tracker:Coverage.certify", trusts_clan),
            Patch("nodes.execution.core:ExecutionCore._compare", own_word),
        ),
        ("acknowledged",), (), "g7",
    ),
)  # fmt: skip
