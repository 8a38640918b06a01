"""The swarm generator: a random scenario within a stated regime, a pure function of a base scenario and a seed.

Swarm testing: each scenario enables a random subset of what there is, so that no piece always hides another. Drawn are
the tribe's size (every residue mod 3), clans, leaders, latency, transport, disks, protocol constants, the adversary and
the faults; load, checks and limits are the base's, and so is each section that is named as fixed. A base that declares
an adversary or faults of its own keeps them, and the cluster that they were made for: then only what costs nothing of
any bound is drawn on top. Within the bound nothing may break, so there every violation is a finding.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from copy import deepcopy
from random import Random
from typing import Any

from faults.port import NodeId
from faults.profiles import base_shapes, mean_delay_ms
from faults.search.drawing import Kind
from faults.search.kinds import BEHAVIOURS, CORE, FAULTS
from faults.search.partitions import random_partition
from faults.search.world import World
from nodes.committee import tribe_faults

SIZES = range(4, 14)
SECTIONS = ("cluster", "network", "adversary", "fault")
REGIMES = ("within", "beyond")
MOST_FAULTS = 4
MOST_BEHAVIOURS = 3
CORE_ONLY = 0.4  # of the scenarios: attacks of the library are many, need an occasion, and would crowd out the rest
LEADERS = ("fair-succession", "round-robin", "permutation", "byzantine-heavy")
MD_OF_LOAD = (1 / 45, 1 / 20)  # a message delay as a share of the load: 20 to 45 blocks while all is well
_UNITS_MS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000}


def swarm(base: Mapping[str, Any], seed: int, regime: str = "within", fixed: Collection[str] = ()) -> dict[str, Any]:
    """The scenario of this seed, as a TOML document's values. Raises ValueError for a regime or section that is none.

    `regime` is what is drawn for a base without an adversary of its own; `fixed` are sections taken from the base.
    """
    values = draw_scenario(base, Random(f"moonquake/swarm/{seed}"), regime, fixed)
    values["name"] = f"{base['name']}-swarm"
    values["description"] = f"Drawn by the swarm generator from {base['name']}, seed {seed}."
    return values


def draw_scenario(
    base: Mapping[str, Any], rng: Random, regime: str = "within", fixed: Collection[str] = ()
) -> dict[str, Any]:
    """As `swarm`, with all choices made by `rng` (hypothesis brings its own, which shrinks)."""
    if regime not in REGIMES:
        raise ValueError(f"regime = {regime!r}: one of {', '.join(REGIMES)}")
    for section in fixed:
        if section not in SECTIONS:
            raise ValueError(f"fixed section {section!r}: one of {', '.join(SECTIONS)}")
    values: dict[str, Any] = deepcopy(dict(base))
    kept = {*fixed, *(("cluster", "adversary") if _anchored(base) else ())}
    world = _cluster(values, rng, "cluster" in kept, 0 if regime == "within" else 1)
    world.load_ms = milliseconds(values["workload"].get("duration", "12s"))
    _network(values, world, "network" in kept)
    if "adversary" in kept:
        world.byzantine = _named(values)
    else:
        _adversary(values, world, regime)
    _leaders(values, world)
    _parameters(values, world)
    if "fault" not in fixed:
        _faults(values, world, free="adversary" in kept)
    if "adversary" not in kept:
        _declare(values, world, regime)
    return values


def milliseconds(text: str) -> int:
    """A duration as scenarios write it ("1.5s"), in ms. Raises ValueError."""
    match = re.match(r"^(\d+(?:\.\d+)?)(ms|s|m|h)$", text)
    if match is None:
        raise ValueError(f'{text!r} is no duration such as "12s"')
    return max(1, round(float(match.group(1)) * _UNITS_MS[match.group(2)]))


def _anchored(base: Mapping[str, Any]) -> bool:
    """Does the base bring an adversary or faults of its own?"""
    return bool(base.get("fault") or (base.get("adversary") or {}).get("nodes"))


def _named(values: Mapping[str, Any]) -> tuple[NodeId, ...]:
    """Corrupted nodes that the base names; those that it only counts are drawn by the run's seed, not here."""
    nodes = (values.get("adversary") or {}).get("nodes", 0)
    return tuple(nodes) if isinstance(nodes, list | tuple) else ()


