"""What descriptors of faults and behaviours share (kinds.py, library.py)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from faults.search.world import World

Draw = Callable[[World], dict[str, Any] | None]


class Kind(msgspec.Struct, frozen=True):
    """A registered fault or behaviour. `costs`: its victims count against the bounds. `whole`: comes to nothing unless
    the whole coalition is at it, all the time."""

    use: str
    draw: Draw
    costs: bool = False
    whole: bool = False


def plain(world: World) -> dict[str, Any]:
    """A behaviour without options."""
    return {}


def halves(world: World) -> dict[str, Any]:
    """One that treats two halves of its victims differently: as the scenario divides them, if it does."""
    return {} if world.halves is None else {"halves": world.halves}


def share_of_md(world: World, low: float, high: float) -> float:
    """So many message delays, in ms."""
    return round(world.rng.uniform(low, high) * world.md_ms, 1)
