"""What a corrupted node is told where it does not share our file system: in a container, on another host."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec

from faults.byzantine.config import ByzantineConfig


def relocated(config: ByzantineConfig, side_channel: str, attacks: Mapping[Path, str]) -> ByzantineConfig:
    """With the directory that all corrupted nodes share there, and with attack files (ours -> theirs) as they lie
    there."""
    there = {str(ours.resolve()): theirs for ours, theirs in attacks.items()}
    behaviours = []
    for behaviour in config.behaviours:
        file, separator, name = behaviour.use.rpartition(":")
        path = there.get(str(Path(file).expanduser().resolve())) if separator else None
        behaviours.append(msgspec.structs.replace(behaviour, use=f"{path}:{name}") if path else behaviour)
    return msgspec.structs.replace(config, side_channel=side_channel, behaviours=tuple(behaviours))
