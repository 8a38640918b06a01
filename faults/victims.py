"""Whom a fault hits: pure functions from a roster (and the current view) to nodes.

Words: one | minority | third | leader | all | tribe | gateways | honest | byzantine | clan-majority[:K] |
clan-minority[:K]; a node id; or a list of node ids. Chance is the caller's seeded generator; words that pick some of
the nodes pick honest ones, because what a corrupted node suffers proves nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import Any, TypeAlias

from faults.port import NodeId, NodeStatus, Roster
from nodes.committee import Committee, clan_faults, clan_majority, tribe_faults

VictimSpec: TypeAlias = str | tuple[NodeId, ...]


def _some(count: int, among: Sequence[NodeId], rng: Random) -> tuple[NodeId, ...]:
    return tuple(sorted(rng.sample(sorted(among), min(count, len(among)))))


def one(roster: Roster, rng: Random) -> tuple[NodeId, ...]:
    """One honest tribe node."""
    return _some(1, roster.honest, rng)


def minority(roster: Roster, rng: Random) -> tuple[NodeId, ...]:
    """The largest number of honest tribe nodes that is less than half of the tribe."""
    return _some((len(roster.tribe) - 1) // 2, roster.honest, rng)


def third(roster: Roster, rng: Random) -> tuple[NodeId, ...]:
    """f_t honest tribe nodes: as many as the tribe tolerates."""
    return _some(tribe_faults(len(roster.tribe)), roster.honest, rng)


def leader(roster: Roster, view: int) -> tuple[NodeId, ...]:
    """The leader of `view`. Raises ValueError when the roster has no schedule (a target without leaders)."""
    if not roster.leaders:
        raise ValueError('victims = "leader": this target names no leader schedule; choose "one" or a list of nodes')
    return (roster.leaders[view % len(roster.leaders)],)


def clan_part(roster: Roster, clan: int, rng: Random, majority: bool) -> tuple[NodeId, ...]:
    """M (`majority`) or f_c members of a clan, honest ones first. Raises ValueError when there is no such clan."""
    if not 0 <= clan < len(roster.clans):
        raise ValueError(f"victims: no clan {clan}; there are {len(roster.clans)}, numbered from 0")
    members = roster.clans[clan]
    count = clan_majority(len(members)) if majority else clan_faults(len(members))
    honest = [n for n in members if n in roster.honest]
    chosen = _some(count, honest, rng)
    return tuple(sorted(chosen + _some(count - len(chosen), [n for n in members if n not in honest], rng)))


def primary(tx: bytes, committee: Committee, clan: int) -> tuple[NodeId, ...]:
    """The batch proposer that must include the transaction (rank 0 of its family, protocol.md 2.5)."""
    return committee.family(tx, clan)[:1]


_GROUPS: Mapping[str, Callable[[Roster], tuple[NodeId, ...]]] = {
    "all": lambda roster: roster.nodes,
    "tribe": lambda roster: roster.tribe,
    "gateways": lambda roster: roster.gateways,
    "honest": lambda roster: roster.honest,
    "byzantine": lambda roster: roster.byzantine,
}
_PICKED: Mapping[str, Callable[[Roster, Random], tuple[NodeId, ...]]] = {
    "one": one,
    "minority": minority,
    "third": third,
}
WORDS = (*_PICKED, "leader", *_GROUPS, "clan-majority[:K]", "clan-minority[:K]")


def parse(value: Any, key: str = "victims") -> VictimSpec:
    """A `victims` parameter as a scenario holds it, shape checked. Raises ValueError naming key, value and choices."""
    if isinstance(value, str) and value:
        name, _, number = value.partition(":")
        if name in ("clan-majority", "clan-minority") and number and not number.isdigit():
            raise ValueError(f"{key} = {value!r}: the clan is a number, like {name}:0")
        return value
    if isinstance(value, Sequence) and not isinstance(value, str) and value and all(isinstance(n, str) for n in value):
        return tuple(value)
    raise ValueError(f"{key} = {value!r}: give {' | '.join(WORDS)}, a node id, or a list of node ids")


def resolve(spec: VictimSpec, roster: Roster, rng: Random, view: int = 0) -> tuple[NodeId, ...]:
    """The nodes that `spec` means now. Raises ValueError when it names no node of this roster, or none at all."""
    if not isinstance(spec, str):
        chosen = spec
    elif spec in roster.nodes:
        chosen = (spec,)
    elif spec in _PICKED:
        chosen = _PICKED[spec](roster, rng)
    elif spec in _GROUPS:
        chosen = _GROUPS[spec](roster)
    elif spec == "leader":
        chosen = leader(roster, view)
    elif spec.partition(":")[0] in ("clan-majority", "clan-minority"):
        name, _, number = spec.partition(":")
        chosen = clan_part(roster, int(number or 0), rng, name == "clan-majority")
    else:
        raise ValueError(f"victims = {spec!r}: give {' | '.join(WORDS)}, a node id, or a list of node ids")
    unknown = sorted(set(chosen) - set(roster.nodes))
    if unknown or not chosen:
        problem = f"no such node: {', '.join(unknown)}" if unknown else "names nobody in this cluster"
        raise ValueError(f"victims = {spec!r}: {problem}; nodes are {', '.join(roster.nodes)}")
    return tuple(chosen)


def current_view(statuses: Sequence[NodeStatus]) -> int:
    """The highest view that a node which is up reports (0 when none is)."""
    return max((s.view for s in statuses if s.up), default=0)
