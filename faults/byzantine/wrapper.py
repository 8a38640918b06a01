"""A corrupted replica: an honest core with a stack of behaviours between it and the network.

The shell is itself a `nodes.port.Node`, so it runs wherever an honest core runs. Arriving messages pass the stack from
the outside in (last declared first), leaving ones from the core outwards (first declared first); multicasts are taken
apart per recipient. Effects keep their order, so what the core persists is still durable before what follows leaves.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any, ParamSpec, TypeVar

import msgspec

from faults.byzantine.port import Behaviour, BehaviourReceipt, CorruptedNode
from faults.byzantine.side_channel import LOAD_START, SideChannel, SideChannelError
from faults.byzantine.triggers import Trigger
from faults.byzantine.watchdog import WATCHDOG, HookOverdueError, overdue
from faults.registry import explain
from nodes.committee import Committee
from nodes.crypto import Domain, Signer
from nodes.messages import Message, NodeId, Wire
from nodes.port import Effect, Emit, Event, Expire, Multicast, Node, Receive, Send, SetTimer, Start

TICK = "byz:tick"
HALT = "byz:halt"
TICK_NS = 50_000_000
RECEIPT_NS = 250_000_000  # a receipt that changes is traced at most this often
MOST_MESSAGES = 100_000  # of one call of a hook: one that yields for ever would fill the memory first

Outgoing = tuple[NodeId, Message]
P = ParamSpec("P")
T = TypeVar("T")


class BehaviourError(RuntimeError):
    """A behaviour raised or misused its node: the run says nothing, so the process must stop. Has the traceback."""


class Mounted(msgspec.Struct):
    """One behaviour in the stack, and when it is on; `id` as in the history's nemesis operations."""

    id: int
    behaviour: Behaviour
    trigger: Trigger = msgspec.field(default_factory=Trigger)
    traced: BehaviourReceipt | None = None
    traced_at: int = 0
    error: str = ""  # what its own code raised, with the traceback from its file on

    @property
    def name(self) -> str:
        return self.behaviour.name or type(self.behaviour).__name__


class _Corrupted:
    """What behaviours see of their node (`faults.byzantine.port.CorruptedNode`)."""

    def __init__(
        self,
        me: NodeId,
        committee: Committee,
        domain: Domain,
        signers: Mapping[NodeId, Signer],
        channel: SideChannel,
        rng: Random,
    ) -> None:
        self.id = me
        self.now = 0
        self.view = 0
        self.committee = committee
        self.domain = domain
        self.coalition: Sequence[NodeId] = tuple(n for n in committee.tribe + committee.gateways if n in signers)
        self.rng = rng
        self.blackboard: dict[str, Any] = {}
        self._signers = signers
        self._channel = channel

    @property
    def load_start(self) -> int | None:
        note = self.blackboard.get(LOAD_START)
        return note if isinstance(note, int) else None

    def sign(self, statement: bytes, replica: NodeId | None = None) -> bytes:
        return self._signers[replica or self.id].sign(statement)

    def share(self, key: str, value: Any) -> None:
        self.blackboard[key] = value
        self._channel.share(key, value)

    def hear(self) -> None:
        """Take over what the lab and other members shared since the last step."""
        self.blackboard.update(self._channel.drain())


