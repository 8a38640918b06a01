"""Twins: two honest copies of one replica, with one key and separate memories, each in its own part of the network.

No attack code: equivocation, double votes and amnesia arise by themselves (Bano et al., Twins, 2020). `rounds` lists
tables with `view` and `groups`, which part the tribe in that view; the second copy of replica n0 is written "n0'".
`one_way` = "0>1" cuts from the first group to the second only ("1>0": the reverse). In a view that is not listed both
copies are heard by all; before the first one the second copy only listens. The copies never hear each other. Use it
with `round-partition` of the same rounds for the honest nodes. Smallest breaking count: f+1. Aimed at I-U and I-PFX.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar

import msgspec

from faults.byzantine.port import Behaviour, CorruptedNode
from faults.rounds import round_of, tables
from nodes.committee import Committee
from nodes.messages import Message, NodeId, encode, sha256
from nodes.port import (
    CancelTimer,
    Effect,
    Emit,
    Event,
    Expire,
    Multicast,
    Node,
    Persist,
    Receive,
    Send,
    SetTimer,
    Start,
    Submit,
)

MARK = "'"  # of the second copy's name
TIMER = "twin/"  # before the names of the second copy's timers
SKEW_NS = 2_000_000  # the second copy's clock is ahead, so that two copies in one state still make different blocks


class Round(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One round as a scenario holds it: disjoint groups of nodes and copies; who is in none hears and reaches all."""

    view: int
    groups: tuple[tuple[str, ...], ...]
    one_way: str = ""

    def reaches(self, sender: str, receiver: str) -> bool:
        """Does what one copy or node says in this round get to another?"""
        a, b = self._group(sender), self._group(receiver)
        if a is None or b is None or a == b:
            return True
        return bool(self.one_way) and self.one_way != f"{a}>{b}"

    def _group(self, name: str) -> int | None:
        return next((i for i, group in enumerate(self.groups) if name in group), None)


class Twins(Behaviour):
    name: ClassVar[str] = "twins"
    attacks: ClassVar[tuple[str, ...]] = ("R3", "C1", "C6")
    breaks_at: ClassVar[str] = "f+1 in the tribe"
    aims_at: ClassVar[str] = "I-U, I-PFX: fork, prefix"

    def __init__(self, rounds: Any) -> None:
        super().__init__()
        self.rounds = {r.view: r for r in _parse(rounds)}
        self.first = min(self.rounds)
        self._said: dict[str, tuple[int, ...]] = {}  # which copies sent what to a fellow, not yet on the board
        self._board: dict[str, Any] = {}  # the coalition's notes

    def pair(self, first: Node, second: Node, me: NodeId, committee: Committee) -> Node:
        """The two copies as one core."""
        return Pair(self, first, second, me, committee)

    def copies(self, name: NodeId) -> tuple[str, ...]:
        """The names under which the schedule knows a replica: its own, and its copy's if it is twinned."""
        twinned = any(name + MARK in group for r in self.rounds.values() for group in r.groups)
        return (name, name + MARK) if twinned else (name,)

    def receive(self, node: CorruptedNode, sender: NodeId, message: Message) -> Message | None:
        self._board = node.blackboard
        return message

    def act(self, node: CorruptedNode) -> Iterable[tuple[NodeId, Message]]:
        """Pass on to fellow members which copy said what: they must tell a twin's messages from its copy's."""
        for key in list(self._said):
            node.share(key, self._said.pop(key))
        return ()

    def note(self, me: NodeId, message: Message, copy: int) -> None:
        """Remember that a copy of `me` sent this to a twinned fellow."""
        key = _key(me, message)
        self._said[key] = tuple(sorted({*self._said.get(key, ()), *self._board.get(key, ()), copy}))

    def sender_names(self, sender: NodeId, message: Message) -> tuple[str, ...]:
        """Which copies of the sender may have sent it."""
        names = self.copies(sender)
        said = self._board.get(_key(sender, message)) if len(names) > 1 else None
        return tuple(names[copy] for copy in said) if said else names


def _key(sender: NodeId, message: Message) -> str:
    return f"twin/{sender}/{sha256(encode(message))[:12].hex()}"


