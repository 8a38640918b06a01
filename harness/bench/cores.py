"""What the protocol cores cost per delivered message: whole nodes, tracing on, ideal signatures, a minimal event loop.

Every message takes 50 ms. So one heap entry stands for one multicast, and its receivers are stepped one after another;
effects are looked at as far as a simulator must (sends, timers), everything else is dropped. Cost is CPU time of this
process, cyclic garbage collection off, as a simulator would have it.
"""

from __future__ import annotations

import gc
import heapq
import time
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import msgspec

from nodes.committee import Account, ClusterConfig, Committee, Member
from nodes.crypto import Domain
from nodes.ideal import IdealSigner, IdealVerifier
from nodes.messages import Message, NodeId
from nodes.port import CancelTimer, Effect, Event, Expire, Multicast, Send, SetTimer, Start, Submit, SubmitTransaction
from nodes.supra import SupraNode, build
from nodes.wallet import Wallet

DELAY_NS = 50_000_000
_SECOND = 1_000_000_000


class Size(msgspec.Struct, frozen=True):
    """A cluster of `nodes` in `clans`, run for `messages` deliveries; under load `rate` transactions a second."""

    nodes: int
    clans: int
    messages: int
    rate: int


SIZES = (Size(4, 1, 60_000, 20), Size(31, 1, 150_000, 20), Size(100, 3, 300_000, 20), Size(300, 6, 900_000, 20))


def seed_of(name: str) -> bytes:
    """The 32-byte key seed of a node or an account of these clusters."""
    return name.encode().ljust(32, b".")


def config_of(size: Size, accounts: int = 8) -> ClusterConfig:
    """A tribe in contiguous clans with one gateway and funded accounts, all with ideal keys."""

    def member(name: NodeId) -> Member:
        return Member(name, IdealSigner(seed_of(name)).public_key.hex())

    names = [f"n{i}" for i in range(size.nodes)]
    bounds = [size.nodes * clan // size.clans for clan in range(size.clans + 1)]
    addresses = (IdealSigner(seed_of(f"a{i}")).public_key.hex() for i in range(accounts))
    return ClusterConfig(
        chain="bench",
        epoch=0,
        cycle=0,
        beacon="00" * 32,
        tribe=tuple(member(name) for name in names),
        gateways=(member("g0"),),
        clans=tuple(tuple(names[a:b]) for a, b in pairwise(bounds)),
        accounts=tuple(Account(address, 1_000_000) for address in addresses),
    )


class Cluster:
    """Whole nodes on a virtual clock with one constant delay. `delivered` counts messages."""

    def __init__(self, size: Size, accounts: int = 8) -> None:
        config = config_of(size, accounts)
        committee = Committee(config)
        names = committee.members("everyone")
        referee = IdealVerifier(seed_of(name) for name in (*names, *(f"a{i}" for i in range(accounts))))
        domain = Domain(config.chain, config.epoch, config.cycle)
        self.delivered = 0
        self.now = 0
        self.nodes = {name: build(name, config, IdealSigner(seed_of(name)), referee) for name in names}
        self._wallets = [Wallet(IdealSigner(seed_of(f"a{i}")), domain) for i in range(accounts)]
        self._submitted = 0
        self._heap: list[tuple[int, int, NodeId, tuple[SupraNode, ...], Any]] = []
        self._pushed = 0
        self._armed: dict[tuple[NodeId, str], int] = {}
        groups = ("tribe", "gateways", "everyone", *(f"clan:{clan}" for clan in range(size.clans)))
        self._others = {
            (name, group): tuple(self.nodes[other] for other in committee.members(group) if other != name)
            for name in names
            for group in groups
        }
        for name, node in self.nodes.items():
            self._carry_out(name, node.step(0, Start()))

    @property
    def height(self) -> int:
        """Height that every node has finalised."""
        return min(node.height for node in self.nodes.values())

    def run(self, messages: int, rate: int = 0) -> None:
        """Go on until `messages` more are delivered; `rate` transactions a virtual second go to the gateway."""
        goal = self.delivered + messages
        due = self.now
        while self.delivered < goal:
            at, number, sender, receivers, body = heapq.heappop(self._heap)
            self.now = at
            while rate and due <= at:
                self._submit()
                due += _SECOND // rate
            if sender:
                self.delivered += len(receivers)
                for node in receivers:
                    effects = node.receive(at, sender, body)
                    if effects:
                        self._carry_out(node.me, effects)
            else:
                name = receivers[0].me
                if self._armed.get((name, body.timer)) == number:
                    self._carry_out(name, receivers[0].step(at, body))

    def _submit(self) -> None:
        """One transfer of the next account to itself, which is its clan's alone, at the gateway."""
        count = len(self._wallets)
        seq, account = divmod(self._submitted, count)
        wallet = self._wallets[account]
        transaction = wallet.transfer(seq, wallet.address, 1)
        event: Event = Submit(self._submitted, SubmitTransaction(transaction))
        self._submitted += 1
        self._carry_out("g0", self.nodes["g0"].step(self.now, event))

    def _carry_out(self, name: NodeId, effects: Sequence[Effect]) -> None:
        for effect in effects:
            kind = type(effect)
            if kind is Multicast:
                self._push(self.now + DELAY_NS, name, self._others[name, effect.group], effect.message)  # type: ignore[union-attr]
            elif kind is Send:
                self._push(self.now + DELAY_NS, name, (self.nodes[effect.to],), effect.message)  # type: ignore[union-attr]
            elif kind is SetTimer:
                self._armed[name, effect.timer] = self._pushed  # type: ignore[union-attr]
                self._push(effect.at, "", (self.nodes[name],), Expire(effect.timer))  # type: ignore[union-attr]
            elif kind is CancelTimer:
                self._armed.pop((name, effect.timer), None)  # type: ignore[union-attr]

    def _push(self, at: int, sender: NodeId, receivers: tuple[SupraNode, ...], body: Message | Expire) -> None:
        if receivers:
            heapq.heappush(self._heap, (at, self._pushed, sender, receivers, body))
        self._pushed += 1


def rate_of(size: Size, load: bool) -> float:
    """Delivered messages per CPU second, after a warm-up of a tenth of them."""
    cluster = Cluster(size)
    rate = size.rate if load else 0
    cluster.run(size.messages // 10, rate)
    enabled = gc.isenabled()
    gc.disable()
    try:
        delivered, start = cluster.delivered, time.process_time()
        cluster.run(size.messages, rate)
        spent = time.process_time() - start
        delivered = cluster.delivered - delivered
    finally:
        if enabled:
            gc.enable()
    if not cluster.height:
        raise RuntimeError(f"{size.nodes} nodes finalised nothing in {size.messages} messages: nothing was measured")
    return delivered / spent


def figures(sizes: Sequence[Size] = SIZES) -> Iterator[dict[str, Any]]:
    """Messages per CPU second for each size, without load and with. There is no peer in this run: ratio is None."""
    for size in sizes:
        for load in (False, True):
            name = f"cores: n={size.nodes}, {'light load' if load else 'consensus only'}"
            yield {"name": name, "value": rate_of(size, load), "unit": "messages/CPU s", "peer": None, "ratio": None}
