"""Traps in what drives a run: twins, generators, the nemesis, the network, the nodes, the list of mutants."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from itertools import count
from random import Random
from typing import Any

from msgspec.structs import replace

from faults.port import Cluster, Link, Receipt
from faults.search.stage import Stage
from harness.backends.sim.cluster import SimCluster
from harness.backends.sim.node import SimNode
from harness.mutants import Function, Patch
from harness.nemesis import Planned
from harness.plan import Plan
from harness.scenario import Scenario
from harness.traps import Trap
from nodes import supra
from nodes.ideal import IdealSigner
from nodes.moonshot import engine
from nodes.port import Node

SIM = "harness.backends.sim.cluster:SimCluster."
SECOND = 1_000_000_000


# ---------------------------------------------------------------- twins and generators
class Impostor:
    """Signs with a key that is not the one it shows."""

    def __init__(self, signer: Any) -> None:
        self.public_key = signer.public_key
        self.sign = IdealSigner(bytes(32)).sign


def another_key(original: Function) -> Function:
    def second_core(again: Callable[[], Node] | None) -> Node:
        noting = supra.noting
        supra.noting = engine.noting = lambda signer, checks: Impostor(signer)  # type: ignore[assignment,return-value]
        try:
            core: Node = original(again)
            return core
        finally:
            supra.noting = engine.noting = noting

    return second_core


def no_second(original: Function) -> Function:
    return lambda behaviours: None


def never_a_twin(original: Function) -> Function:
    def lead(self: Stage, leaders: Sequence[str]) -> None:
        honest = [node for node in self.tribe if node not in self.byzantine]
        original(self, [n if n in honest else honest[i % len(honest)] for i, n in enumerate(leaders)])

    return lead


# ---------------------------------------------------------------- the network
def does_nothing(original: Function) -> Function:
    async def nothing(self: Any, *args: Any) -> None:
        return None

    return nothing


_cut: dict[int, list[Link]] = {}


def only_the_last(original: Function) -> Function:
    """SimCluster.cut takes back the cut before it."""

    async def cut(self: SimCluster, links: Iterable[Link]) -> None:
        new = list(links)
        await self.heal(_cut.pop(id(self), []))
        _cut[id(self)] = new
        await original(self, new)

    return cut


def banned(original: Function) -> Function:
    """SimNode.receive hears nobody again of whom it refused one message."""

    def receive(self: SimNode, sender: str, message: Any) -> None:
        shut_out = vars(self).setdefault("_shut_out", set())
        if sender not in shut_out:
            before = self.rejects.total
            original(self, sender, message)
            if self.rejects.total > before:
                shut_out.add(sender)

    return receive


# ---------------------------------------------------------------- the nemesis
def boasting(original: Function) -> Function:
    """Partition.inject cuts nothing and claims a hundred messages."""

    @asynccontextmanager
    async def inject(self: Any, cluster: Cluster, rng: Random) -> AsyncIterator[Receipt]:
        links = await self._links(cluster, rng)
        receipt = Receipt(self.name, tuple(f"{a}>{b}" for a, b in links), cluster.layer, cluster.now())
        receipt.matched, receipt.dropped, receipt.bit, receipt.heal_verified = len(links), 100, True, True
        yield receipt
        receipt.healed = cluster.now()

    return inject


def shifted(seconds: float) -> Callable[[Function], Function]:
    """planned_faults puts every window so long after the load's end."""

    def wrap(original: Function) -> Function:
        def planned_faults(plan: Plan, load_start: int) -> list[Planned]:
            found: list[Planned] = original(plan, load_start)
            start = load_start + int((plan.scenario.workload.duration_s + seconds) * SECOND)
            for planned in found:
                planned.info.start, planned.info.stop = start, start + SECOND
            return found

        return planned_faults

    return wrap


# ---------------------------------------------------------------- the nodes
def patient(original: Function) -> Function:
    """make_genesis gives a view three minutes."""

    def make_genesis(scenario: Scenario, seed: int, scheme: str = "ed25519") -> Any:
        slow = replace(scenario.cluster.parameters, delta_ms=60_000)
        return original(replace(scenario, cluster=replace(scenario.cluster, parameters=slow)), seed, scheme)

    return make_genesis


