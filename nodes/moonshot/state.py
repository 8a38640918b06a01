"""What bars a vote (protocol.md 1.3), with the paper's names, and the genesis that it starts from."""

from __future__ import annotations

import msgspec

from nodes.crypto import Domain
from nodes.messages import NO_HASH, Block, BlockCertificate, block_hash
from nodes.records import VoteState


def genesis_block(domain: Domain) -> Block:
    """View 0, height 0; the same at every node of one chain and epoch (1.2)."""
    return Block(domain.chain, domain.epoch, 0, 0, NO_HASH, "genesis", 0, ())


def genesis_certificate(domain: Domain) -> BlockCertificate:
    """The fixed certificate of the genesis block: view 0, no signers."""
    return BlockCertificate(domain.epoch, "normal", 0, block_hash(genesis_block(domain)), b"", ())


class Replica(msgspec.Struct):
    """The local state of 1.3. `rules.py` reads it, only the core writes it; `snapshot` is its durable form."""

    lock: BlockCertificate  # highest certificate processed
    view: int = 1  # r_c
    opt_view: int = 0  # a_o: highest view opt-voted
    opt_block: bytes = NO_HASH  # d_o: and the block voted for there
    normal_view: int = 0  # a_n
    fallback_view: int = 0  # a_f
    timeout_view: int = 0  # t_l: highest view for which a timeout was sent
    timed_out: set[int] = msgspec.field(default_factory=set)  # E
    commit_voted: set[tuple[int, bytes]] = msgspec.field(default_factory=set)

    commit_votes: tuple[tuple[int, bytes], ...] = ()  # commit_voted in order, as snapshots hold it

    def __post_init__(self) -> None:
        self.commit_votes = tuple(sorted(self.commit_voted))

    def note_commit_vote(self, view: int, block: bytes) -> None:
        """CMT(view, block) is about to be sent."""
        self.commit_voted.add((view, block))
        if not self.commit_votes or self.commit_votes[-1] < (view, block):
            self.commit_votes = (*self.commit_votes, (view, block))
        else:  # an indirect one, for an earlier view
            self.commit_votes = tuple(sorted(self.commit_voted))

    def prune(self, below: int) -> None:
        """Forget what concerns views under `below`; `timeout_view` and the a_* still bar every vote there."""
        if self.timed_out:
            self.timed_out = {view for view in self.timed_out if view >= below}
        while self.commit_votes and self.commit_votes[0][0] < below:
            self.commit_voted.discard(self.commit_votes[0])
            self.commit_votes = self.commit_votes[1:]

    def snapshot(self) -> VoteState:
        """The record that must be durable before anything this state permitted leaves the node."""
        return VoteState(
            view=self.view,
            opt_view=self.opt_view,
            opt_block=self.opt_block,
            normal_view=self.normal_view,
            fallback_view=self.fallback_view,
            timeout_view=self.timeout_view,
            timed_out=tuple(sorted(self.timed_out)) if self.timed_out else (),
            lock=self.lock,
            commit_voted=self.commit_votes,
        )

    @staticmethod
    def recover(record: VoteState) -> Replica:
        """The state that `record` is a snapshot of."""
        return Replica(
            lock=record.lock,
            view=record.view,
            opt_view=record.opt_view,
            opt_block=record.opt_block,
            normal_view=record.normal_view,
            fallback_view=record.fallback_view,
            timeout_view=record.timeout_view,
            timed_out=set(record.timed_out),
            commit_voted=set(record.commit_voted),
        )
