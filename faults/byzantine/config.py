"""What a corrupted node's process is told beside its node.json: byzantine.json, written by the harness."""

from __future__ import annotations

from typing import Any

import msgspec


class BehaviourSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One behaviour: `use` is a registered name or "path/to/file.py:Class".

    Its window is [from_ns, until_ns), counted from the load start, which the lab announces over the side channel.
    `from_ns` None: active as soon as the node runs. `until_ns` None: to the end of the run. `views` and `event`: as in
    `triggers.Trigger`.
    """

    id: int
    use: str
    parameters: dict[str, Any] = {}
    from_ns: int | None = None
    until_ns: int | None = None
    views: tuple[int, int] | None = None
    event: dict[str, Any] = {}


class ByzantineConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The coalition as one member sees it: everybody's keys, and a side channel that faults never cut.

    `side_channel` is a directory shared by all members and the lab (Unix sockets live in it).
    """

    node: str
    coalition: dict[str, str]  # node id -> hex seed
    side_channel: str
    seed: int
    behaviours: tuple[BehaviourSpec, ...]
