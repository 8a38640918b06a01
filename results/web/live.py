"""A run while it is on, from the ends of its files: heights and views of the nodes, operations, active faults.

Nothing is kept between two looks, and no look reads more than TAIL_BYTES of a file: a long night is as cheap to watch
as a short run. A last line without its end is still being written and is left out.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from results.history import UNDECODABLE, HistoryError
from results.store import Run

TAIL_BYTES = 256 * 1024
LAST_OPERATIONS = 14
MAX_POINTS = 60  # of a node's height, a look


def snapshot(directory: Path) -> dict[str, Any]:
    """What can be seen of the run in `directory` now.

    {"scenario", "seconds", "nodes": [{"node", "byzantine", "height", "view", "last", "points": [[time, height]]}],
    "operations": {type: count in the tail}, "counted": all | the newest, "recent": [...], "active": [faults]}; times in
    seconds of the run. Missing files are no error.
    """
    try:
        info = Run(directory).info
    except HistoryError:
        return {"scenario": "", "seconds": 0.0, "nodes": [], "operations": {}, "recent": [], "active": []}
    nodes = [_node(directory, node, node in info.byzantine) for node in (*info.tribe, *info.gateways)]
    operations, whole = _tail(directory / "history.jsonl", directory)
    counts: dict[str, int] = {}
    for op in operations:
        if op.get("process") != "nemesis":
            counts[str(op.get("type"))] = counts.get(str(op.get("type")), 0) + 1
    times = [op["time"] for op in operations if isinstance(op.get("time"), int)] + [
        int(node["last"] * 1e9) for node in nodes
    ]
    return {
        "scenario": info.name,
        "seconds": round(max(times, default=0) / 1e9, 3),
        "nodes": nodes,
        "operations": counts,
        "counted": "all" if whole else "the newest",
        "recent": [_told(op) for op in operations[-LAST_OPERATIONS:]],
        "active": _active(operations),
    }


def _node(directory: Path, node: str, byzantine: bool) -> dict[str, Any]:
    base = directory / "nodes" / node
    events = [e for path in (base / "data" / "trace.jsonl", base / "trace.jsonl") for e in _tail(path, directory)[0]]
    events = [event for event in events if isinstance(event.get("time"), int)]
    finals = [e for e in events if e.get("event") == "finalise" and isinstance(e.get("height"), int)]
    views = [e["view"] for e in events if e.get("event") == "enter" and isinstance(e.get("view"), int)]
    step = max(1, len(finals) // MAX_POINTS)
    return {
        "node": node,
        "byzantine": byzantine,
        "height": finals[-1]["height"] if finals else -1,
        "view": views[-1] if views else -1,
        "last": max((round(event["time"] / 1e9, 3) for event in events), default=0.0),
        "points": [[round(e["time"] / 1e9, 3), e["height"]] for e in finals[::-1][::step][::-1]],
    }


def _tail(path: Path, inside: Path) -> tuple[list[dict[str, Any]], bool]:
    """The last whole records of a JSON lines file in `inside`, and whether these are all of them."""
    try:
        if path.is_symlink() or not path.resolve(strict=True).is_relative_to(inside):
            return [], True
        with path.open("rb") as file:
            size = file.seek(0, 2)
            begin = max(0, size - TAIL_BYTES)
            file.seek(begin)
            data = file.read(TAIL_BYTES)
    except OSError:
        return [], True
    data = data[: data.rfind(b"\n") + 1]
    if begin:
        data = data[data.find(b"\n") + 1 :]
    records = []
    for line in data.splitlines():
        try:
            record = msgspec.json.decode(line)
        except UNDECODABLE:
            continue
        if isinstance(record, dict):
            records.append(record)
    return records, begin == 0


def _told(op: dict[str, Any]) -> dict[str, str]:
    """An operation as a line of the list."""
    time = op.get("time")
    value = msgspec.json.encode(op.get("value")).decode()
    return {
        "at": f"{time / 1e9:.2f} s" if isinstance(time, int) else "",
        "who": str(op.get("process", "")),
        "what": f"{op.get('type', '')} {op.get('f', '')}",
        "value": value if len(value) <= 90 else value[:89] + "…",
    }


def _active(operations: list[dict[str, Any]]) -> list[str]:
    """Faults that started in the tail and have not stopped."""
    on: dict[Any, str] = {}
    for op in operations:
        value = op.get("value")
        if op.get("process") != "nemesis" or not isinstance(value, dict):
            continue
        ident = str(value.get("id"))
        if op.get("f") == "start":
            on[ident] = str(value.get("use", "?"))
        elif op.get("f") == "stop":
            on.pop(ident, None)
    return list(on.values())
