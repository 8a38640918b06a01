"""Naming what chance chose in a run: corrupted nodes, victims, who was cut off from whom.

The pinned scenario does in any later run what the seed did in this one, so taking a fault away leaves the others alone.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Sequence
from typing import Any

from faults import topology
from faults.port import Link
from harness import plugins
from harness.shrinking.edits import BEHAVIOURS, FAULTS, Values, get, put
from results.history import Operation
from results.store import RunInfo

CHANCE = ("one", "minority", "third", "leader", "clan-majority", "clan-minority")  # words of faults/victims.py


def pinned(values: Values, info: RunInfo, history: Iterable[Operation]) -> Values:
    """The scenario with chance replaced by what it chose; what cannot be named (a ring) stays as it is."""
    if get(values, ("adversary", "nodes"), 0) and not isinstance(values["adversary"]["nodes"], list):
        values = put(values, ("adversary", "nodes"), list(info.byzantine))
    targets = {
        op.value["id"]: op.value["targets"] for op in history if op.process == "nemesis" and op.f == "start"
    }  # fmt: skip
    first = len(get(values, BEHAVIOURS, [])) + 1
    for index, fault in enumerate(get(values, FAULTS, [])):
        fixed = _fixed(fault, targets.get(first + index, []), [*info.tribe, *info.gateways])
        values = put(values, (*FAULTS, index), fixed)
    return values


def _fixed(fault: dict[str, Any], targets: Sequence[str], nodes: Sequence[str]) -> dict[str, Any]:
    """The fault with its victims, or groups, by name."""
    if not targets or isinstance(fault.get("victims"), list) or "groups" in fault:
        return fault
    if not any(">" in target for target in targets):
        named = "victims" in fault or "nodes" not in fault
        return fault | {"victims": list(targets)} if named else fault
    links = [_link(target) for target in targets]
    if fault["use"] == "partition":
        return _partition(fault, links, nodes)
    chosen = [key for key in ("victims", "senders", "receivers") if _by_chance(fault.get(key))]
    if not chosen:
        return fault
    victims = [node for node in nodes if all((node, other) in links for other in nodes if other != node)]
    if chosen == ["victims"] and victims and set(topology.touching(nodes, victims)) == set(links):
        return fault | {"victims": victims}
    if "links" in inspect.signature(plugins.load("faults", fault["use"])).parameters:
        rest = {key: value for key, value in fault.items() if key not in ("victims", "senders", "receivers")}
        return rest | {"links": list(targets)}
    return fault


def _by_chance(victims: Any) -> bool:
    """Does the seed, or the moment, decide whom this means?"""
    return isinstance(victims, str) and victims.partition(":")[0] in CHANCE


def _partition(fault: dict[str, Any], links: Sequence[Link], nodes: Sequence[str]) -> dict[str, Any]:
    shape = fault.get("topology", "halves")
    if shape in ("isolate", "one-way"):
        direction = fault.get("direction", "out")
        for victims in _candidates(links, direction if shape == "one-way" else "both", nodes):
            made = (
                topology.one_way(nodes, victims, direction) if shape == "one-way" else topology.isolate(nodes, victims)
            )
            if set(made) == set(links):
                return fault | {"victims": victims}
        return fault
    groups = groups_of(links, nodes)
    if groups is None:
        return fault
    rest = {key: value for key, value in fault.items() if key not in ("topology", "victims", "direction", "gateways")}
    return rest | {"groups": groups}


def _candidates(links: Sequence[Link], direction: str, nodes: Sequence[str]) -> list[list[str]]:
    """Who may be the victims of cut links: those that reach nobody (out), or hear nobody (in)."""
    cut = set(links)
    silent = [n for n in nodes if all((n, other) in cut for other in nodes if other != n)]
    deaf = [n for n in nodes if all((other, n) in cut for other in nodes if other != n)]
    return [deaf] if direction == "in" else [silent]


def groups_of(links: Sequence[Link], nodes: Sequence[str]) -> list[list[str]] | None:
    """The groups between which exactly these links are cut; None when no groups say that."""
    cut = set(links)
    groups: dict[tuple[str, ...], list[str]] = {}
    for node in nodes:
        away = tuple(other for other in nodes if (node, other) in cut)
        if away:
            groups.setdefault(away, []).append(node)
    found = list(groups.values())
    return found if len(found) > 1 and set(topology.split(found)) == cut else None


def _link(target: str) -> Link:
    sender, _, receiver = target.partition(">")
    return sender, receiver
