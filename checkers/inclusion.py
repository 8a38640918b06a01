"""The way of each forwarded transaction into the chain, with denominators: views, and honest leaders' blocks.

A delay in milliseconds says nothing by itself: a chain that stands still delays everybody. So each way is also counted
in opportunities: finalised blocks of never-faulty leaders that were proposed after the transaction was known.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from checkers.index import MS, Final, Index, once
from results.trace import TraceEvent

FULL_BYTES = 0.8  # of max_batch_bytes: a batch that holds more had no room for everybody
MOST_BATCHES = 50  # of a block


@dataclass(frozen=True)
class Held:
    """A batch that holds a transaction: who made it, when an honest node first had it, when one first saw it certified
    (None: never)."""

    batch: str
    proposer: str
    seen: int
    certified: int | None


@dataclass(frozen=True)
class Journey:
    """A transaction that an honest gateway forwarded; times in ns. `start`: when the bound begins to run."""

    tx: str
    sender: str  # "" if no honest node left its body
    forward: TraceEvent  # the first one
    known: TraceEvent | None  # when the first never-faulty member of its family received it
    start: int
    batches: tuple[Held, ...]  # by time
    final: Final | None
    views: int  # from the newest block proposed by then to its own block, or to the newest at the end
    opportunities: int  # blocks of never-faulty leaders after `start`, its own included
    expiry: int | None = None  # from then on nobody includes it; None: not known, it outlives the run

    @property
    def family(self) -> list[str]:
        return list(self.forward["family"])

    def lapsed(self, due: int) -> bool:
        """Did it expire, unordered, before it was due? Then nobody owed anything."""
        return self.final is None and self.expiry is not None and self.expiry <= due

    @property
    def certified(self) -> int | None:
        """When an honest node first saw a certificate of a batch that holds it."""
        return min((held.certified for held in self.batches if held.certified is not None), default=None)


class Timeline:
    """The finalised chain as opportunities: when each block was proposed, by whom, and what was full."""

    def __init__(self, index: Index) -> None:
        first: dict[str, int] = {}
        proposers: dict[str, str] = {}
        hop = int(index.info.md_ms * MS)
        for event in index.events("propose", "vote", "finalise"):
            time = int(event["time"]) - hop * (event["event"] == "vote")  # a corrupted leader's proposal by its effect
            first[event["block"]] = min(time, first.get(event["block"], time))
            if event["event"] == "finalise" and "proposer" in event:
                proposers[event["block"]] = event["proposer"]
        steady = set(index.steady)
        self.blocks = index.chain[0]
        self.leaders = [proposers.get(final.block, "") for final in self.blocks]
        self.times: list[int] = []  # of proposals, made ascending: a block is not older than its parent
        self.views = [final.view for final in self.blocks]
        self._honest: list[int] = [0]  # blocks of never-faulty leaders among the first k
        for final, leader in zip(self.blocks, self.leaders, strict=True):
            self.times.append(max(first[final.block], self.times[-1] if self.times else 0))
            self._honest.append(self._honest[-1] + (leader in steady))
        self._full = _full(index, self.blocks, self.times)

    def delay(self, start: int, final: Final | None) -> tuple[int, int]:
        """(views, opportunities) from `start` to the block, or to the end of the chain."""
        begin = bisect_right(self.times, start)
        end = final.height if final is not None else len(self.blocks)
        if end <= begin:
            return 0, 0
        before = self.views[begin - 1] if begin else 0
        return self.views[end - 1] - before, self._honest[end] - self._honest[begin]

    def between(self, since: int, until: int) -> range:
        """Places of blocks proposed after `since` and up to `until`."""
        return range(bisect_right(self.times, since), bisect_right(self.times, until))

    def saturated(self, since: int, until: int) -> bool:
        """Was a batch or a block full in that time?"""
        return bisect_right(self._full, until) > bisect_right(self._full, since)


def _full(index: Index, blocks: Sequence[Final], times: Sequence[int]) -> list[int]:
    """When batches (at their first sight) and blocks (at their proposal) were full, ascending."""
    parameters = index.info.parameters
    most_txs = int(parameters.get("max_batch_txs", 200))
    most_bytes = FULL_BYTES * float(parameters.get("max_batch_bytes", 500_000))
    found = [time for final, time in zip(blocks, times, strict=True) if len(final.batches) >= MOST_BATCHES]
    seen: set[str] = set()
    for event in index.events("batch"):
        if event["batch"] not in seen:
            seen.add(event["batch"])
            if len(event["txs"]) >= most_txs or event["bytes"] >= most_bytes:
                found.append(int(event["time"]))
    return sorted(found)


def timeline(index: Index) -> Timeline:
    """The timeline of a run, made once per index."""
    return once(index, Timeline)


def journeys(index: Index) -> list[Journey]:
    """The forwarded transactions by their first forward; made once per index.

    Left out are those that no never-faulty member of the family received, unless the whole family is Byzantine: then
    nobody owes anything, or somebody withheld it from the forward on.
    """
    return once(index, _journeys)


def _journeys(index: Index) -> list[Journey]:
    forwards = firsts(index.events("forward"))
    steady, corrupted = set(index.steady), set(index.info.byzantine)
    known = firsts([event for event in index.events("received") if event["node"] in steady])
    holders = _holders(index, set(forwards))
    senders, ends = _senders(index), expiries(index)
    line = timeline(index)
    found = []
    for tx, forward in forwards.items():
        event = known.get(tx)
        if event is None and not set(forward["family"]) <= corrupted:
            continue
        start = max(int((event or forward)["time"]), index.info.heal)
        placed = index.inclusions.get(tx)
        final = placed[0][0] if placed else None
        views, chances = line.delay(start, final)
        batches = tuple(sorted(holders.get(tx, ()), key=lambda held: (held.seen, held.batch)))
        sender = senders.get(tx, "")
        found.append(Journey(tx, sender, forward, event, start, batches, final, views, chances, ends.get(tx)))
    return found


def firsts(events: Sequence[TraceEvent]) -> dict[str, TraceEvent]:
    """Earliest record per transaction."""
    first: dict[str, TraceEvent] = {}
    for event in events:
        first.setdefault(event["tx"], event)
    return first


def _holders(index: Index, wanted: set[str]) -> dict[str, list[Held]]:
    """Transaction -> the batches that hold it, as far as honest nodes know."""
    seen: dict[str, int] = {}
    for event in index.events("batch", "body"):
        seen[event["batch"]] = min(int(event["time"]), seen.get(event["batch"], int(event["time"])))
    certified: dict[str, int] = {}
    for event in index.events("available"):
        certified.setdefault(event["batch"], int(event["time"]))
    found: dict[str, list[Held]] = {}
    for batch, txs in index.contents.items():
        key = index.keys.get(batch)
        if key is not None:
            held = Held(batch, key.proposer, seen.get(batch, 0), certified.get(batch))
            for tx in dict.fromkeys(txs):
                if tx in wanted:
                    found.setdefault(tx, []).append(held)
    return found


def _senders(index: Index) -> dict[str, str]:
    """Transaction -> address of its sender (hex), from bodies, else from what a client says it transferred."""
    found = {
        operation.tx: str(operation.value["from"])
        for operation in index.history
        if operation.tx and isinstance(operation.value, dict) and "from" in operation.value
    }
    for body in index.bodies[0].values():
        for tx in body.txs:
            found[tx.id] = tx.sender.hex()
    return found


def expiries(index: Index) -> dict[str, int]:
    """Transaction -> the end of its life (ns), as its wallet signed it; without those that outlive every run.

    From what the client recorded: a transaction that was dropped leaves no body to read it from.
    """
    return once(index, _expiries)


def _expiries(index: Index) -> dict[str, int]:
    return {
        operation.tx: operation.value["expiry_ms"] * MS
        for operation in index.history
        if operation.tx and isinstance(operation.value, dict) and isinstance(operation.value.get("expiry_ms"), int)
    }


def timeout_ns(index: Index) -> int:
    """After so long a secondary includes what its primary did not (2.5)."""
    return int(float(index.info.parameters.get("inclusion_timeout_ms", 2000)) * MS)
