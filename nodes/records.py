"""What a node writes to its log before anything leaves it (protocol.md 1.3): one Struct a record.

The shell appends records in order and hands them back, oldest first, in the `Start` event of the next incarnation.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias

import msgspec

from nodes.messages import Batch, Block, BlockCertificate, DecodeError, Hash, NodeId, Number, StateVote, VoteKind, Wire


class VoteState(Wire, frozen=True, tag="votes"):
    """Snapshot of everything that bars a vote (protocol.md 1.3); the last one in the log counts."""

    view: Number
    opt_view: Number
    opt_block: Hash
    normal_view: Number
    fallback_view: Number
    timeout_view: Number
    timed_out: tuple[Number, ...]  # E, pruned to views > view - recency bound
    lock: BlockCertificate
    commit_voted: tuple[tuple[Number, Hash], ...]  # pruned like E


class ProposedRecord(Wire, frozen=True, tag="proposed"):
    """Own proposal, kept so that a restarted leader repeats itself instead of equivocating."""

    kind: VoteKind
    block: Block


class BlockRecord(Wire, frozen=True, tag="block"):
    """Body of another leader's block, before the first vote for it: a certified block survives a restart of all."""

    block: Block


class FinalisedRecord(Wire, frozen=True, tag="final"):
    block: Block


class BatchKeyRecord(Wire, frozen=True, tag="voted"):
    """votedFor[K] = batch: at most one availability vote per key, across restarts."""

    clan: Number
    proposer: NodeId
    seq: Number
    batch: Hash


class BatchRecord(Wire, frozen=True, tag="batch"):
    """A stored batch body."""

    batch: Batch


class RootRecord(Wire, frozen=True, tag="root"):
    """Own signed state vote, so that a restarted executor never signs two roots for one height."""

    vote: StateVote


Record: TypeAlias = (
    VoteState | ProposedRecord | BlockRecord | FinalisedRecord | BatchKeyRecord | BatchRecord | RootRecord
)


def latest(records: Iterable[Record]) -> tuple[Record, ...]:
    """What a recovery needs of a log: all records but the vote snapshots that a later one replaced."""
    kept: list[Record] = []
    votes: VoteState | None = None
    for record in records:
        if isinstance(record, VoteState):
            votes = record
        else:
            kept.append(record)
    return tuple(kept) if votes is None else (*kept, votes)


_records: msgspec.msgpack.Decoder[Record] = msgspec.msgpack.Decoder(Record)


def decode_record(data: bytes) -> Record:
    """The log record in `data`; raises DecodeError."""
    try:
        return _records.decode(data)
    except msgspec.MsgspecError as error:
        raise DecodeError(str(error)) from error
