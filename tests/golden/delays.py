"""A small run at an exact rhythm, for the promises stated in message delays, and what breaks each of them."""

from __future__ import annotations

from collections.abc import Callable

from tests.golden.planting import plant
from tests.golden.story import Record, Story
from tests.golden.world import MS, World

MD_MS = 100
VIEWS = range(1, 61)
DELAY = {"commit": 3, "certificate": 2}  # message delays after the proposal, after the batch's making


def rhythm(base: Story) -> Story:
    """A block a message delay, final after three; a batch every 130 ms, certified after two, in the next block."""
    story = base.copy()
    nodes = [*story.info["tribe"]]
    story.info |= {
        "md_ms": MD_MS,
        "load_start": 0,
        "load_end": 6500 * MS,
        "end": 6500 * MS,
        "faults": [],
        "byzantine": [],
    }
    story.history = []
    story.trace = [event for event in story.trace if event["event"] == "start"]
    made = [(f"{k:064x}", nodes[k % len(nodes)], k, 130 * k) for k in range(1, 40)]
    parent = "00" * 32
    for view in VIEWS:
        at = MD_MS * view
        ready = [m for m in made if at - MD_MS <= m[3] + DELAY["certificate"] * MD_MS < at]
        block, batches = f"{view:064x}", [batch for batch, *_ in ready]
        leader = nodes[view % len(nodes)]
        shape = {"view": view, "height": view, "block": block, "parent": parent, "batches": batches}
        story.trace.append(record(at, leader, "propose", **shape, kind="optimistic", payload_bytes=0))
        for node in [*nodes, *story.info["gateways"]]:
            final = {**shape, "proposer": leader, "rule": "two-chain", "timestamp_ms": at}
            story.trace.append(record(at + DELAY["commit"] * MD_MS, node, "finalise", **final))
        parent = block
    for batch, proposer, seq, at in made:
        slot = {"batch": batch, "proposer": proposer, "clan": 0, "seq": seq}
        story.trace.append(record(at, proposer, "batch", **slot, txs=[], bytes=0))
        for node in nodes:
            facts = {"tx_count": 0, "byte_length": 0, "created_ms": at, "signers": [], "signatures": []}
            story.trace.append(record(at + DELAY["certificate"] * MD_MS, node, "available", **slot, **facts))
    return story


def record(at_ms: int, node: str, event: str, **fields: object) -> Record:
    return {"time": at_ms * MS, "node": node, "incarnation": 1, "event": event, **fields}


def _later(kind: str, event: str, change: Callable[[int], int]) -> None:
    """Plant: every record of this event comes at another time."""
    checker = "cadence" if kind == "period" else "message-delays"

    @plant(checker, kind)
    def alter(world: World, story: Story) -> None:
        told = rhythm(story)
        for it in told.events(event):
            it["time"] = change(it["time"])
        story.info, story.history, story.trace = told.info, told.history, told.trace


_later("period", "propose", lambda time: time * 11 // 10)
_later("commit", "finalise", lambda time: time + 40 * MS)
_later("certificate", "available", lambda time: time + 30 * MS)
_later("queue", "available", lambda time: time - 20 * MS)
_later("end-to-end", "batch", lambda time: time - 60 * MS)
