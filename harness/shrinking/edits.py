"""Changing a scenario's values (decoded TOML): every function returns a changed copy, or reads."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, TypeAlias

from harness.outcome import UsageError
from harness.toml import duration

Values: TypeAlias = dict[str, Any]
Path: TypeAlias = tuple[str | int, ...]

FAULTS: Path = ("fault",)
BEHAVIOURS: Path = ("adversary", "behaviour")
WINDOW = ("from", "until")
SECTIONS = ("cluster", "network", "workload")  # stay, even empty


def get(values: Any, path: Sequence[str | int], default: Any = None) -> Any:
    """The value at a path of keys and indices, or `default`."""
    for part in path:
        try:
            values = values[part]
        except (KeyError, IndexError, TypeError):
            return default
    return values


def put(values: Values, path: Path, value: Any) -> Values:
    """With `value` at the path; None takes the key away, and the tables round it that are empty then."""
    result = copy.deepcopy(values)
    chain: list[Any] = [result]
    for part in path[:-1]:
        inner: Any = chain[-1]
        chain.append(inner.setdefault(part, {}) if isinstance(inner, dict) else inner[part])
    if value is not None:
        chain[-1][path[-1]] = value
        return result
    chain[-1].pop(path[-1], None)
    for above, part in zip(reversed(chain[:-1]), reversed(path[:-1]), strict=True):
        if isinstance(above, list) or above[part] or part in SECTIONS:
            break
        del above[part]
    return result


def entries(values: Values) -> list[tuple[Path, dict[str, Any]]]:
    """Every fault and behaviour with its path."""
    return [((*path, i), entry) for path in (FAULTS, BEHAVIOURS) for i, entry in enumerate(get(values, path, []))]


def lists(values: Values, path: Path) -> list[Path]:
    """Places of lists of several things in the entry at `path`, outermost first; a range of views is none."""
    found: list[Path] = []
    queue = [path]
    while queue:
        place = queue.pop(0)
        value = get(values, place)
        inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        queue += [(*place, key) for key, below in inner if isinstance(below, dict | list)]
        if isinstance(value, list) and len(value) > 1 and place[-1] != "views":
            found.append(place)
    return found


def corrupting(values: Values, nodes: Sequence[str]) -> Values:
    """Only these nodes are corrupted, and behave as they did."""
    behaviours = []
    for behaviour in get(values, BEHAVIOURS, []):
        named = [node for node in behaviour.get("nodes", nodes) if node in nodes]
        if named:
            behaviours.append(behaviour | ({"nodes": named} if "nodes" in behaviour else {}))
    values = put(values, BEHAVIOURS, behaviours or None)
    return put(values, ("adversary", "nodes"), list(nodes) or None)


# ---------------------------------------------------------------- windows, in ms after the load start
def milliseconds(text: str) -> int:
    """Of a duration as scenarios write it: "12s" is 12000."""
    return round(duration(text, UsageError) * 1000)


def spoken(ms: int) -> str:
    """A duration as scenarios write it."""
    return f"{ms // 1000}s" if ms % 1000 == 0 else f"{ms}ms"


def start_of(entry: dict[str, Any]) -> int:
    """When it begins."""
    return milliseconds(entry.get("from", "0s"))


def end_of(entry: dict[str, Any]) -> int | None:
    """When it ends; None: nobody ends it."""
    return milliseconds(entry["until"]) if "until" in entry else None


def windowed(entry: dict[str, Any], start: int, end: int | None) -> dict[str, Any]:
    """The entry with this window."""
    window = ({"from": spoken(start)} if start else {}) | ({} if end is None else {"until": spoken(end)})
    return {key: value for key, value in entry.items() if key not in WINDOW} | window


def union(first: dict[str, Any], second: dict[str, Any]) -> dict[str, Any] | None:
    """One entry for both windows, if the two differ in nothing else."""
    if windowed(first, 0, None) != windowed(second, 0, None):
        return None
    ends = end_of(first), end_of(second)
    last = None if ends[0] is None or ends[1] is None else max(ends[0], ends[1])
    return windowed(first, min(start_of(first), start_of(second)), last)


def cut_short(values: Values, seconds: int) -> Values:
    """A load of so many seconds: the faults that are on end with it, and what begins later is gone."""
    limit = seconds * 1000
    values = put(values, ("workload", "duration"), spoken(limit))
    for path in (FAULTS, BEHAVIOURS):
        kept = []
        for entry in get(values, path, []):
            end = end_of(entry)
            outlives = path == FAULTS and end is not None and end >= limit
            if start_of(entry) < limit:
                kept.append(windowed(entry, start_of(entry), None if outlives else end))
        values = put(values, path, kept or None)
    return values if get(values, BEHAVIOURS) else put(values, ("adversary", "nodes"), None)
