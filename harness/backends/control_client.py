"""Asking a node's control port (JSON lines over TCP; contract in nodes/runtime/control.py)."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import msgspec

from faults.port import Link, LinkCount, NodeId, NodeStatus

ASK_S = 3.0


class LinkReport(msgspec.Struct, frozen=True):
    """Counters of the links from and to one peer."""

    sent: int = 0
    received: int = 0
    refused: int = 0  # dials that failed
    delay_us: int = -1  # one way, of the last keep-alive from the peer; -1: none yet


class StatusReport(msgspec.Struct, frozen=True):
    """The reply to {"op":"status"}; further fields are ignored."""

    node: str
    incarnation: int = 0
    view: int = 0
    height: int = 0
    executed: int = 0
    certified: int = 0
    rejected: int = 0
    pid: int = 0
    links: dict[str, LinkReport] = {}


async def ask(address: tuple[str, int], op: str, timeout_s: float = ASK_S) -> dict[str, Any] | None:
    """The reply to one request; None when there is none in time (down, paused, starting) or it is not JSON."""
    writer = None
    try:
        async with asyncio.timeout(timeout_s):
            reader, writer = await asyncio.open_connection(*address)
            writer.write(msgspec.json.encode({"op": op}) + b"\n")
            reply: dict[str, Any] = msgspec.json.decode(await reader.readuntil(b"\n"), type=dict)
            return reply
    except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, msgspec.MsgspecError):
        return None
    finally:
        if writer is not None:
            writer.transport.abort()


async def ask_status(address: tuple[str, int], timeout_s: float = ASK_S) -> StatusReport | None:
    """The node's own report, or None."""
    reply = await ask(address, "status", timeout_s)
    try:
        return None if reply is None else msgspec.convert(reply, StatusReport)
    except msgspec.ValidationError:
        return None


def node_status(node: NodeId, report: StatusReport | None) -> NodeStatus:
    """As the cluster port gives it."""
    if report is None:
        return NodeStatus(node=node, up=False)
    return NodeStatus(
        node=node,
        up=True,
        incarnation=report.incarnation,
        view=report.view,
        height=report.height,
        executed=report.executed,
        certified=report.certified,
        rejected=report.rejected,
        pid=report.pid,
    )


def link_counts(reports: Mapping[NodeId, StatusReport | None], dropped: Mapping[Link, int]) -> dict[Link, LinkCount]:
    """Per directed link: what the sender says it sent, what the receiver says it got, what the fault layer dropped."""
    links: dict[NodeId, dict[str, LinkReport]] = {n: {} if r is None else r.links for n, r in reports.items()}
    nothing = LinkReport()
    return {
        (a, b): LinkCount(
            sent=links[a].get(b, nothing).sent,
            received=links[b].get(a, nothing).received,
            dropped=dropped.get((a, b), 0),
        )
        for a in reports
        for b in reports
        if a != b
    }


def round_trip_ms(link: Link, reports: Mapping[NodeId, StatusReport | None]) -> float | None:
    """Round trip of the last keep-alives there and back, as the link's two nodes measured them; None before the first.

    `reports` holds both nodes' reports.
    """
    a, b = link
    there, back = reports[b], reports[a]
    if there is None or back is None or a not in there.links or b not in back.links:
        return None
    delays = (there.links[a].delay_us, back.links[b].delay_us)
    return None if min(delays) < 0 else sum(delays) / 1000
