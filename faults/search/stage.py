"""What generators of scheduled rounds share: a cluster whose views come one message delay after another, so that a
schedule can name views; a prefix of chosen leaders; the coalition and its budget."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from random import Random
from typing import Any

import msgspec

from faults.port import NodeId
from faults.search.swarm import milliseconds
from faults.search.world import READY_MS, Budget
from nodes.committee import tribe_faults

LEAD = 5  # views between that and the first scheduled one
MD_MS = (10.0, 60.0)
DELTAS_A_VIEW = 4  # a view without a block: 3 Delta and 2 delta (protocol.md 1.11)
VIEWS_PER_LOAD = 60  # message delays in a load: most of them go to time-outs


class Stage(msgspec.Struct):
    """`values` is the scenario being made; scheduled views are `first`, `first` + 1, ..."""

    values: dict[str, Any]
    rng: Random
    tribe: tuple[NodeId, ...]
    gateways: tuple[NodeId, ...]
    byzantine: tuple[NodeId, ...]
    first: int

    @property
    def honest(self) -> tuple[NodeId, ...]:
        """Tribe nodes that are not corrupted."""
        return tuple(node for node in self.tribe if node not in self.byzantine)

    def lead(self, leaders: Sequence[NodeId]) -> None:
        """These lead the scheduled views; before and after them everybody takes turns.

        A schedule may be slow enough to outlast the heal, and may give the coalition more views in a row than the
        liveness claim allows for: the bound grows by what each of its views can cost.
        """
        turns = list(self.tribe)
        checks = self.values["checks"] = dict(self.values.get("checks") or {})
        deltas = max(12, 6 + 3 * tribe_faults(len(turns))) + DELTAS_A_VIEW * len(leaders)
        checks["bounds"] = {"liveness_deltas": deltas, **(checks.get("bounds") or {})}
        before = [turns[view % len(turns)] for view in range(self.first)]
        self.values["cluster"]["leaders"] = [*before, *leaders, *turns * (400 // len(turns))]


def set_up(
    base: Mapping[str, Any], name: str, seed: int, rng: Random, sizes: Sequence[int], regime: str, fixed: bool
) -> Stage:
    """A stage on the base's load, with f Byzantine nodes, or one more beyond the bound. Raises ValueError for a base
    that has an adversary or faults of its own, which would not go with a schedule of rounds."""
    if base.get("fault") or (base.get("adversary") or {}).get("nodes"):
        raise ValueError(f"{name} makes the whole schedule: give a base without faults and without an adversary")
    values: dict[str, Any] = deepcopy(dict(base))
    values["name"] = f"{base['name']}-{name}"
    values["description"] = f"Drawn by the {name} generator from {base['name']}, seed {seed}."
    n = values["cluster"]["nodes"] if fixed else rng.choice(sizes)
    tribe = tuple(f"n{i}" for i in range(n))
    gateways = tuple(f"g{i}" for i in range(values["cluster"].get("gateways", 1)))
    md = min(MD_MS[1], max(MD_MS[0], milliseconds(values["workload"].get("duration", "12s")) / VIEWS_PER_LOAD))
    values["network"] = {"latency": f"uniform:{md:g}"}
    delta = round(md * rng.choice((2, 3)))
    own = values["cluster"].get("parameters") or {}
    drawn = {
        "delta_ms": delta, "timeout_resend_ms": 3 * delta, "sync_retry_ms": 2 * delta, "batch_retry_ms": 4 * delta,
        "variant": rng.choice(("commit", "pipelined")),
    }  # fmt: skip
    values["cluster"] = {**values["cluster"], "nodes": n, "clans": 1, "parameters": {**drawn, **own}}
    budget = Budget([tribe], 0 if regime == "within" else 1)
    for node in rng.sample(tribe, n):
        budget.corrupt(node)
    byzantine = tuple(node for node in tribe if node in budget.byzantine)
    values["expect"] = "hold" if regime == "within" else {"violate": "fork"}
    return Stage(values, rng, tribe, gateways, byzantine, round(READY_MS / md) + LEAD)
