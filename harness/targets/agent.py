"""What is seen of a node that is not ours: one observer a node, which asks, and writes the node's trace."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from faults.port import NodeId, NodeStatus
from harness.targets.port import Node, Report, Target

POLL_S = 0.25
PATIENCE_S = 3.0  # a node that does not answer for so long is reported as not up


class Agent:
    """The observer of one node, over all its lives. `incarnation` counts these, from 1."""

    def __init__(self, target: Target, node: Node, file: Path, now: Callable[[], int]) -> None:
        self.incarnation = 0
        self.leader = ""  # the last one it knew
        self.down = False  # it was killed: nobody need ask
        self._target, self._node, self._now = target, node, now
        self._file: BinaryIO = file.open("ab")
        self._encoder = msgspec.json.Encoder()
        self._asking = asyncio.Lock()
        self._upset = 0  # what was asked before the node was killed or stopped is not what it says afterwards
        self._since = 0
        self._said: tuple[int, int, str] | None = None
        self._watching: asyncio.Task[None] | None = None

    # ---------------------------------------------------------------- life
    def born(self) -> None:
        """The node's process has been started: all its blocks are read again, as this life has them."""
        self.upset()
        self.down = False
        self.incarnation += 1
        self._since, self._said = 0, None
        first = self.incarnation == 1
        self._write({"event": "start"} if first else {"event": "restart", "recovered": 0})

    def upset(self, down: bool = False) -> None:
        """The node is being killed (`down`), frozen or thawed: forget what is being asked."""
        self._upset += 1
        self.down |= down

    def watch(self) -> None:
        """Ask again and again, until `close`."""
        self._watching = asyncio.create_task(self._watch())

    async def close(self) -> None:
        """No more questions; the trace is complete."""
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.gather(self._watching, return_exceptions=True)
        self._file.close()

    async def _watch(self) -> None:
        while True:
            await self.observe()
            await asyncio.sleep(POLL_S)

    # ---------------------------------------------------------------- asking
    async def observe(self) -> Report | None:
        """Ask once, and write what is new to the trace; None when the node does not answer."""
        return None if self.down else await self._ask()

    async def _ask(self) -> Report | None:
        async with self._asking:
            before = self._upset
            try:
                async with asyncio.timeout(PATIENCE_S):
                    report = await self._target.status(self._node, self._since)
            except (OSError, TimeoutError):  # not sent and not answered among them
                return None
            if report is None or before != self._upset or self._file.closed:
                return None
            self._keep(report)
            return report

    def _keep(self, report: Report) -> None:
        for event in report.events:
            if event["event"] == "finalise":
                self._since = max(self._since, int(event["height"]))
            self._write(event)
        said = (report.height, report.view, report.leader)
        if said != self._said:
            self._said = said
            self._write({"event": "progress", "height": said[0], "view": said[1], "leader": said[2]})
        self.leader = report.leader or self.leader  # while there is none, the last one is meant

    def _write(self, event: Mapping[str, Any]) -> None:
        head = {"time": self._now(), "node": self._node.id, "incarnation": self.incarnation}
        self._file.write(self._encoder.encode({**head, **event}) + b"\n")
        self._file.flush()


def status_of(node: NodeId, report: Report | None, incarnation: int, pid: int) -> NodeStatus:
    """As the cluster port gives it: what is decided counts as executed."""
    if report is None:
        return NodeStatus(node, up=False)
    return NodeStatus(node, True, incarnation, report.view, report.height, executed=report.height, pid=pid)
