"""prefix: a finalised block is never reverted (claim instant-finality; I-PFX)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar, TypeAlias

from checkers.index import Index
from checkers.judge import Judge, conclude, record, short
from results.trace import TraceEvent
from results.verdict import Anomaly, Verdict

_UNBORN = (0, -1)
Common: TypeAlias = dict[int, dict[str, dict[str, TraceEvent]]]  # height -> block -> node -> its first record


@dataclass
class _Log:
    """What one node has finalised so far, over its incarnations."""

    starts: int = 0
    life: tuple[int, int] = _UNBORN  # (starts, incarnation): a node that lost its disk counts incarnations anew
    restarted: bool = False
    tip: int = 0  # last height of this incarnation; 0: none yet
    top: int = 0  # highest height of any incarnation
    blocks: dict[int, TraceEvent] = field(default_factory=dict)


class Prefix(Judge):
    """Each node's finalised chain only grows, link by link, across restarts, and all nodes' chains agree.

    Anomalies: gap, broken-link, rewritten (same node, same height, another block), repeated (within an incarnation),
    diverged (two nodes, same height). A node killed between its log and its trace may miss records at a restart: a
    gap there is allowed if other honest nodes' records bridge it by parent links. Examined: finalise records.
    """

    property: ClassVar[str] = "prefix"
    columnar: ClassVar[str] = "checkers.columnar.prefix"

    def judge(self, index: Index) -> Verdict:
        events = index.events("finalise")
        common: Common = {}
        anomalies: list[Anomaly] = []
        bridged = again = 0
        lives: dict[str, list[TraceEvent]] = {}
        for event in sorted(index.events("start", "restart", "finalise"), key=lambda e: int(e["time"])):
            lives.setdefault(event["node"], []).append(event)
        links = {event["block"]: event["parent"] for event in events}
        for node in sorted(lives):
            found = grown(lives[node], links)
            anomalies += found.anomalies
            bridged, again = bridged + found.bridged, again + found.again
        for event in events:
            common.setdefault(event["height"], {}).setdefault(event["block"], {}).setdefault(event["node"], event)
        anomalies += diverged(common)
        return concluded(self.property, len(events), anomalies, len(lives), len(common), bridged, again)


def concluded(
    property: str, examined: int, anomalies: list[Anomaly], nodes: int, heights: int, bridged: int, again: int
) -> Verdict:
    """The verdict."""
    measures = {"nodes": nodes, "heights": heights, "gaps_bridged": bridged, "repeated_after_restart": again}
    return conclude(property, examined, anomalies, measures, "no honest node finalised a block")


@dataclass
class Growth:
    """What one node's records show: anomalies, gaps bridged by others' records, heights finalised more than once."""

    anomalies: list[Anomaly] = field(default_factory=list)
    bridged: int = 0
    again: int = 0


def grown(life: Iterable[TraceEvent], links: Mapping[str, str]) -> Growth:
    """One node's start, restart and finalise records, by time; `links` are parents of blocks, as anybody recorded."""
    log, growth = _Log(), Growth()
    for event in life:
        if event["event"] != "finalise":
            log.starts += 1
            continue
        growth.again += event["height"] in log.blocks
        found, bridge = _judge_record(log, event, links)
        growth.anomalies += found
        growth.bridged += bridge
    return growth


def _judge_record(log: _Log, event: TraceEvent, links: Mapping[str, str]) -> tuple[list[Anomaly], int]:
    """Anomalies of one finalise record against its node's own past, and whether a restart gap was bridged."""
    height, node = event["height"], event["node"]
    life = (log.starts, event["incarnation"])
    if life != log.life:
        log.restarted = log.life != _UNBORN
        log.life, log.tip = life, 0
    anomalies = []
    bridged = 0
    last = log.top
    due = log.tip + 1 if log.tip or not log.restarted else min(height, last + 1)
    before = log.blocks.get(height)
    if before is not None and before["block"] != event["block"]:
        summary = (
            f"{node} finalised {short(before['block'])} at height {height}, and later {short(event['block'])}"
            f" (incarnations {before['incarnation']} and {event['incarnation']})"
        )
        anomalies.append(Anomaly("rewritten", summary, [record(before), record(event)]))
    elif log.tip and height <= log.tip:
        witness = [record(before or log.blocks[log.tip]), record(event)]
        anomalies.append(Anomaly("repeated", f"{node} finalised height {height} again after height {log.tip}", witness))
    elif height > due:
        if not log.tip and log.restarted and _bridge(event, log.blocks[last], links):
            bridged = 1
        else:
            summary = f"{node} finalised height {height} where {due} was next"
            anomalies.append(Anomaly("gap", summary, [record(e) for e in (log.blocks.get(last), event) if e]))
    below = log.blocks.get(height - 1)
    if below is not None and below["block"] != event["parent"]:
        summary = (
            f"{node}: the block at height {height} has parent {short(event['parent'])},"
            f" but {short(below['block'])} is final at height {height - 1}"
        )
        anomalies.append(Anomaly("broken-link", summary, [record(below), record(event)]))
    log.blocks[height] = event
    log.tip = max(log.tip, height)
    log.top = max(log.top, height)
    return anomalies, bridged


def _bridge(event: TraceEvent, last: TraceEvent, links: Mapping[str, str]) -> bool:
    """Do other nodes' records lead from the event's parent down to the node's last block?"""
    block = event["parent"]
    for _ in range(event["height"] - last["height"] - 1):
        if block not in links:
            return False
        block = links[block]
    return bool(block == last["block"])


def diverged(common: Common) -> list[Anomaly]:
    """Heights known to two nodes under different blocks; a node at odds with itself alone is `rewritten`."""
    anomalies = []
    for height in sorted(common):
        records = [next(iter(by_node.values())) for by_node in common[height].values()]
        nodes = {node for by_node in common[height].values() for node in by_node}
        if len(records) > 1 and len(nodes) > 1:
            told = ", ".join(f"{' and '.join(by_node)} {short(block)}" for block, by_node in common[height].items())
            summary = f"at height {height} these have different blocks: {told}; neither chain is a prefix of the other"
            anomalies.append(Anomaly("diverged", summary, [record(event) for event in records]))
    return anomalies