# ---------------------------------------------------------------- cluster and network
def _cluster(values: dict[str, Any], rng: Random, fixed: bool, slack: int) -> World:
    """Writes [cluster] and opens the world of the scenario."""
    cluster = values["cluster"] = dict(values["cluster"])
    if not fixed:
        n = cluster["nodes"] = _size(rng)
        tribe = [f"n{i}" for i in range(n)]
        number = rng.randint(1, n // 3)
        cluster["clans"] = number if rng.random() < 0.3 else _mixed(tribe, number, rng)
        cluster["gateways"] = rng.choice((1, 1, 2))
    n, gateways, clans = cluster["nodes"], cluster.get("gateways", 1), cluster.get("clans", 1)
    tribe = [f"n{i}" for i in range(n)]
    if isinstance(clans, int):
        clans = [tribe[n * c // clans : n * (c + 1) // clans] for c in range(clans)]
    return World(rng, tribe, [f"g{i}" for i in range(gateways)], clans, slack)


def _size(rng: Random) -> int:
    """A tribe's size: each residue mod 3 is as likely, small ones more than large ones, which cost n^2 a view."""
    residue = rng.randrange(3)
    sizes = [n for n in SIZES if n % 3 == residue]
    return rng.choices(sizes, [1 / n for n in sizes])[0]


def _mixed(tribe: Sequence[NodeId], clans: int, rng: Random) -> list[list[NodeId]]:
    """Clans of at least three members each, sizes and members by chance."""
    shuffled = rng.sample(tribe, len(tribe))
    members = [sorted(shuffled[3 * c : 3 * c + 3], key=tribe.index) for c in range(clans)]
    for node in shuffled[3 * clans :]:
        rng.choice(members).append(node)
    return [sorted(clan, key=tribe.index) for clan in members]


def _network(values: dict[str, Any], world: World, fixed: bool) -> None:
    """Writes [network], scaled so that a load holds a few tens of views."""
    rng = world.rng
    network = values["network"] = dict(values.get("network") or {})
    if not fixed:
        md = rng.uniform(*MD_OF_LOAD) * world.load_ms
        if world.chance(0.3):
            scale = md / mean_delay_ms("gcp-5", world.tribe)
            network["latency"] = f"gcp-5:{scale:.3f}"
        else:
            network["latency"] = f"uniform:{md:.1f}"
        network["jitter_ms"] = round(md * rng.choice((0.0, 0.0, 0.1, 0.5)), 1)
        network["transport"] = rng.choice(("stream", "stream", "datagram"))
        network["sync_ms"] = round(md * rng.choice((0.0, 0.0, 0.02, 0.3)), 2)
    profile, jitter = network.get("latency", "lan"), float(network.get("jitter_ms", 0.0))
    shapes = base_shapes(profile, [*world.tribe, *world.gateways], jitter)
    world.md_ms = max(0.1, mean_delay_ms(profile, world.tribe))
    world.slowest_ms = max(shape.delay_ms + shape.jitter_ms for shape in shapes.values())
    world.sync_ms = float(network.get("sync_ms", 0.0))


def _parameters(values: dict[str, Any], world: World) -> None:
    """Protocol constants that fit the network: Delta is a true bound after the heal. The base's own stay."""
    rng = world.rng
    hop = world.slowest_ms + world.sync_ms
    delta = round(hop * rng.choice((1.5, 2.0, 4.0))) + 5
    drawn = {
        "delta_ms": delta,
        "variant": rng.choice(("commit", "commit", "pipelined")),
        "equivocation": rng.choice(("first", "first", "both")),
        "timeout_resend_ms": delta * rng.choice((1, 2, 4)),
        "sync_retry_ms": delta * rng.choice((1, 2)),
        "batch_retry_ms": delta * rng.choice((2, 4)),
        "inclusion_timeout_ms": round(world.md_ms * rng.choice((12, 20, 40))),
        "max_batch_delay_ms": max(1, round(world.md_ms * rng.choice((0.5, 1, 2)))),
    }
    values["cluster"]["parameters"] = {**drawn, **(values["cluster"].get("parameters") or {})}


def _leaders(values: dict[str, Any], world: World) -> None:
    """Whose view it is, unless the base says so."""
    if "leaders" not in values["cluster"]:
        kind = "byzantine-heavy" if world.pairs else world.rng.choice(LEADERS)
        values["cluster"]["leaders"] = leader_order(world) if kind == "byzantine-heavy" else kind
        if kind == "permutation":
            values["cluster"]["leaders"] = world.rng.sample(world.tribe, len(world.tribe))


def leader_order(world: World) -> list[NodeId]:
    """A fixed schedule that favours the coalition as far as the claims allow: never more than f of it in a row (two, if
    an attack needs a pair), and two honest leaders after each such row, so that blocks can commit."""
    rng, most = world.rng, tribe_faults(len(world.tribe))
    byzantine, honest = list(world.byzantine), rng.sample(world.honest, len(world.honest))
    order: list[NodeId] = []
    while honest:
        if byzantine and world.pairs:
            order += rng.choices(byzantine, k=2)
        elif byzantine and most:
            order += rng.sample(byzantine, rng.randint(1, min(most, len(byzantine))))
        taken = honest[:2] if len(honest) != 3 else honest
        order += taken
        honest = honest[len(taken) :]
    return order


# ---------------------------------------------------------------- adversary and faults
def _adversary(values: dict[str, Any], world: World, regime: str) -> None:
    """Writes the coalition and its behaviours; the numbers follow when the faults are known."""
    rng = world.rng
    bound = tribe_faults(len(world.tribe))
    wanted = bound + 1 if regime == "beyond" else rng.choice((0, bound, bound, rng.randint(0, bound)))
    for node in rng.sample(world.tribe, len(world.tribe)):
        if len(world.budget.byzantine) < wanted:
            world.budget.corrupt(node)
    world.byzantine = tuple(sorted(world.budget.byzantine, key=world.tribe.index))
    everyone = [*world.honest, *world.gateways]
    world.halves = random_partition(rng, everyone, 2) if world.chance(0.6) else None
    behaviours = []
    if world.byzantine:
        pool = CORE if world.chance(CORE_ONLY) else BEHAVIOURS
        for kind in _subset(list(pool.values()), MOST_BEHAVIOURS, world):
            options = kind.draw(world)
            if options is None:
                continue
            behaviour: dict[str, Any] = {"use": kind.use}
            if world.chance(0.25) and not kind.whole:
                behaviour |= world.window()
            if world.chance(0.2) and not kind.whole:
                behaviour["nodes"] = world.some(world.byzantine)
            if options:
                behaviour["options"] = options
            behaviours.append(behaviour)
        behaviours = behaviours or [{"use": "silent-leader"}]
    values["adversary"] = {"nodes": list(world.byzantine), "behaviour": behaviours}


def _faults(values: dict[str, Any], world: World, free: bool) -> None:
    """Writes [[fault]]: some of the enabled kinds, some of them twice. `free`: only kinds that cost nothing."""
    kinds = _subset([k for k in FAULTS.values() if not (free and k.costs)], len(FAULTS), world)
    faults = list(values.get("fault") or []) if free else []
    for _ in range(world.rng.randint(0, MOST_FAULTS) if kinds else 0):
        kind = world.rng.choice(kinds)
        parameters = kind.draw(world)
        if parameters is not None:
            faults.append({"use": kind.use, **world.window(), **parameters})
    values["fault"] = faults


def _subset(kinds: Sequence[Kind], most: int, world: World) -> list[Kind]:
    """Each kind with probability one half, at most so many."""
    enabled = [kind for kind in kinds if world.chance(0.5)]
    return [enabled[i] for i in sorted(world.rng.sample(range(len(enabled)), min(most, len(enabled))))]


def _declare(values: dict[str, Any], world: World, regime: str) -> None:
    """The budget as a scenario declares it, and what is expected of it."""
    budget = world.budget
    adversary = values["adversary"]
    if not world.byzantine:
        adversary = {}
    if budget.crashes:
        adversary["crashes"] = min(budget.crashes, len(world.tribe))
    if budget.amnesiacs:
        adversary["amnesiacs"] = len(budget.amnesiacs)
    values.pop("adversary")
    if adversary:
        values["adversary"] = adversary
    values["expect"] = "hold" if regime == "within" else {"violate": "fork"}
