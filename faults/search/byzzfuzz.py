"""The ByzzFuzz generator (Winter et al., OOPSLA 2023): a few corrupted rounds and a few partitioned ones, all chosen
before the run.

A round is a step of a view, four to a view: proposal, vote, commit, timeout. `c` process faults each hit one round of
one corrupted node: one mutation, for a random non-empty set of receivers. `d` network faults each part the processes
in one round by a partition drawn uniformly among all that part anything. Small and any scope alternate, since which
finds more depends on the protocol.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from random import Random
from typing import Any

from faults.port import NodeId
from faults.rounds import STEPS
from faults.search.partitions import any_partition
from faults.search.stage import Stage, set_up

SIZES = (4, 4, 5, 6, 7)
VIEWS = 8  # the horizon, in views
MOST = 4  # faults of each kind


def byzzfuzz(base: Mapping[str, Any], seed: int, regime: str = "within", fixed: Collection[str] = ()) -> dict[str, Any]:
    """The scenario of this seed, as a TOML document's values. Raises ValueError for a base that brings faults."""
    rng = Random(f"moonquake/byzzfuzz/{seed}")
    stage = set_up(base, "byzzfuzz", seed, rng, SIZES, regime, "cluster" in fixed)
    corrupted = rng.randint(0, MOST)
    parted = rng.randint(0 if corrupted else 1, MOST)
    leaders = [rng.choice(stage.tribe) for _ in range(VIEWS)]
    behaviours = _process_faults(stage, corrupted, leaders, "small" if rng.random() < 0.5 else "any")
    stage.lead(leaders)
    faults = _network_faults(stage, parted)
    if behaviours:
        stage.values["adversary"] = {"nodes": list(stage.byzantine), "behaviour": behaviours}
    elif regime == "beyond":
        stage.values["adversary"] = {"nodes": list(stage.byzantine), "behaviour": [{"use": "silent-leader"}]}
    if faults:
        stage.values["fault"] = [{"use": "round-partition", "rounds": faults}]
    return stage.values


def rounds(first: int) -> list[tuple[int, str]]:
    """The rounds of the horizon, in the protocol's order."""
    return [(first + view, step) for view in range(VIEWS) for step in STEPS]


def _process_faults(stage: Stage, count: int, leaders: list[NodeId], scope: str) -> list[dict[str, Any]]:
    """Behaviours, one a corrupted node that does something. Whoever corrupts a proposal is made to lead that view."""
    rng = stage.rng
    mine: dict[NodeId, list[dict[str, Any]]] = {}
    for view, step in sorted(rng.sample(rounds(stage.first), count)) if stage.byzantine else ():
        node = rng.choice(stage.byzantine)
        if step == "proposal":
            leaders[view - stage.first] = node
        others = [other for other in (*stage.tribe, *stage.gateways) if other != node]
        receivers = sorted(rng.sample(others, rng.randint(1, len(others))))
        table = {"view": view, "step": step, "receivers": receivers, "seed": rng.randrange(2**32), "scope": scope}
        mine.setdefault(node, []).append(table)
    return [
        {"use": "byzzfuzz", "nodes": [node], "options": {"rounds": mine[node]}}
        for node in stage.byzantine
        if node in mine
    ]


def _network_faults(stage: Stage, count: int) -> list[dict[str, Any]]:
    return [
        {"view": view, "steps": [step], "groups": any_partition(stage.rng, stage.tribe)}
        for view, step in sorted(stage.rng.sample(rounds(stage.first), count))
    ]