class Pair:
    """Two cores of one replica behind one port. The first one's log, trace and status are the node's."""

    def __init__(self, twins: Twins, first: Node, second: Node, me: NodeId, committee: Committee) -> None:
        self._twins = twins
        self._cores = (first, second)
        self._names = (me, me + MARK)
        self._me = me
        self._committee = committee

    def __getattr__(self, name: str) -> Any:
        """Status (view, height, ...) is the first copy's."""
        return getattr(self._cores[0], name)

    def step(self, now: int, event: Event) -> Sequence[Effect]:
        """As nodes.port.Node.step; the second copy lives `SKEW_NS` ahead."""
        effects: list[Effect] = []
        for copy, passed in self._parts(event):
            for effect in self._cores[copy].step(now + copy * SKEW_NS, passed):
                self._out(copy, effect, effects)
        return effects

    def _parts(self, event: Event) -> Iterable[tuple[int, Event]]:
        if isinstance(event, Start):
            return (0, event), (1, Start(()))
        if isinstance(event, Expire):
            if event.timer.startswith(TIMER):
                return ((1, Expire(event.timer.removeprefix(TIMER))),)
            return ((0, event),)
        if isinstance(event, Submit):
            return ((0, event),)
        return [(copy, event) for copy in (0, 1) if self._hears(copy, event)]

    def _hears(self, copy: int, event: Receive) -> bool:
        current = self._twins.rounds.get(round_of(event.message)[0])
        if current is None:
            return True
        senders = self._twins.sender_names(event.sender, event.message)
        return any(current.reaches(sender, self._names[copy]) for sender in senders)

    def _out(self, copy: int, effect: Effect, effects: list[Effect]) -> None:
        match effect:
            case Send(to, message):
                effects += self._route(copy, [to], message)
            case Multicast(group, message):
                members = [to for to in self._committee.members(group) if to != self._me]
                routed = self._route(copy, members, message)
                effects += [effect] if len(routed) == len(members) else routed
            case SetTimer(timer, at) if copy:
                effects.append(SetTimer(TIMER + timer, max(0, at - SKEW_NS)))
            case CancelTimer(timer) if copy:
                effects.append(CancelTimer(TIMER + timer))
            case Persist() | Emit() if copy:
                pass  # the second copy has no disk, and nobody believes a corrupted node's words
            case _:
                effects.append(effect)

    def _route(self, copy: int, members: Sequence[NodeId], message: Message) -> list[Effect]:
        twins = self._twins
        view = round_of(message)[0]
        current = twins.rounds.get(view)
        if copy and (view if view >= 0 else getattr(self._cores[1], "view", 0)) < twins.first:
            return []
        twins.receipt.matched += 1
        routed: list[Effect] = []
        for to in members:
            names = twins.copies(to)
            if current is not None and not any(current.reaches(self._names[copy], name) for name in names):
                twins.receipt.dropped += 1
                continue
            if current is not None and len(names) > 1:
                twins.note(self._me, message, copy)
            routed.append(Send(to, message))
        twins.receipt.injected += copy * len(routed)
        return routed


def pair_of(behaviours: Iterable[Behaviour]) -> Twins | None:
    """The behaviour among these that wants a second copy of the core, if one does."""
    return next((behaviour for behaviour in behaviours if isinstance(behaviour, Twins)), None)


def second_core(again: Callable[[], Node] | None) -> Node:
    """Another core of the same replica. Raises ValueError where the caller has no way to make one."""
    if again is None:
        raise ValueError("twins: this runtime cannot make a second core of a node")
    return again()


def _parse(value: Any) -> list[Round]:
    found = tables(value, Round)
    for index, entry in enumerate(found):
        names = [name for group in entry.groups for name in group]
        if entry.view < 1 or len(entry.groups) < 2 or not all(entry.groups) or len(set(names)) != len(names):
            raise ValueError(f"rounds[{index}]: a view from 1 on, and at least two disjoint groups")
        if entry.one_way not in ("", "0>1", "1>0") or (entry.one_way and len(entry.groups) != 2):
            raise ValueError(f'rounds[{index}].one_way = {entry.one_way!r}: "0>1" or "1>0", between two groups')
    return found
