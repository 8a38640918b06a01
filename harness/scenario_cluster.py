"""The cluster section of a scenario: who there is, for the Supra stack and for systems that are not ours."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import msgspec

from harness import plugins
from harness.outcome import nearest
from harness.toml import Table
from nodes.committee import LeaderSchedule, Parameters

MAX_NODES = 400
OURS = "supra"
MOST_FOREIGN = 25  # of a system that is not ours: every ordered pair of nodes has a proxy


class ClusterSection(msgspec.Struct, frozen=True):
    """Who there is. Names are made here: tribe n0.., gateways g0..; every tribe node is in exactly one clan.

    A system that is not ours has a tribe only; `options` are its target's own.
    """

    target: str
    tribe: tuple[str, ...]
    clans: tuple[tuple[str, ...], ...]
    gateways: tuple[str, ...]
    leaders: LeaderSchedule
    parameters: Parameters
    options: dict[str, Any] = {}


def read_cluster(table: Table) -> ClusterSection:
    """The section; raises ScenarioError for what makes no sense in it."""
    target = table.take("target", str, OURS)
    if target != OURS:
        return _foreign(table, target)
    count = table.whole("nodes", low=4, high=MAX_NODES)
    gateways = table.whole("gateways", 1, low=1, high=50)
    tribe = tuple(f"n{i}" for i in range(count))
    clans = _clans(table, tribe)
    leaders = table.raw("leaders", "fair-succession")
    if isinstance(leaders, list):
        read_members(table, "leaders", leaders, tribe)
        schedule = LeaderSchedule("fixed", tuple(leaders))
    elif leaders in ("fair-succession", "round-robin"):
        schedule = LeaderSchedule(leaders)
    else:
        raise table.error("leaders", f'must be "fair-succession", "round-robin" or a list of nodes, not {leaders!r}')
    parameters = _parameters(table.table("parameters"))
    table.done()
    return ClusterSection(target, tribe, clans, tuple(f"g{i}" for i in range(gateways)), schedule, parameters)


def _foreign(table: Table, target: str) -> ClusterSection:
    """Of a system that is not ours; how many nodes it needs, and what its options mean, it says itself (plan.py)."""
    if not plugins.is_file(target) and target not in targets():
        raise table.error("target", f"no target {target!r}; {nearest(target, targets())}")
    count = table.whole("nodes", low=1, high=MOST_FOREIGN)
    options = table.table("options").rest()
    table.done()
    tribe = tuple(f"n{i}" for i in range(count))
    return ClusterSection(target, tribe, (), (), LeaderSchedule("fair-succession"), Parameters(), options)


def targets() -> list[str]:
    """Names of all targets, ours first."""
    return [OURS, *plugins.registered("targets")]


def _clans(table: Table, tribe: tuple[str, ...]) -> tuple[tuple[str, ...], ...]:
    value = table.raw("clans", 1)
    n = len(tribe)
    if isinstance(value, int) and not isinstance(value, bool):
        if not 1 <= value <= n // 3:
            raise table.error("clans", f"{n} nodes make 1 to {n // 3} clans (at least 3 members each), not {value}")
        bounds = [n * c // value for c in range(value + 1)]
        return tuple(tribe[a:b] for a, b in pairwise(bounds))
    if not isinstance(value, list) or not all(isinstance(clan, list) and clan for clan in value):
        raise table.error("clans", f"must be a number of clans or lists of nodes, not {value!r}")
    for clan in value:
        read_members(table, "clans", clan, tribe)
    assigned = [node for clan in value for node in clan]
    if sorted(assigned) != sorted(tribe):
        wrong = sorted(set(tribe) - set(assigned)) or sorted({node for node in assigned if assigned.count(node) > 1})
        raise table.error("clans", f"every node belongs to exactly one clan; look at {', '.join(wrong)}")
    return tuple(tuple(clan) for clan in value)


def read_members(table: Table, key: str, names: Any, known: tuple[str, ...]) -> None:
    """Refuse a list that is empty or names a node that does not exist."""
    if not isinstance(names, list | tuple) or not names or not all(isinstance(n, str) for n in names):
        raise table.error(key, f"must be a list of nodes such as {list(known[:2])}, not {names!r}")
    for name in names:
        if name not in known:
            raise table.error(key, f"there is no node {name!r}; this cluster has {known[0]}..{known[-1]}")


def _parameters(table: Table) -> Parameters:
    known = [field.name for field in msgspec.structs.fields(Parameters)]
    values = table.rest()
    for name in values:
        if name not in known:
            raise table.error(name, f"unknown protocol parameter; {nearest(name, known)}")
        if isinstance(values[name], int) and values[name] < 0:
            raise table.error(name, f"must not be negative, not {values[name]}")
    try:
        return msgspec.convert(values, Parameters)
    except msgspec.ValidationError as error:
        raise table.source.error(table.path, str(error)) from error
