"""One node of the target: the cores of its role, wired together. Still sans-I/O (architecture section 2).

    tribe node   consensus, xRBC, buckets, execution of its clan
    gateway      consensus as an observer, xRBC, re-execution of every clan, the wallet-facing core

Within one step notices run breadth first: the effects of the event first, then those of every core that hears of it,
in the order of the table below, then what follows from those. Other effects leave in the order in which they arise, so
each `Persist` stays ahead of the sends that depend on it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, TypeAlias

from nodes import census
from nodes.buckets.core import BucketsCore
from nodes.buckets.sizes import sizes as buckets_sizes
from nodes.census import Census
from nodes.committee import ClusterConfig, ConfigError, committee_of
from nodes.crypto import Domain, Signer, Verifier
from nodes.execution.core import ExecutionCore
from nodes.execution.sizes import sizes as execution_sizes
from nodes.gateway.core import GatewayCore
from nodes.gateway.sizes import sizes as gateway_sizes
from nodes.messages import (
    AvailabilityCertificate,
    AvailabilityVote,
    BatchMessage,
    BatchRequest,
    BatchResponse,
    BlockCertificate,
    BlockRequest,
    BlockResponse,
    CommitCertificate,
    CommitVote,
    FallbackProposal,
    Forward,
    ForwardReceipt,
    Message,
    NodeId,
    NormalProposal,
    OptimisticProposal,
    StateCertificate,
    StateRequest,
    StateVote,
    Timeout,
    TimeoutCertificate,
    Vote,
    Wire,
)
from nodes.moonshot.core import MoonshotCore
from nodes.moonshot.sizes import sizes as consensus_sizes
from nodes.port import (
    Available,
    AwaitStatus,
    Contradiction,
    Core,
    Effect,
    Event,
    Expire,
    Finalised,
    Need,
    Notice,
    Ordered,
    Propose,
    QueryBalance,
    QueryBlock,
    Receive,
    Reply,
    Start,
    StateCertified,
    Stored,
    Submit,
    SubmitTransaction,
)
from nodes.records import (
    BatchKeyRecord,
    BatchRecord,
    BlockRecord,
    FinalisedRecord,
    ProposedRecord,
    Record,
    RootRecord,
    VoteState,
)
from nodes.remember import noting, remembering
from nodes.xrbc.core import XrbcCore
from nodes.xrbc.sizes import sizes as xrbc_sizes

Name: TypeAlias = str  # consensus | xrbc | buckets | execution | gateway

_CONSENSUS = "moonshot"
_MESSAGES: dict[Name, tuple[type[Wire], ...]] = {
    _CONSENSUS: (
        OptimisticProposal,
        NormalProposal,
        FallbackProposal,
        Vote,
        CommitVote,
        Timeout,
        BlockCertificate,
        CommitCertificate,
        TimeoutCertificate,
        BlockRequest,
        BlockResponse,
    ),
    "xrbc": (AvailabilityVote, AvailabilityCertificate, BatchMessage, BatchRequest, BatchResponse),
    "buckets": (Forward,),
    "execution": (StateVote, StateCertificate, StateRequest),
    "gateway": (ForwardReceipt,),
}
# Who hears which notice, in this order. `execution` stands for every execution core of the node.
_NOTICES: dict[type[Notice], tuple[Name, ...]] = {
    Finalised: ("xrbc", "buckets", "execution", "gateway"),
    Available: ("gateway", _CONSENSUS),
    Stored: ("buckets", "execution", "gateway"),
    Need: ("xrbc",),
    Ordered: ("buckets", "gateway"),
    StateCertified: ("gateway",),
    Propose: ("xrbc",),
    Contradiction: (_CONSENSUS, "xrbc", "buckets", "gateway"),
}
# Records go to the cores before any notice does. Roots and votes come first, then bodies, then blocks: execution knows
# what it signed before it executes anything, and has the bodies when the blocks arrive.
_RECORDS: dict[Name, tuple[type[Record], ...]] = {
    "execution": (RootRecord,),
    "gateway": (),
    "buckets": (),
    "xrbc": (BatchRecord, BatchKeyRecord, FinalisedRecord),
    _CONSENSUS: (VoteState, ProposedRecord, BlockRecord, FinalisedRecord),
}


_OF_CONSENSUS = frozenset(_MESSAGES[_CONSENSUS])  # membership only


class SupraNode:
    """A tribe node or a gateway, by what `config` says of `me`.

    Attributes for status reports: `view`, `height` (finalised), `executed` and `certified` (the lowest over the clans
    that this node executes).
    """

    __slots__ = ("_census", "_cores", "_executions", "_hearers", "_moonshot", "_receivers", "committee", "me")

    def __init__(self, me: NodeId, config: ClusterConfig, signer: Signer, verifier: Verifier) -> None:
        committee = committee_of(config)
        domain = Domain(config.chain, config.epoch, config.cycle)
        checks = remembering(verifier)
        signs = noting(signer, checks)
        if committee.keys.get(me) != signs.public_key:
            raise ConfigError(f"{me}: its key is not the one that the genesis names; check `secret_key` in node.json")
        self.me = me
        self.committee = committee
        self._cores: dict[Name, tuple[Core, ...]] = {}
        if me in committee.clan_of:
            clan = committee.clan_of[me]
            xrbc = XrbcCore(me, committee, domain, signs, checks)
            self._moonshot = MoonshotCore(me, committee, domain, signs, checks, xrbc)
            self._executions = {clan: ExecutionCore(me, committee, domain, clan, signs, checks)}
            buckets = BucketsCore(me, committee, domain, signs, checks)
            self._cores["buckets"] = (buckets,)
            own = ("buckets", partial(buckets_sizes, buckets))
        else:
            xrbc = XrbcCore(me, committee, domain, None, checks)
            self._moonshot = MoonshotCore(me, committee, domain, None, checks, xrbc)
            self._executions = {
                clan: ExecutionCore(me, committee, domain, clan, None, checks) for clan in range(len(committee.clans))
            }
            gateway = GatewayCore(me, committee, domain, signs, checks)
            self._cores["gateway"] = (gateway,)
            own = ("gateway", partial(gateway_sizes, gateway))
        self._cores["xrbc"] = (xrbc,)
        self._cores[_CONSENSUS] = (self._moonshot,)
        self._cores["execution"] = tuple(self._executions[clan] for clan in sorted(self._executions))
        self._census = Census(
            ("consensus", partial(consensus_sizes, self._moonshot)),
            ("xrbc", partial(xrbc_sizes, xrbc)),
            *(("execution", partial(execution_sizes, core)) for core in self._executions.values()),
            own,
        )
        several = len(self._executions) > 1
        self._receivers: dict[type[Any], Callable[[int, NodeId, Any], Sequence[Effect]]] = {
            kind: self._receive_state if name == "execution" and several else self._cores[name][0].receive
            for name, kinds in _MESSAGES.items()
            if name in self._cores and name != _CONSENSUS
            for kind in kinds
        }
        self._hearers = {
            kind: tuple(core.notify for name in names for core in self._cores.get(name, ()))
            for kind, names in _NOTICES.items()
        }

    # ------------------------------------------------------------ status
    @property
    def view(self) -> int:
        """Current consensus view."""
        return self._moonshot.view

    @property
    def height(self) -> int:
        """Height of the last finalised block."""
        return self._moonshot.height

    @property
    def executed(self) -> int:
        """Height up to which every clan of this node is executed."""
        return min(core.executed for core in self._executions.values())

    @property
    def certified(self) -> int:
        """Height up to which every clan of this node has certified state, equal to the one computed here."""
        return min(core.certified for core in self._executions.values())

    # ------------------------------------------------------------ Node
    def step(self, now: int, event: Event) -> Sequence[Effect]:
        """Route the event to its core and the notices that follow to the siblings."""
        if isinstance(event, Receive):
            return self.receive(now, event.sender, event.message)
        if isinstance(event, Expire):
            if event.timer == census.TIMER:
                return self._census.take(now, self.view, self._moonshot.chain.head_view)
            effects = self._owner(event.timer).step(now, event)
        elif isinstance(event, Submit):
            effects = self._submit(now, event)
        else:
            effects = self._start(now, event)
        return self._route(now, effects)

    def receive(self, now: int, sender: NodeId, message: Message) -> Sequence[Effect]:
        """step(now, Receive(sender, message)), for a caller that delivers many: no event is made of them."""
        kind = type(message)
        if kind in _OF_CONSENSUS:  # most are, and a table that all nodes share stays in the cache
            effects = self._moonshot.receive(now, sender, message)
        else:
            receiver = self._receivers.get(kind)
            if receiver is None:  # a message for another role
                return ()
            effects = receiver(now, sender, message)
        return self._route(now, effects) if effects else ()

    def _route(self, now: int, effects: Sequence[Effect]) -> Sequence[Effect]:
        """What leaves the node of `effects` and of all that their notices lead to."""
        for effect in effects:
            if type(effect) in _NOTICES:
                break
        else:
            return effects
        out: list[Effect] = []
        notices: deque[Notice] = deque()
        self._sift(effects, out, notices)
        while notices:
            notice = notices.popleft()
            for notify in self._hearers[type(notice)]:
                effects = notify(now, notice)
                if effects:
                    self._sift(effects, out, notices)
        return out

    def _start(self, now: int, event: Start) -> list[Effect]:
        effects: list[Effect] = []
        for name, kinds in _RECORDS.items():
            for core in self._cores.get(name, ()):
                records = tuple(record for record in event.records if isinstance(record, kinds))
                effects += core.step(now, Start(records))
        effects.append(self._census.begin(now))
        return effects

    def _receive_state(
        self, now: int, sender: NodeId, message: StateVote | StateCertificate | StateRequest
    ) -> Sequence[Effect]:
        """A gateway re-executes every clan. (Where there is one execution core, it ignores the other clans itself.)"""
        execution = self._executions.get(message.clan)
        return execution.receive(now, sender, message) if execution is not None else ()

    def _owner(self, timer: str) -> Core:
        name, _, rest = timer.partition(":")
        if name == "execution":  # "execution:<clan>:<what>": a gateway has one of these cores for each clan
            return self._executions[int(rest.partition(":")[0])]
        return self._cores[name][0]

    def _submit(self, now: int, event: Submit) -> Sequence[Effect]:
        core: Core | None = None
        if isinstance(event.body, QueryBalance):
            core = self._executions.get(self.committee.clan_of_key(event.body.address))
        elif isinstance(event.body, SubmitTransaction | AwaitStatus | QueryBlock):
            core = next(iter(self._cores.get("gateway", ())), None)
        if core is None:
            error = f"{self.me} does not answer {type(event.body).__name__}; ask a gateway"
            return (Reply(event.request, {"error": error}),)
        return core.step(now, event)

    @staticmethod
    def _sift(effects: Iterable[Effect], out: list[Effect], notices: deque[Notice]) -> None:
        for effect in effects:
            if type(effect) in _NOTICES:
                notices.append(effect)  # type: ignore[arg-type]  # the table's keys are exactly the notices
            else:
                out.append(effect)


def build(me: NodeId, config: ClusterConfig, signer: Signer, verifier: Verifier) -> SupraNode:
    """The node `me` of the cluster. Raises ConfigError if the cluster could not be safe or `me` has another key."""
    return SupraNode(me, config, signer, verifier)
