"""Blocks, commits and evidence as CometBFT's RPC tells them, and the hashes and sign bytes of each.

Everything is computed again from its fields (CometBFT specification v0.38, "Data structures"); nothing here believes a
hash that a node told.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from typing import Any

import msgspec

from checkers.evidence import EvidenceError
from checkers.tendermint.wire import data, delimited, fixed, merkle_root, nested, timestamp, whole

ABSENT, COMMIT, NIL = 1, 2, 3  # block_id_flag of a commit's signature
PREVOTE, PRECOMMIT = 1, 2
DUPLICATE_VOTE = "tendermint/DuplicateVoteEvidence"


class Parts(msgspec.Struct, frozen=True):
    """How a block was cut for gossip: number of parts and their Merkle root."""

    total: int = 0
    hash: str = ""


class BlockId(msgspec.Struct, frozen=True):
    """What a vote is for; empty for nil."""

    hash: str = ""
    parts: Parts = Parts()

    @property
    def nil(self) -> bool:
        return not self.hash and not self.parts.total and not self.parts.hash

    @property
    def block(self) -> str:
        """The block's hash as traces write it, in lower case."""
        return self.hash.lower()

    def encoded(self) -> bytes:
        inner = whole(1, self.parts.total) + data(2, unhex(self.parts.hash))
        return data(1, unhex(self.hash)) + nested(2, inner)


class Version(msgspec.Struct, frozen=True):
    """Versions of the block protocol and of the application."""

    block: int = 0
    app: int = 0


class Header(msgspec.Struct, frozen=True):
    """A block's header; `hash` is what its id must be."""

    version: Version
    chain_id: str
    height: int
    time: str
    last_block_id: BlockId
    last_commit_hash: str
    data_hash: str
    validators_hash: str
    next_validators_hash: str
    consensus_hash: str
    app_hash: str
    last_results_hash: str
    evidence_hash: str
    proposer_address: str

    def hash(self) -> str:
        """Merkle root of the fourteen fields, upper-case hex as the RPC writes it."""
        hashes = (
            self.last_commit_hash, self.data_hash, self.validators_hash, self.next_validators_hash,
            self.consensus_hash, self.app_hash, self.last_results_hash, self.evidence_hash, self.proposer_address,
        )  # fmt: skip
        leaves = [
            whole(1, self.version.block) + whole(2, self.version.app),
            data(1, self.chain_id.encode()),
            whole(1, self.height),
            timestamp(self.time),
            self.last_block_id.encoded(),
            *(data(1, unhex(value)) for value in hashes),
        ]
        return merkle_root(leaves).hex().upper()


class CommitSig(msgspec.Struct, frozen=True):
    """One validator's precommit within a commit."""

    block_id_flag: int
    validator_address: str
    timestamp: str
    signature: str | None = None

    def encoded(self) -> bytes:
        return (
            whole(1, self.block_id_flag)
            + data(2, unhex(self.validator_address))
            + nested(3, timestamp(self.timestamp))
            + data(4, unbase64(self.signature or ""))
        )


class Commit(msgspec.Struct, frozen=True):
    """The precommits that made a block final."""

    height: int
    round: int
    block_id: BlockId
    signatures: tuple[CommitSig, ...] = ()

    def hash(self) -> str:
        return merkle_root([one.encoded() for one in self.signatures]).hex().upper()

    def sign_bytes(self, one: CommitSig, chain_id: str) -> bytes:
        """What that validator must have signed."""
        voted = self.block_id if one.block_id_flag == COMMIT else BlockId()
        return vote_bytes(PRECOMMIT, self.height, self.round, voted, one.timestamp, chain_id)


class Vote(msgspec.Struct, frozen=True):
    """A signed vote, as evidence carries it."""

    type: int
    height: int
    round: int
    block_id: BlockId
    timestamp: str
    validator_address: str
    validator_index: int
    signature: str | None = None

    def sign_bytes(self, chain_id: str) -> bytes:
        return vote_bytes(self.type, self.height, self.round, self.block_id, self.timestamp, chain_id)

    def encoded(self) -> bytes:
        return (
            whole(1, self.type) + whole(2, self.height) + whole(3, self.round) + nested(4, self.block_id.encoded())
            + nested(5, timestamp(self.timestamp)) + data(6, unhex(self.validator_address))
            + whole(7, self.validator_index) + data(8, unbase64(self.signature or ""))
        )  # fmt: skip


