"""Group D of teeth.md section 2: what a node must remember across a restart (protocol.md 1.3 DURABLE)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from weakref import WeakKeyDictionary

from msgspec.structs import replace

from harness.mutants import Function, Mutant, Patch
from nodes.messages import NO_HASH
from nodes.moonshot.core import MoonshotCore
from nodes.moonshot.state import Replica
from nodes.port import Effect, Persist
from nodes.records import VoteState

RECOVER = "nodes.moonshot.state:Replica.recover"


def recovering(**lost: Any) -> Function:
    """Replica.recover reads a snapshot in which these fields have their first values."""

    def wrap(original: Function) -> Function:
        def recover(record: VoteState) -> Replica:
            state: Replica = original(replace(record, **lost))
            return state

        return recover

    return wrap


def without_lock(original: Function) -> Function:
    """Replica.recover finds no lock; the genesis certificate stands in for it, as after a first start."""

    def recover(record: VoteState) -> Replica:
        lock = replace(record.lock, view=0, kind="normal", block=NO_HASH, signers=b"", signatures=())
        state: Replica = original(replace(record, lock=lock))
        return state

    return recover


_late: WeakKeyDictionary[MoonshotCore, Effect] = WeakKeyDictionary()


def send_first(original: Function) -> Function:
    """MoonshotCore._finish keeps a snapshot back until the next step: what it permitted leaves before it is written."""

    def finish(self: MoonshotCore) -> Sequence[Effect]:
        effects = list(original(self))
        late = _late.pop(self, None)
        if effects and isinstance(effects[0], Persist) and isinstance(effects[0].record, VoteState):
            _late[self] = effects.pop(0)
        elif late is not None:
            effects.insert(0, late)
        return effects

    return finish


def forgets(original: Function) -> Function:
    """Proposer.recover takes nothing back."""
    return lambda self, record: None


MUTANTS = (
    Mutant(
        "D1", "D", "1.3 DURABLE", "the views last voted in are forgotten on a restart",
        (Patch(RECOVER, recovering(opt_view=0, opt_block=NO_HASH, normal_view=0, fallback_view=0)),),
        ("votes", "fork"), ("double-vote", "two-certificates", "fork"), "mm8",
    ),
    Mutant(
        "D2", "D", "1.3 DURABLE", "a vote leaves before the record of it is written",
        (Patch("nodes.moonshot.core:MoonshotCore._finish", send_first),),
        ("votes",), ("double-vote", "honest-accused"), "d2",
    ),
    Mutant(
        "D4", "D", "1.3 DURABLE", "time-outs are forgotten on a restart",
        (Patch(RECOVER, recovering(timeout_view=0, timed_out=())),), ("votes",), ("vote-after-timeout",), "d4",
    ),
    Mutant(
        "D5", "D", "1.3 DURABLE", "the lock is forgotten on a restart",
        (Patch(RECOVER, without_lock),), ("locks",), ("stale-timeout", "lock-fell"), "d5",
    ),
    Mutant(
        "D11", "D", "1.3 DURABLE", "own proposals are forgotten on a restart",
        (Patch("nodes.moonshot.proposer:Proposer.recover", forgets),), ("votes",), ("honest-accused",), "d11",
    ),
)  # fmt: skip
