"""Scenarios with fewer nodes: who is taken out goes from every list, and the others move up (n0, n1, ... no gaps)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

_NAME = re.compile(r"\b[ng]\d+\b")
_ONLY_NAME = re.compile(r"[ng]\d+")
GONE: Any = object()


def keep(values: dict[str, Any], tribe: Sequence[str], gateways: Sequence[str]) -> dict[str, Any]:
    """The scenario with only these tribe nodes and gateways (their old names, in order).

    Lists lose the names that are gone, and go themselves when nothing is left in them; a lone name that is gone takes
    its key along. Numbers of clans are lowered to what the tribe can make.
    """
    new = {old: f"n{i}" for i, old in enumerate(tribe)} | {old: f"g{i}" for i, old in enumerate(gateways)}
    result: dict[str, Any] = {}
    for key, value in values.items():
        renamed = value if key in ("name", "description") else _renamed(value, new)
        if renamed is not GONE:
            result[key] = renamed
    cluster = dict(result["cluster"])
    cluster["nodes"] = len(tribe)
    if len(gateways) > 1 or "gateways" in cluster:
        cluster["gateways"] = len(gateways)
    if isinstance(cluster.get("clans"), int):
        cluster["clans"] = max(1, min(cluster["clans"], len(tribe) // 3))
    result["cluster"] = cluster
    return result


def _renamed(value: Any, new: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        pairs = [(key, _renamed(inner, new)) for key, inner in value.items()]
        return {key: inner for key, inner in pairs if inner is not GONE}
    if isinstance(value, list):
        items = [inner for item in value if (inner := _renamed(item, new)) is not GONE]
        return items if items or not value else GONE
    if isinstance(value, str) and _ONLY_NAME.fullmatch(value):
        return new.get(value, GONE)
    if isinstance(value, str) and ".py:" not in value:  # "n0>n1", "VOTE 38 n0 n1"
        names = _NAME.findall(value)
        return GONE if any(name not in new for name in names) else _NAME.sub(lambda m: new[m.group()], value)
    return value


def spread(items: Sequence[str], count: int) -> list[str]:
    """`count` of the items, evenly spaced: where neighbours are alike, each neighbourhood keeps somebody."""
    return [items[i * len(items) // count] for i in range(min(count, len(items)))]
