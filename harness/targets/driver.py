"""Operations on a target, and what their endings mean: the driver of the load for systems that are not ours."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Protocol, cast

import msgspec

from faults.port import NodeId
from harness.backends.port import RunningCluster
from harness.http import NeverSentError
from harness.load import Asked, Opening, Told
from harness.targets.port import Node, Operation, Outcome, Target
from harness.workloads.traffic import Traffic

PATIENCE = 2.0  # times a target's own patience: then an operation is given up
_ORDER = ("ok", "info", "fail")  # of several copies of one operation: one that took effect did


class ProgramNodes(Protocol):
    """What the driver needs of a cluster of programs."""

    def clients(self) -> Mapping[NodeId, Node]:
        """The nodes that clients may ask, by id."""
        ...


class TargetDriver:
    """One workload on one target."""

    def __init__(self, target: Target, traffic: Traffic) -> None:
        self._target = target
        self._traffic = traffic

    @asynccontextmanager
    async def open(self, cluster: RunningCluster) -> AsyncIterator[Opening]:
        """See `harness.load.Driver`."""
        nodes = cast(ProgramNodes, cluster).clients()
        names = tuple(nodes)
        yield lambda number: TargetProcess(self, nodes, names[number % len(names)], number)

    def next(self, number: int) -> Operation:
        """What the workload asks for."""
        return self._traffic.next(number)

    async def perform(self, operation: Operation, nodes: Sequence[Node]) -> Outcome:
        """Carry it out on each of the nodes at the same time; it took effect if it did on one."""
        outcomes = await asyncio.gather(*(concluded(self._target, operation, node) for node in nodes))
        return min(outcomes, key=lambda outcome: _ORDER.index(outcome.kind))


class TargetProcess:
    """One process: it asks its own node, or those that the operation names."""

    def __init__(self, driver: TargetDriver, nodes: Mapping[NodeId, Node], own: NodeId, number: int) -> None:
        self._driver = driver
        self._nodes = nodes
        self._own = own
        self._number = number
        self._operation: Operation

    def next(self) -> Asked:
        """See `harness.load.Process`."""
        self._operation = self._driver.next(self._number)
        if not self._operation.nodes:
            self._operation = msgspec.structs.replace(self._operation, nodes=(self._own,))
        return Asked(self._operation.f, self._operation.value, self._operation.tx, self._operation.nodes[0])

    async def perform(self) -> Told:
        """See `harness.load.Process`."""
        operation = self._operation
        outcome = await self._driver.perform(operation, [self._nodes[node] for node in operation.nodes])
        return Told(outcome.kind, outcome.value, outcome.error, tx=outcome.tx)


async def concluded(target: Target, operation: Operation, node: Node) -> Outcome:
    """One operation on one node, its end in Jepsen's words whatever the target raises.

    What was certainly not sent is a fail; all other trouble leaves open what became of it, unless it only observes.
    """
    try:
        async with asyncio.timeout(PATIENCE * target.patience_s):
            outcome = await target.perform(operation, node)
    except (NeverSentError, ConnectionRefusedError) as error:
        return Outcome("fail", error=f"never sent: {node.id} does not answer: {error}")
    except Exception as error:
        outcome = Outcome("info", error=f"{node.id}: {type(error).__name__} {error}".strip())
    if outcome.kind == "info" and operation.observes:
        return msgspec.structs.replace(outcome, kind="fail")
    return outcome
