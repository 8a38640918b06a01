"""What a corrupted node's process is told beside its node.json: byzantine.json, written by the harness."""

from __future__ import annotations

from typing import Any

import msgspec


class BehaviourSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One behaviour: `use` is a registered name or "path/to/file.py:Class"; active in [start_ns, stop_ns)."""

    id: int
    use: str
    parameters: dict[str, Any] = {}
    start_ns: int = 0
    stop_ns: int = 2**62


class ByzantineConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The coalition as one member sees it: everybody's keys, and a side channel that faults never cut.

    `side_channel` is a directory shared by all members (Unix sockets live in it).
    """

    node: str
    coalition: dict[str, str]  # node id -> hex seed
    side_channel: str
    seed: int
    behaviours: tuple[BehaviourSpec, ...]
