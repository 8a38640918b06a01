"""One pass over a run's honest evidence, shared by all checkers of that run.

Byzantine nodes' own words are left out here, once and for all; batch bodies prove themselves by their hash.
"""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

from checkers.arithmetic import Bounds
from checkers.encoding import Body, body
from checkers.evidence import EvidenceError, Notary
from results.history import Operation
from results.store import Run, RunInfo
from results.trace import TraceEvent

MS = 1_000_000  # ns
_HELD = "_derived_by_checkers"  # attribute of a Run or Index
T = TypeVar("T")
S = TypeVar("S")


@dataclass(frozen=True)
class Final:
    """A finalised block as honest nodes recorded it; `time` and `node` are those of the first to finalise it."""

    height: int
    view: int
    block: str
    parent: str
    batches: tuple[str, ...]
    timestamp_ms: int | None
    time: int
    node: str


@dataclass(frozen=True)
class Key:
    """The slot of a batch: (clan, proposer, seq)."""

    clan: int
    proposer: str
    seq: int


@dataclass(frozen=True)
class Placed:
    """A finalised block with its batches sorted into effective, void (slot already taken) and of unknown slot."""

    final: Final
    effective: tuple[tuple[str, Key], ...]
    void: tuple[str, ...]
    unknown: tuple[str, ...]


class Index:
    """Look-ups over the honest events of one run. Node sets are tuples in roster order."""

    def __init__(self, run: Run) -> None:
        self.info = run.info
        self._history = run
        self.bounds = Bounds(self.info)
        self.notary = Notary(self.info)
        corrupted = set(self.info.byzantine)
        faulty = corrupted | set(self.info.crashed) | set(self.info.amnesiac)
        everyone = [*self.info.tribe, *self.info.gateways]
        self.honest = tuple(node for node in everyone if node not in corrupted)
        self._by_name: dict[str, list[TraceEvent]] = {}
        known = set(self.honest)
        ordered = sorted(run.trace, key=lambda e: (int(e["time"]), e["node"]))  # stable: a node's own order stays
        self.all_events = [event for event in ordered if event["node"] in known]  # of honest nodes and gateways
        for event in self.all_events:
            self._by_name.setdefault(event["event"], []).append(event)
        self.end = self.info.end or max((int(event["time"]) for event in self.all_events), default=0)
        heard = {event["node"] for event in self.all_events}
        self.mute = tuple(node for node in self.honest if node not in heard)  # left no record: cannot be judged
        starts = Counter(event["node"] for event in self.events("start", "restart"))
        faulty |= {node for node in self.info.gateways if starts[node] > 1}  # run.json lists crashed tribe nodes only
        faulty |= set(self.mute)
        self.steady = tuple(node for node in everyone if node not in faulty)  # never faulty in this run

    def events(self, *names: str) -> list[TraceEvent]:
        """Events of honest nodes and gateways with one of the names, by time (within one name)."""
        return [event for name in names for event in self._by_name.get(name, ())]

    @property
    def history(self) -> Sequence[Operation]:
        """Client and nemesis operations in file order."""
        return self._history.history

    @cached_property
    def finals(self) -> dict[int, list[Final]]:
        """height -> the different blocks finalised there (more than one: a fork), the earliest first."""
        found: dict[int, dict[str, Final]] = {}
        for event in self.events("finalise"):
            at = found.setdefault(event["height"], {})
            if event["block"] not in at:
                at[event["block"]] = Final(
                    event["height"],
                    event["view"],
                    event["block"],
                    event["parent"],
                    tuple(event["batches"]),
                    event.get("timestamp_ms"),
                    int(event["time"]),
                    event["node"],
                )
        return {h: sorted(at.values(), key=lambda f: (f.time, f.block)) for h, at in sorted(found.items())}

    @cached_property
    def chain(self) -> tuple[list[Final], str]:
        """The undisputed finalised chain from height 1, and why it ends ("" at its tip)."""
        chain: list[Final] = []
        for height, blocks in self.finals.items():
            if height != len(chain) + 1:
                return chain, f"no honest node recorded height {len(chain) + 1}"
            if len(blocks) > 1:
                return chain, f"honest nodes finalised different blocks at height {height}"
            chain.append(blocks[0])
        return chain, ""

    @cached_property
    def bodies(self) -> tuple[dict[str, Body], list[TraceEvent]]:
        """Batch id -> body, recomputed from the bytes; and the `body` events whose bytes are not that batch."""
        return bodies_of(self.events("body"))

    @cached_property
    def keys(self) -> dict[str, Key]:
        """Batch id -> slot, from bodies, else from what honest nodes stored, voted for or saw certified."""
        keys: dict[str, Key] = {}
        for event in self.events("available", "availability_vote", "batch"):
            keys[event["batch"]] = Key(event["clan"], event["proposer"], event["seq"])
        for held in self.bodies[0].values():
            keys[held.id] = Key(held.clan, held.proposer, held.seq)
        return keys

    @cached_property
    def contents(self) -> dict[str, tuple[str, ...]]:
        """Batch id -> ids of its transactions, from bodies or `batch` events."""
        contents = {event["batch"]: tuple(event["txs"]) for event in self.events("batch")}
        contents.update({held.id: tuple(tx.id for tx in held.txs) for held in self.bodies[0].values()})
        return contents

    @cached_property
    def placed(self) -> list[Placed]:
        """The chain with its batches classified. EQ-FIRST: the first batch of a slot counts; EQ-BOTH: all do."""
        both = self.info.parameters.get("equivocation", "first") == "both"
        taken: set[Key] = set()
        placed: list[Placed] = []
        for final in self.chain[0]:
            effective: list[tuple[str, Key]] = []
            void: list[str] = []
            for batch in final.batches:
                key = self.keys.get(batch)
                if key is None:
                    continue
                if key in taken and not both:
                    void.append(batch)
                else:
                    effective.append((batch, key))
                taken.add(key)
            unknown = tuple(batch for batch in final.batches if batch not in self.keys)
            placed.append(Placed(final, tuple(effective), tuple(void), unknown))
        return placed

    @cached_property
    def inclusions(self) -> dict[str, list[tuple[Final, str]]]:
        """Transaction id -> the effective finalised batches that hold it, in order."""
        found: dict[str, list[tuple[Final, str]]] = {}
        for place in self.placed:
            for batch, _ in place.effective:
                for tx in self.contents.get(batch, ()):
                    found.setdefault(tx, []).append((place.final, batch))
        return found

    @property
    def undisturbed(self) -> bool:
        """No fault and no corrupted replica was declared."""
        return undisturbed(self.info)

    def workload(self) -> str:
        """The workload's kind, "" if the scenario has none."""
        return workload(self.info)


