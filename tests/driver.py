"""A small in-memory driver for sans-I/O cores: virtual time, per-link delays, cuts, crashes. Tests only.

The simulator proper is another matter; this one exists so that cores can be driven without sockets or sleeping.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from random import Random
from typing import Any

from nodes.committee import Account, ClusterConfig, Committee, LeaderSchedule, Member, Parameters
from nodes.crypto import Domain, Ed25519Signer
from nodes.messages import Message
from nodes.port import (
    CancelTimer,
    Emit,
    Event,
    Expire,
    Multicast,
    Node,
    Persist,
    Receive,
    Reply,
    Send,
    SetTimer,
    Start,
    Submit,
)
from nodes.records import Record

MS = 1_000_000


def seed_of(name: str) -> bytes:
    """A fixed 32-byte test key seed."""
    return name.encode().ljust(32, b".")


def signer_of(name: str) -> Ed25519Signer:
    return Ed25519Signer(seed_of(name))


def small_config(
    n: int = 4,
    clans: int = 1,
    gateways: int = 1,
    accounts: int = 8,
    leaders: LeaderSchedule | None = None,
    **parameters: Any,
) -> ClusterConfig:
    """A cluster of n tribe nodes in equal contiguous clans, with funded accounts "acct0".. (keys: signer_of)."""
    names = [f"n{i}" for i in range(n)]
    gates = [f"g{i}" for i in range(gateways)]
    bounds = [n * c // clans for c in range(clans + 1)]
    return ClusterConfig(
        chain="test",
        epoch=0,
        cycle=0,
        beacon="00" * 32,
        tribe=tuple(Member(x, signer_of(x).public_key.hex()) for x in names),
        gateways=tuple(Member(x, signer_of(x).public_key.hex()) for x in gates),
        clans=tuple(tuple(names[a:b]) for a, b in pairwise(bounds)),
        accounts=tuple(Account(signer_of(f"acct{i}").public_key.hex(), 1000) for i in range(accounts)),
        leaders=leaders or LeaderSchedule(kind="round-robin"),
        parameters=Parameters(**parameters),
    )


def domain_of(config: ClusterConfig) -> Domain:
    return Domain(config.chain, config.epoch, config.cycle)


class Driver:
    """Steps nodes on a virtual clock. `delay(src, dst, message)` gives ns, or None to lose the message.

    Attributes: `trace` [(time, node, event, fields)], `logs` node -> durable records, `replies`
    [(node, request, value)], `unrouted` notices that reached the outside (a core driven alone), [(time, node, notice)].
    """

    def __init__(
        self,
        committee: Committee,
        build: Callable[[str], Node],
        names: Sequence[str],
        delay: Callable[[str, str, Message], int | None] | None = None,
        seed: int = 0,
    ) -> None:
        self.committee = committee
        self.build = build
        self.rng = Random(seed)
        self.delay = delay or (lambda src, dst, message: 10 * MS)
        self.nodes: dict[str, Node] = {}
        self.now = 0
        self.trace: list[tuple[int, str, str, Mapping[str, Any]]] = []
        self.logs: dict[str, list[Record]] = {name: [] for name in names}
        self.replies: list[tuple[str, int, Any]] = []
        self.unrouted: list[tuple[int, str, Any]] = []
        self._heap: list[tuple[int, float, int, str, int, Event]] = []
        self._sequence = 0
        self._timers: dict[tuple[str, str], int] = {}  # -> sequence number of the armed expiry
        self._life: dict[str, int] = dict.fromkeys(names, 0)
        for name in names:
            self.start(name)

    def start(self, name: str) -> None:
        """Start (or restart, on the same log) a node now."""
        self._life[name] += 1
        self.nodes[name] = self.build(name)
        self._step(name, Start(tuple(self.logs[name])))

    def crash(self, name: str, lose_disk: bool = False) -> None:
        self._life[name] += 1
        self.nodes.pop(name, None)
        for key in [k for k in self._timers if k[0] == name]:
            del self._timers[key]
        if lose_disk:
            self.logs[name] = []

    def submit(self, name: str, request: int, body: Any) -> None:
        self._step(name, Submit(request, body))

    def inject(self, to: str, sender: str, message: Message) -> None:
        """Hand `to` a message at once, as if `sender` had sent it."""
        self._step(to, Receive(sender, message))

    def run(self, until_ms: float, stop: Callable[[], bool] | None = None) -> None:
        """Process events up to virtual time `until_ms`, or until `stop()` is true."""
        until = int(until_ms * MS)
        while self._heap and self._heap[0][0] <= until:
            at, _, sequence, name, life, event = heapq.heappop(self._heap)
            self.now = max(self.now, at)
            if self._life[name] != life or name not in self.nodes:
                continue
            if isinstance(event, Expire):
                if self._timers.get((name, event.timer)) != sequence:
                    continue
                del self._timers[name, event.timer]
            self._step(name, event)
            if stop and stop():
                return
        self.now = max(self.now, until)

    def events(self, *names: str) -> list[tuple[int, str, str, Mapping[str, Any]]]:
        return [e for e in self.trace if e[2] in names]

    def _step(self, name: str, event: Event) -> None:
        for effect in self.nodes[name].step(self.now, event):
            match effect:
                case Send(to, message):
                    self._deliver(name, to, message)
                case Multicast(group, message):
                    for to in self.committee.members(group):
                        if to != name:
                            self._deliver(name, to, message)
                case SetTimer(timer, at):
                    self._push(max(at, self.now), name, Expire(timer))
                    self._timers[name, timer] = self._sequence
                case CancelTimer(timer):
                    self._timers.pop((name, timer), None)
                case Persist(record):
                    self.logs[name].append(record)
                case Emit(kind, fields):
                    self.trace.append((self.now, name, kind, fields))
                case Reply(request, value):
                    self.replies.append((name, request, value))
                case notice:
                    self.unrouted.append((self.now, name, notice))

    def _deliver(self, src: str, dst: str, message: Message) -> None:
        if dst not in self._life:
            return
        wait = self.delay(src, dst, message)
        if wait is not None:
            self._push(self.now + wait, dst, Receive(src, message))

    def _push(self, at: int, name: str, event: Event) -> None:
        self._sequence += 1
        heapq.heappush(self._heap, (at, self.rng.random(), self._sequence, name, self._life[name], event))
