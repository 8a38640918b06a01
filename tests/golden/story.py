"""A golden run in one file: first line run.json's fields, then {"h": history record} or {"t": trace record} a line."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import msgspec

from results.history import Operation
from results.store import Run, RunInfo

Record = dict[str, Any]


class Story:
    """A small run held in memory, easy to alter: plain dicts as in run.json, history.jsonl and trace.jsonl."""

    def __init__(self, info: Record, history: list[Record], trace: list[Record]) -> None:
        self.info, self.history, self.trace = info, history, trace

    def copy(self) -> Story:
        return Story(copy.deepcopy(self.info), copy.deepcopy(self.history), copy.deepcopy(self.trace))

    def events(self, name: str, /, **fields: Any) -> list[Record]:
        """Trace records (the very dicts, for altering) of one event whose fields have the given values."""
        return [e for e in self.trace if e["event"] == name and all(e.get(k) == v for k, v in fields.items())]

    def drop(self, name: str, /, **fields: Any) -> None:
        gone = {id(e) for e in self.events(name, **fields)}
        self.trace = [e for e in self.trace if id(e) not in gone]

    def add(self, event: Record, /, **changes: Any) -> Record:
        """Append a changed copy of a trace record; returns it."""
        added: Record = copy.deepcopy(event) | changes
        self.trace.append(added)
        return added

    def tell(self, *operations: Record) -> None:
        """Put history records where their times belong, and number all of them anew."""
        self.history = sorted([*self.history, *operations], key=lambda o: int(o["time"]))
        for index, operation in enumerate(self.history):
            operation["index"] = index

    def shuffled(self, rng: Random) -> Story:
        """Unrelated records in another order: nodes are written one after the other, each keeping its own order."""
        blocks: dict[str, list[Record]] = {}
        for event in self.trace:
            blocks.setdefault(event["node"], []).append(event)
        nodes = sorted(blocks)
        rng.shuffle(nodes)
        return Story(self.info, list(self.history), [event for node in nodes for event in blocks[node]])

    def only(self, *names: str) -> Story:
        """The story with the named trace events alone: what one checker reads."""
        return Story(self.info, self.history, [e for e in self.trace if e["event"] in names])

    def run(self) -> Run:
        run = Run(Path("golden"))
        encoded = msgspec.json.encode(self.info)
        history = [msgspec.convert(record, Operation) for record in self.history]
        run.__dict__["info"] = msgspec.json.decode(encoded, type=RunInfo)
        run.__dict__["history"] = history
        run.__dict__["trace"] = sorted(copy.deepcopy(self.trace), key=lambda e: int(e["time"]))
        return run

    def save(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = [self.info, *({"h": r} for r in self.history), *({"t": r} for r in self.trace)]
        path.write_bytes(b"".join(msgspec.json.encode(line) + b"\n" for line in lines))


def load(path: Path) -> Story:
    """Read a golden file."""
    first, *rest = [msgspec.json.decode(line) for line in path.read_bytes().splitlines()]
    history = [line["h"] for line in rest if "h" in line]
    return Story(first, history, [line["t"] for line in rest if "t" in line])


Plant = Callable[[Story], None]