class CorruptedNodeShell:
    """`core` with `stack` round it. `signers` holds the coalition's keys, this node's included.

    When a behaviour raises, the node traces `halt` and the behaviour's receipt with the traceback, falls silent, and
    `step` raises BehaviourError a tick later, once the trace is written: the process must end.
    """

    def __init__(
        self,
        core: Node,
        me: NodeId,
        committee: Committee,
        domain: Domain,
        signers: Mapping[NodeId, Signer],
        stack: Sequence[Mounted],
        channel: SideChannel,
        seed: int = 0,
    ) -> None:
        self.core = core
        self.stack = tuple(stack)
        self.me = me
        self._node = _Corrupted(me, committee, domain, signers, channel, Random(f"{seed}/{me}"))
        self._known = frozenset(committee.members("everyone"))
        self._failure: str | None = None

    @property
    def node(self) -> CorruptedNode:
        """What the behaviours see of this node."""
        return self._node

    # Status, as the control port reads it off any node: the core's own.
    @property
    def view(self) -> int:
        return int(getattr(self.core, "view", self._node.view))

    @property
    def height(self) -> int:
        return int(getattr(self.core, "height", 0))

    @property
    def executed(self) -> int:
        return int(getattr(self.core, "executed", 0))

    @property
    def certified(self) -> int:
        return int(getattr(self.core, "certified", 0))

    def step(self, now: int, event: Event) -> Sequence[Effect]:
        """As nodes.port.Node.step."""
        if self._failure is not None:
            if event == Expire(HALT):
                raise BehaviourError(self._failure)
            return []
        self._node.now = now
        effects: list[Effect] = []
        try:
            self._node.hear()
            self._step(now, event, effects)
        except (BehaviourError, SideChannelError) as error:
            self._failure = str(error)
            if not any(mounted.error for mounted in self.stack):  # the channel failed: nobody's attack is what it was
                for mounted in self.stack:
                    mounted.error = self._failure
            effects += self._receipts(now, everything=True)
            effects.append(Emit("halt", {"reason": self._failure}))
            effects.append(SetTimer(HALT, now + TICK_NS))
        return effects

    def _step(self, now: int, event: Event, effects: list[Effect]) -> None:
        passed: Event | None = event
        if isinstance(event, Start) or event == Expire(TICK):
            effects.append(SetTimer(TICK, now + TICK_NS))
        if isinstance(event, Receive):
            message = self._receive(event)
            passed = None if message is None else Receive(event.sender, message)
        if passed is not None and passed != Expire(TICK):
            for effect in self.core.step(now, passed):
                self._effect(effect, effects)
        for position, mounted in enumerate(self.stack):
            if self._active(mounted):
                spontaneous = self._call(mounted, _act, mounted.behaviour, self._node)
                effects += [Send(to, m) for to, m in self._send(spontaneous, position + 1)]
        effects += self._receipts(now)

    def _receive(self, event: Receive) -> Message | None:
        message: Message | None = event.message
        for mounted in reversed(self.stack):
            if message is not None and self._active(mounted):
                message = self._call(mounted, _seen, mounted.behaviour, self._node, event.sender, message)
        return message

    def _effect(self, effect: Effect, effects: list[Effect]) -> None:
        match effect:
            case Send(to, message):
                effects += [Send(t, m) for t, m in self._send([(to, message)], 0)]
            case Multicast(group, message):
                wanted = [(to, message) for to in self._node.committee.members(group) if to != self.me]
                sent = self._send(wanted, 0)
                untouched = [to for to, m in sent if m is message] == [to for to, _ in wanted] and len(sent) == len(
                    wanted
                )
                effects += [effect] if untouched else [Send(t, m) for t, m in sent]
            case Emit(kind, fields):
                if kind == "enter" and isinstance(fields.get("view"), int):
                    self._node.view = fields["view"]
                effects.append(effect)
                for mounted in self.stack:
                    mounted.trigger.see(kind, fields)
                    if self._open(mounted):
                        self._call(mounted, mounted.behaviour.emit, self._node, kind, fields)
            case _:
                effects.append(effect)

    def _send(self, messages: Iterable[Outgoing], position: int) -> list[Outgoing]:
        """Pass messages outwards through the stack from `position` on. Messages to the node itself are dropped."""
        out = list(messages)
        for mounted in self.stack[position:]:
            if self._active(mounted):
                out = self._call(mounted, _replace, mounted.behaviour, self._node, out)
        return [(to, m) for to, m in out if to != self.me]

    def _open(self, mounted: Mounted) -> bool:
        return mounted.trigger.open(self._node.now, self._node.load_start, self._node.view)

    def _active(self, mounted: Mounted) -> bool:
        return self._open(mounted) and self._call(mounted, mounted.behaviour.when, self._node)

    def _call(self, mounted: Mounted, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        try:
            WATCHDOG.calls += 1
            WATCHDOG.inside = True
            return call(*args, **kwargs)
        except (Exception, HookOverdueError) as error:
            WATCHDOG.inside = False
            file = Path(inspect.getfile(type(mounted.behaviour)))
            mounted.error = overdue(file, error) if isinstance(error, HookOverdueError) else explain(file, error)
            raise BehaviourError(f"behaviour {mounted.name} of {self.me} raised:\n{mounted.error}") from error
        finally:
            WATCHDOG.inside = False

    def _receipts(self, now: int, everything: bool = False) -> list[Effect]:
        """Trace the receipts that changed; the 50 ms tick brings out the last state of a burst."""
        effects: list[Effect] = []
        for mounted in self.stack:
            receipt = mounted.behaviour.receipt
            due = mounted.traced is None or (receipt != mounted.traced and now - mounted.traced_at >= RECEIPT_NS)
            if due or everything:
                mounted.traced, mounted.traced_at = msgspec.structs.replace(receipt), now
                fields = {"id": mounted.id, "name": mounted.name, **msgspec.structs.asdict(receipt)}
                if mounted.error:
                    fields["error"] = mounted.error
                effects.append(Emit("behaviour", fields))
        return effects


# Behaviours may be generators: they run, and may raise, only while they are drained.
def _act(behaviour: Behaviour, node: CorruptedNode) -> list[Outgoing]:
    return _pairs("act", behaviour.act(node), node)


def _replace(behaviour: Behaviour, node: CorruptedNode, messages: list[Outgoing]) -> list[Outgoing]:
    return [sent for to, message in messages for sent in _pairs("send", behaviour.send(node, to, message), node)]


def _seen(behaviour: Behaviour, node: CorruptedNode, sender: NodeId, message: Message) -> Message | None:
    seen = behaviour.receive(node, sender, message)
    if seen is None or isinstance(seen, Wire):
        return seen
    raise TypeError(f"receive returned {seen!r}; it must return a message, or None to drop it")


def _pairs(hook: str, found: Any, node: CorruptedNode) -> list[Outgoing]:
    """What a hook sends, if that makes sense. Raises TypeError, LookupError."""
    if found is None:
        raise TypeError(f"{hook} returned None; it must yield (recipient, message) pairs, or return ()")
    pairs = list(islice(found, MOST_MESSAGES + 1))
    if len(pairs) > MOST_MESSAGES:
        raise OverflowError(f"{hook} yielded more than {MOST_MESSAGES} messages in one call; give its loop an end")
    for pair in pairs:
        if not isinstance(pair, tuple) or len(pair) != 2 or not isinstance(pair[1], Wire):
            raise TypeError(f"{hook} yielded {pair!r}; it must yield (recipient, message) pairs")
        if pair[0] != node.id and pair[0] not in node.committee.keys:
            raise LookupError(f"{hook} sends to {pair[0]!r}; nodes are {sorted(node.committee.keys)}")
    return pairs