def undisturbed(info: RunInfo) -> bool:
    """No fault and no corrupted replica was declared."""
    return not (info.faults or info.byzantine or info.crashed or info.amnesiac)


def workload(info: RunInfo) -> str:
    """The workload's kind, "" if the scenario has none."""
    declared: Any = info.scenario.get("workload") or {}
    return str(declared.get("kind", ""))


def bodies_of(events: Iterable[TraceEvent]) -> tuple[dict[str, Body], list[TraceEvent]]:
    """Batch id -> body, recomputed from the bytes of `body` events; and the events whose bytes are not that batch."""
    bodies: dict[str, Body] = {}
    damaged: list[TraceEvent] = []
    seen: set[tuple[str, str]] = set()
    for event in events:
        if (event["batch"], event["data"]) in seen:
            continue
        seen.add((event["batch"], event["data"]))
        try:
            decoded = body(base64.b64decode(event["data"], validate=True))
        except (EvidenceError, ValueError):
            damaged.append(event)
            continue
        if decoded.id == event["batch"]:
            bodies[decoded.id] = decoded
        else:
            damaged.append(event)
    return bodies, damaged


def once(source: S, make: Callable[[S], T]) -> T:
    """`make(source)`, made once per source object. It is kept on the source, and dies with it: a table of weak
    references would keep both for ever, since what is derived knows its source, and campaigns judge thousands of runs.
    """
    held: dict[Any, Any] = vars(source).setdefault(_HELD, {})
    if make not in held:
        held[make] = make(source)
    made: T = held[make]
    return made


def index_of(run: Run) -> Index:
    """The index of a run, made once per Run object."""
    return once(run, Index)
