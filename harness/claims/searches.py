"""Experiments that draw their runs: searches within every bound, and every kind of fault and behaviour on its own."""

from __future__ import annotations

from functools import cache, partial
from random import Random
from typing import Any

from faults.port import NodeId
from faults.search.drawing import Kind
from faults.search.kinds import CORE, FAULTS
from faults.search.world import World
from harness import measures
from harness.chunk import Job
from harness.claims.experiment import Experiment, Made
from harness.scenario import load
from harness.shipped import find
from nodes.committee import tribe_faults

NOTHING = "fault-free"  # group of the runs that the others are compared with
ROUNDS = 5  # runs of each kind
SIZES = (4, 7)  # nodes, in turn
LOAD_MS, MD_MS = 2500, 50
ATTEMPTS = 20  # draws until a kind finds room in its world


@cache
def _base() -> dict[str, Any]:
    return load(find("swarm")).raw


def _searched(generator: str, index: int) -> Made:
    seed = index + 1
    return Made(Job(_base(), generator).values(seed), seed)


# ---------------------------------------------------------------- one kind at a time
@cache
def alone() -> tuple[str, ...]:
    """What is tried on its own: nothing, every fault, and every behaviour that has an occasion in any run."""
    rng = Random(0)
    corrupted = {size: tuple(f"n{i}" for i in range(tribe_faults(size))) for size in SIZES}
    can = [k.use for k in CORE.values() if all(k.draw(_world(n, rng, b)) is not None for n, b in corrupted.items())]
    return (NOTHING, *FAULTS, *can)


def _alone(index: int) -> Made:
    """Round by round every kind once, with parameters as the swarm draws them, on four nodes or on seven."""
    kinds = alone()
    kind, turn = kinds[index % len(kinds)], index // len(kinds)
    size = SIZES[turn % len(SIZES)]
    rng = Random(f"moonquake/claims/{kind}/{turn}")
    values: dict[str, Any] = {
        "name": f"alone-{kind}-{turn}",
        "description": f"Nothing but {kind}, within every bound.",
        "expect": "hold",
        "cluster": {
            "nodes": size,
            "clans": 1,
            "gateways": 1,
            "parameters": {"delta_ms": 150, "inclusion_timeout_ms": 1000, "timeout_resend_ms": 300},
        },
        "network": {"latency": f"uniform:{MD_MS}"},
        "workload": {"kind": "transfers", "rate": 20, "clients": 16, "duration": f"{LOAD_MS}ms"},
        "checks": {
            "include": [
                "fork", "prefix", "order", "dedup", "conservation", "availability", "xrbc-agreement", "state-root",
                "acknowledged", "censorship", "preconfirmation", "liveness", "receipts",
            ]
        },
        "run": {"quiet": "1s"},
    }  # fmt: skip
    if kind in FAULTS:
        _hurt(values, FAULTS[kind], size, rng)
    elif kind in CORE:
        _corrupt(values, CORE[kind], size, rng)
    return Made(values, turn + 1, kind)


def _world(size: int, rng: Random, byzantine: tuple[NodeId, ...] = ()) -> World:
    tribe = [f"n{i}" for i in range(size)]
    world = World(rng, tribe, ["g0"], [tribe])
    world.load_ms, world.md_ms, world.slowest_ms, world.byzantine = LOAD_MS, MD_MS, MD_MS, byzantine
    return world


def _hurt(values: dict[str, Any], kind: Kind, size: int, rng: Random) -> None:
    for _ in range(ATTEMPTS):
        world = _world(size, rng)
        parameters = kind.draw(world)
        if parameters is not None:
            break
    else:
        raise ValueError(f"fault {kind.use} found no room among {size} nodes in {ATTEMPTS} draws")
    start = rng.randrange(200, 800, 100)
    values["fault"] = [{"use": kind.use, "from": f"{start}ms", "until": f"{start + 1200}ms", **parameters}]
    budget = world.budget
    adversary = {"crashes": min(budget.crashes, size), "amnesiacs": len(budget.amnesiacs)}
    declared = {name: count for name, count in adversary.items() if count}
    if declared:
        values["adversary"] = declared


def _corrupt(values: dict[str, Any], kind: Kind, size: int, rng: Random) -> None:
    byzantine = tuple(f"n{i}" for i in sorted(rng.sample(range(size), tribe_faults(size))))
    options = kind.draw(_world(size, rng, byzantine))
    behaviour = {"use": kind.use} | ({"options": options} if options else {})
    values["adversary"] = {"nodes": list(byzantine), "behaviour": [behaviour]}


EXPERIMENTS = (
    Experiment(
        "swarm", "Random scenarios within every bound: sizes, clans, networks, faults, behaviours.", 200,
        partial(_searched, "swarm"), weight=1.0,
    ),
    Experiment("twins", "Random twin schedules within the bound.", 40, partial(_searched, "twins"), weight=1.0),
    Experiment(
        "byzzfuzz", "Random round partitions and corrupted messages within the bound.", 40,
        partial(_searched, "byzzfuzz"), weight=1.0,
    ),
    Experiment(
        "one-fault", "Every kind of fault and behaviour on its own, within the bound.", ROUNDS * len(alone()), _alone,
        (measures.latencies, measures.promises), weight=1.2,
    ),
)  # fmt: skip
