"""What a run tells whoever watches it: sentences, and a snapshot of the cluster every second."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

import msgspec

if TYPE_CHECKING:  # it brings an HTTP client along, which most commands can do without
    from harness.load import Tally


class Snapshot(msgspec.Struct, frozen=True):
    """A moment of a run. `heights` holds -1 for a node that does not answer."""

    scenario: str
    phase: str  # starting | load | quiet | stopping
    elapsed_s: float
    total_s: float
    heights: dict[str, int]
    tally: Tally
    active: tuple[str, ...]  # faults that are on


Say: TypeAlias = Callable[[str], None]
Watch: TypeAlias = Callable[[Snapshot], None]


class Observer(msgspec.Struct, frozen=True):
    """Where progress goes; by default nowhere."""

    say: Say = lambda text: None
    watch: Watch = lambda snapshot: None
