"""The rules of Pipelined and Commit Moonshot, one function a rule, in the order of protocol.md 1.4.

Pure predicates: they read a `Replica` (1.3) and the object in question, and change nothing. `v not in E` stands for
"timer not expired" as well, because the timer's expiry puts the current view into E at once. Certificates that are
handed in have been verified (`certificates.py`). The core calls these through the module (`rules.may_...`), so that a
mutant can replace one rule and nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence

from nodes.messages import Block, BlockCertificate, TimeoutCertificate
from nodes.moonshot.state import Replica


# ---------------------------------------------------------------- certificates, locks, views
def enters(state: Replica, certified_view: int) -> bool:
    """1.4 onQC, onTC: a certificate of view w moves a replica with r_c < w+1 to w+1."""
    return state.view < certified_view + 1


def advances_lock(state: Replica, certificate: BlockCertificate) -> bool:
    """1.4 onQC: lock = qc if lock.view < qc.view."""
    return state.lock.view < certificate.view


# ---------------------------------------------------------------- proposals
def may_propose_optimistically(state: Replica, block: bytes) -> bool:
    """1.4 proposeOpt(B), at the leader of B.view+1 just before it votes for B: d_o != H(B)."""
    return state.opt_block != block


def normal_fits(block: Block, certificate: BlockCertificate) -> bool:
    """1.2 NRM(B, QC): QC.view = B.view-1 and QC.hash = B.parent."""
    return certificate.view == block.view - 1 and certificate.block == block.parent


def fallback_fits(block: Block, certificate: TimeoutCertificate) -> bool:
    """1.2 FBK(B, TC): TC.view = B.view-1 and B.parent is the block of TC's highest certificate."""
    return certificate.view == block.view - 1 and block.parent == certificate.high.block


# ---------------------------------------------------------------- votes
def may_vote_optimistic(state: Replica, block: Block) -> bool:
    """1.4 onOPT: the optimistic vote."""
    v = block.view
    return (
        state.view == v
        and v not in state.timed_out
        and state.fallback_view < v
        and state.normal_view < v
        and state.opt_view < v
        and state.lock.view == v - 1
        and state.lock.block == block.parent
        and state.timeout_view < v - 1  # strictly: never timed out v-1 or later
    )


def may_vote_normal(state: Replica, block: Block, block_hash: bytes) -> bool:
    """1.4 onNRM: the normal vote. It may repeat the own optimistic choice, never contradict it."""
    v = block.view
    return (
        state.view == v
        and v not in state.timed_out
        and state.normal_view < v
        and state.fallback_view < v
        and state.timeout_view < v
        and (state.opt_view < v or state.opt_block == block_hash)
    )


def may_vote_fallback(state: Replica, block: Block) -> bool:
    """1.4 onFBK: the fallback vote. a_o is not consulted: an opt-voter may still fallback-vote."""
    v = block.view
    return (
        state.view == v
        and v not in state.timed_out
        and state.normal_view < v
        and state.fallback_view < v
        and state.timeout_view < v
    )


# ---------------------------------------------------------------- commit votes (Commit Moonshot)
def has_commit_voted(state: Replica, view: int) -> bool:
    """One commit vote a view, whatever the block: within the bound there is only one certified block to vote for."""
    return view in [voted for voted, _ in state.commit_voted]


def may_commit_vote(state: Replica, certificate: BlockCertificate) -> bool:
    """1.4 direct pre-commit: on QC(v) that advances the lock, while r_c <= v and t_l < v, once."""
    v = certificate.view
    return state.lock.view < v and state.view <= v and state.timeout_view < v and not has_commit_voted(state, v)


def may_commit_vote_indirectly(state: Replica, certificate: BlockCertificate, descendant_voted: bool) -> bool:
    """1.4 indirect pre-commit: on QC(v) in any view, a descendant commit-voted already, t_l < v, once."""
    v = certificate.view
    return descendant_voted and state.timeout_view < v and not has_commit_voted(state, v)


def two_chain(parent_view: int, child_view: int) -> bool:
    """1.4 tryCommit: a certified block commits with a certified child in the next view, consecutive views only."""
    return child_view == parent_view + 1


# ---------------------------------------------------------------- timeouts
def may_time_out(state: Replica, view: int) -> bool:
    """1.4 sendTimeout(v): v not in E and r_c <= v."""
    return view not in state.timed_out and state.view <= view


def timeout_fits(view: int, lock: BlockCertificate) -> bool:
    """A lock is always older than r_c, and a timeout is for r_c or later: TMO(v, lock) needs lock.view < v."""
    return lock.view < view


def well_formed(view: int, lock_views: Sequence[int], high: BlockCertificate) -> bool:
    """1.2 TC: every lockView <= high.view, the maximum equals high.view, and high is older than the TC's view."""
    return bool(lock_views) and max(lock_views) == high.view and high.view < view
