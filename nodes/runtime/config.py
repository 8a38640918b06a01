"""What one node process is told at start: node.json, written by the harness."""

from __future__ import annotations

from pathlib import Path
from typing import TypeAlias, TypeVar

import msgspec

from nodes.committee import ClusterConfig, ConfigError

Address: TypeAlias = tuple[str, int]
T = TypeVar("T")


class NodeConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One process. Paths are absolute inside the process's own file system."""

    id: str
    secret_key: str  # hex seed of the Ed25519 key
    genesis: str  # path of the ClusterConfig JSON, the same file at every node
    data: str  # directory: wal.log, trace.jsonl, incarnation
    listen: Address  # peer links
    control: Address  # control port
    peers: dict[str, Address]  # where to dial each other node (tribe and gateways)
    start_ns: int  # CLOCK_MONOTONIC nanoseconds at which the run's clock reads zero
    http: Address | None = None  # gateway API, gateways only
    clock_skew_ms: int = 0
    clock_drift_ppm: int = 0


def load_config(path: Path) -> tuple[NodeConfig, ClusterConfig]:
    """Read node.json and the genesis that it names. Raises ConfigError naming the file and the field at fault."""
    node = _read(path, NodeConfig)
    return node, _read(Path(node.genesis), ClusterConfig)


def _read(path: Path, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    except msgspec.MsgspecError as error:
        raise ConfigError(f"{path}: {error}") from error