def crash_loop(original: Function) -> Function:
    """n0 ends now and then, and a supervisor starts it again at once."""
    messages = count(1)

    def receive(self: SimNode, sender: str, message: Any) -> None:
        if self.name == "n0" and next(messages) % 200 == 0:
            self.kill()
            self.start()
        else:
            original(self, sender, message)

    return receive


def keeps_quiet(original: Function) -> Function:
    return lambda self, *args: None


# ---------------------------------------------------------------- the list of mutants
def skipping(original: Function) -> Function:
    """load_mutants leaves out one that is not working as expected."""
    return lambda *args: tuple(mutant for mutant in original(*args) if mutant.id != "MM6")


MUTANTS = (
    Trap(
        "I1", "the second copy of a twinned replica has another key",
        (Patch("faults.byzantine.registry:second_core", another_key),), ("receipts",), "trap-twins",
    ),
    Trap(
        "I1b", "the second copy of a twinned replica does not exist",
        (Patch("faults.byzantine.registry:pair_of", no_second),), ("receipts",), "trap-twins",
    ),
    Trap(
        "I2", "the generator never lets a twinned replica lead",
        (Patch("faults.search.stage:Stage.lead", never_a_twin),), ("coverage",), generator="twins",
    ),
    Trap(
        "I5", "a partition is not applied", (Patch(SIM + "cut", does_nothing),), ("receipts",), "trap-partitions",
    ),
    Trap(
        "I5b", "a partition is never healed", (Patch(SIM + "heal", does_nothing),), ("receipts", "liveness"),
        "trap-partitions",
    ),
    Trap(
        "I5c", "of two partitions only the last one holds", (Patch(SIM + "cut", only_the_last),), ("receipts",),
        "trap-partitions",
    ),
    Trap(
        "I6", "the nemesis does nothing", (Patch("harness.nemesis:Nemesis._one", does_nothing),), ("receipts",),
        "trap-partitions",
    ),
    Trap(
        "I6b", "a fault does nothing, and its receipt says that it did",
        (Patch("faults.partition:Partition.inject", boasting),), ("receipts",), "trap-partitions",
    ),
    Trap(
        "I7", "all faults are scheduled after the load",
        (Patch("harness.runner:planned_faults", shifted(1)),), ("receipts",), "trap-partitions",
    ),
    Trap(
        "I7b", "all faults are scheduled for the last moments of the load",
        (Patch("harness.runner:planned_faults", shifted(-0.3)),), ("receipts",), "trap-partitions",
    ),
    Trap(
        "I9", "nodes hear nobody again of whom they refused one message",
        (Patch("harness.backends.sim.node:SimNode.receive", banned),), ("receipts",), "trap-banned",
    ),
    Trap(
        "I10", "a view takes three minutes to time out", (Patch("harness.plan:make_genesis", patient),), ("liveness",),
        "trap-partitions",
    ),
    Trap(
        "I10b", "the same in a run in which nothing is wrong", (Patch("harness.plan:make_genesis", patient),),
        ("liveness",), "fault-free-4",
    ),
    Trap(
        "I13", "a node crashes in a loop, and nobody sees a conflict",
        (Patch("harness.backends.sim.node:SimNode.receive", crash_loop),), ("liveness",), "fault-free-4",
    ),
    Trap(
        "H1", "nodes find replicas that contradict themselves, and accuse nobody",
        (
            Patch("nodes.moonshot.evidence:Evidence.accuse", keeps_quiet),
            Patch("nodes.xrbc.report:Accusations.make", keeps_quiet),
            Patch("nodes.xrbc.report:Accusations.second_batch", keeps_quiet),
        ),
        ("receipts", "accusations"), "trap-twins",
    ),
    Trap("I14", "a known bug is left out", (Patch("harness.mutants:load_mutants", skipping),), ("catalogue",)),
)  # fmt: skip
