"""Clusters with corrupted members, in memory: for the tests of the behaviours."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from random import Random
from typing import Any

from faults.byzantine.config import BehaviourSpec, ByzantineConfig
from faults.byzantine.port import Behaviour
from faults.byzantine.registry import corrupt
from faults.byzantine.side_channel import LOAD_START, MemoryHub
from faults.byzantine.wrapper import CorruptedNodeShell, Mounted
from nodes.committee import ClusterConfig, Committee, LeaderSchedule
from nodes.crypto import Ed25519Verifier
from nodes.messages import AvailabilityCertificate, Block, Message
from nodes.moonshot.core import MoonshotCore
from nodes.port import Effect, Emit, Event, Node, Receive, Send, Start, SubmitTransaction
from nodes.supra import SupraNode
from nodes.wallet import Wallet
from tests.driver import MS, Driver, domain_of, seed_of, signer_of, small_config

Use = tuple[str, dict[str, Any]]


class Canned:
    """A core that answers every message with the effects it was given, and records what it saw."""

    def __init__(self, *effects: Effect) -> None:
        self.effects = effects
        self.seen: list[Event] = []

    def step(self, now: int, event: Event) -> Sequence[Effect]:
        self.seen.append(event)
        return () if isinstance(event, Start) else self.effects


def shell_of(
    core: Node,
    *stack: Behaviour,
    me: str = "n6",
    coalition: Sequence[str] = ("n6",),
    config: ClusterConfig | None = None,
) -> CorruptedNodeShell:
    """`core` as node `me` of a cluster of seven with the behaviours mounted for ever."""
    config = config or small_config(7)
    mounted = [Mounted(i, b) for i, b in enumerate(stack)]
    signers = {n: signer_of(n) for n in coalition}
    return CorruptedNodeShell(core, me, Committee(config), domain_of(config), signers, mounted, MemoryHub().join(me))


def sends(effects: Sequence[Effect]) -> list[tuple[str, Message]]:
    return [(e.to, e.message) for e in effects if isinstance(e, Send)]


def emitted(effects: Sequence[Effect], event: str) -> list[dict[str, Any]]:
    return [e.fields for e in effects if isinstance(e, Emit) and e.event == event]


def receive(shell: CorruptedNodeShell, sender: str, message: Message, now: int = 0) -> Sequence[Effect]:
    return shell.step(now, Receive(sender, message))


class Empty:
    """Consensus without payload."""

    def collect(self, now: int, taken: frozenset[bytes]) -> tuple[AvailabilityCertificate, ...]:
        return ()

    def fault(self, block: Block, taken: frozenset[bytes]) -> str | None:
        return None


class Arena:
    """A driven cluster whose `coalition` runs `uses` from `start_ms` on.

    `halves` are cut from each other from 1 s on; nodes in neither hear everybody. A message takes `delay_ms` to 2 ms
    more, Delta is ten times that.
    """

    def __init__(
        self,
        coalition: Sequence[str],
        uses: Sequence[Use],
        halves: Sequence[Sequence[str]] = (),
        bare: bool = False,
        schedule: LeaderSchedule | None = None,
        seed: int = 0,
        start_ms: int = 500,
        delay_ms: int = 10,
        **config: Any,
    ) -> None:
        leaders = schedule or LeaderSchedule(kind="fair-succession")
        self.config = small_config(7, delta_ms=10 * delay_ms, leaders=leaders, accounts=16, **config)
        self.committee = Committee(self.config)
        self.domain = domain_of(self.config)
        self.coalition = tuple(coalition)
        self.shells: dict[str, CorruptedNodeShell] = {}
        hub, verifier = MemoryHub(), Ed25519Verifier()
        specs = tuple(BehaviourSpec(i, use, p, start_ms * MS) for i, (use, p) in enumerate(uses))
        seeds = {c: seed_of(c).hex() for c in coalition}

        def build(name: str) -> Node:
            core: Node
            if bare:
                signer = signer_of(name) if name in self.committee.index else None
                core = MoonshotCore(name, self.committee, self.domain, signer, verifier, Empty())
            else:
                core = SupraNode(name, self.config, signer_of(name), verifier)
            if name not in coalition:
                return core
            byzantine = ByzantineConfig(name, seeds, "", seed, specs)
            self.shells[name] = corrupt(core, self.committee, self.domain, byzantine, hub.join(name))
            return self.shells[name]

        side = {node: i for i, half in enumerate(halves) for node in half}

        def delay(src: str, dst: str, message: Message) -> int | None:
            if src in side and dst in side and side[src] != side[dst] and self.driver.now >= 1000 * MS:
                return None
            return delay_ms * MS + self.jitter.randrange(2 * MS)

        self.jitter = Random(seed)
        self.driver = Driver(self.committee, build, self.committee.members("everyone"), self._start_delay, seed)
        hub.announce(LOAD_START, 0)
        self.driver.delay = delay  # from here on it may read the driver's clock

    @staticmethod
    def _start_delay(src: str, dst: str, message: Message) -> int:
        return 10 * MS

    def load(self, until_ms: int, every_ms: int = 50) -> None:
        """Run, with a list-append transaction through g0 every so often, accounts in turn."""
        start = self.driver.now // MS
        for k, at in enumerate(range(start + every_ms, until_ms, every_ms)):
            self.driver.run(at)
            wallet = Wallet(signer_of(f"acct{k % 16}"), self.domain)
            transaction = wallet.list_append(k // 16, [["append", k % 5, k]])
            self.driver.submit("g0", k, SubmitTransaction(transaction))
        self.driver.run(until_ms)

    @property
    def honest(self) -> tuple[str, ...]:
        return tuple(n for n in self.committee.tribe if n not in self.coalition)

    def events(self, event: str) -> list[tuple[str, dict[str, Any]]]:
        """(node, fields) of honest nodes' and gateways' trace events."""
        return [(e[1], dict(e[3])) for e in self.driver.events(event) if e[1] not in self.coalition]

    def forks(self) -> dict[int, dict[str, list[str]]]:
        """Heights at which honest nodes finalised different blocks: height -> block -> nodes."""
        final: dict[int, dict[str, list[str]]] = {}
        for node, fields in self.events("finalise"):
            final.setdefault(fields["height"], {}).setdefault(fields["block"], []).append(node)
        return {height: blocks for height, blocks in final.items() if len(blocks) > 1}

    def phases(self) -> Counter[str]:
        return Counter(str(fields["phase"]) for _, fields in self.events("gateway"))

    def height(self) -> int:
        """The lowest finalised height of an honest node."""
        return min(int(self.driver.nodes[n].height) for n in self.honest)  # type: ignore[attr-defined]

    def executed(self) -> int:
        """The lowest executed height of an honest node."""
        return min(int(self.driver.nodes[n].executed) for n in self.honest)  # type: ignore[attr-defined]

    def bit(self) -> dict[str, list[bool]]:
        return {name: [m.behaviour.receipt.bit for m in shell.stack] for name, shell in self.shells.items()}
