"""Schedule generators by name: each makes the scenario of one seed out of a base scenario's values."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from typing import Any, TypeAlias

from faults.search.byzzfuzz import byzzfuzz
from faults.search.swarm import swarm
from faults.search.timing import timing
from faults.search.twins import twins
from harness.outcome import UsageError, nearest

Generator: TypeAlias = Callable[..., dict[str, Any]]  # (base, seed, regime=, fixed=) -> values


def seeds(base: Mapping[str, Any], seed: int, regime: str = "within", fixed: tuple[str, ...] = ()) -> dict[str, Any]:
    """The base scenario as it stands: only the run's seed varies."""
    return deepcopy(dict(base))


GENERATORS: dict[str, Generator] = {
    "swarm": swarm,
    "twins": twins,
    "byzzfuzz": byzzfuzz,
    "timing": timing,
    "seeds": seeds,
}


def generator(name: str) -> Generator:
    """The generator of this name. Raises UsageError."""
    if name not in GENERATORS:
        raise UsageError(f"--generator {name}: no such generator; {nearest(name, list(GENERATORS))}")
    return GENERATORS[name]