_GO_NAMES = {"total": "TotalVotingPower", "power": "ValidatorPower", "time": "Timestamp"}


class DuplicateVote(msgspec.Struct, frozen=True, rename=_GO_NAMES):
    """Two votes of one validator that no honest one signs."""

    vote_a: Vote
    vote_b: Vote
    total: int
    power: int
    time: str

    def encoded(self) -> bytes:
        return (
            nested(1, self.vote_a.encoded()) + nested(2, self.vote_b.encoded()) + whole(3, self.total)
            + whole(4, self.power) + nested(5, timestamp(self.time))
        )  # fmt: skip


class Evidence(msgspec.Struct, frozen=True):
    """Evidence of either kind; `value` is read for duplicate votes only."""

    type: str
    value: dict[str, Any]


class Block(msgspec.Struct, frozen=True):
    """A block as a node told it: `block` is the id that the node gave."""

    height: int
    block: str
    header: Header
    txs: tuple[str, ...]
    evidence: tuple[Evidence, ...]
    last_commit: Commit

    def misfit(self) -> str:
        """Which part of the header does not fit the block's content ("": all do)."""
        txs = merkle_root([hashlib.sha256(unbase64(tx)).digest() for tx in self.txs])
        known = [one for one in self.evidence if one.type == DUPLICATE_VOTE]
        due = {
            "hash": (self.header.hash(), self.block),
            "height": (str(self.header.height), str(self.height)),
            "data_hash": (txs.hex(), self.header.data_hash),
            "last_commit_hash": (self.last_commit.hash(), self.header.last_commit_hash),
        }
        if len(known) == len(self.evidence):
            found = merkle_root([duplicate_vote(one).encoded() for one in known]).hex()
            due["evidence_hash"] = (found, self.header.evidence_hash)
        wrong = (f"{name} is {is_}, computed {own}" for name, (own, is_) in due.items() if own.lower() != is_.lower())
        return next(wrong, "")


class Validator(msgspec.Struct, frozen=True):
    """A voting identity: `key` its Ed25519 public key in hex."""

    key: str
    power: int

    @property
    def address(self) -> str:
        """The first twenty bytes of the key's SHA-256, upper-case hex."""
        return hashlib.sha256(unhex(self.key)).hexdigest()[:40].upper()


def validators_hash(validators: tuple[Validator, ...]) -> str:
    """Merkle root of a validator set, which is ordered by power (the largest first), then by address."""
    ordered = sorted(validators, key=lambda one: (-one.power, one.address))
    leaves = [nested(1, data(1, unhex(one.key))) + whole(2, one.power) for one in ordered]
    return merkle_root(leaves).hex().upper()


def vote_bytes(kind: int, height: int, round_: int, voted: BlockId, time: str, chain_id: str) -> bytes:
    """The canonical vote, after its length."""
    target = b"" if voted.nil else nested(4, voted.encoded())
    return delimited(
        whole(1, kind) + fixed(2, height) + fixed(3, round_) + target + nested(5, timestamp(time))
        + data(6, chain_id.encode())
    )  # fmt: skip


def duplicate_vote(evidence: Evidence) -> DuplicateVote:
    """The two votes of such evidence. Raises EvidenceError."""
    found: DuplicateVote = read(evidence.value, DuplicateVote)
    return found


def read(record: Any, kind: type[Any]) -> Any:
    """A record as one of the structures here. Raises EvidenceError."""
    try:
        return msgspec.convert(record, kind, strict=False)
    except msgspec.MsgspecError as error:
        raise EvidenceError(f"not a {kind.__name__} as CometBFT tells it: {error}") from error


def unhex(text: str) -> bytes:
    """Raises EvidenceError."""
    try:
        return bytes.fromhex(text)
    except ValueError as error:
        raise EvidenceError(f"{text!r} is not hexadecimal") from error


def unbase64(text: str) -> bytes:
    """Raises EvidenceError."""
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise EvidenceError(f"{text!r} is not base64") from error
