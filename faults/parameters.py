"""Checks of a fault's parameters: every error names the key, the value and what is allowed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from faults.port import NodeId


def number(key: str, value: Any, low: float = 0.0, high: float = math.inf, unit: str = "") -> float:
    """`value` as a float in [low, high]. Raises ValueError."""
    good = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if not good or not low <= value <= high:
        bounds = f"from {low:g} to {high:g}" if high < math.inf else f"at least {low:g}"
        raise ValueError(f"{key} = {value!r}: a number {bounds}{' ' + unit if unit else ''}")
    return float(value)


def choice(key: str, value: Any, allowed: Sequence[str]) -> str:
    """`value` if it is one of `allowed`. Raises ValueError."""
    if value not in allowed or not isinstance(value, str):
        raise ValueError(f"{key} = {value!r}: one of {', '.join(allowed)}")
    return value


def flag(key: str, value: Any) -> bool:
    """`value` if it is a boolean. Raises ValueError."""
    if not isinstance(value, bool):
        raise ValueError(f"{key} = {value!r}: true or false")
    return value


def groups(key: str, value: Any) -> tuple[tuple[NodeId, ...], ...]:
    """Disjoint non-empty lists of node ids, at least two. Raises ValueError."""
    lists = isinstance(value, Sequence) and not isinstance(value, str)
    if lists and all(isinstance(g, Sequence) and not isinstance(g, str) and g for g in value) and len(value) >= 2:
        names = [n for g in value for n in g]
        if all(isinstance(n, str) for n in names) and len(names) == len(set(names)):
            return tuple(tuple(g) for g in value)
    raise ValueError(f'{key} = {value!r}: at least two disjoint lists of node ids, like [["n0", "n1"], ["n2"]]')


def words(key: str, value: Any, what: str) -> tuple[str, ...]:
    """A non-empty list of different strings. Raises ValueError."""
    listed = list(value) if isinstance(value, Sequence) and not isinstance(value, str) else []
    if listed and all(isinstance(word, str) and word for word in listed) and len(set(listed)) == len(listed):
        return tuple(listed)
    raise ValueError(f"{key} = {value!r}: a list of {what}")
