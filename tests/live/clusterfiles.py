"""Configuration files for clusters of a test's own."""

from __future__ import annotations

import hashlib
import socket
import time
from pathlib import Path

import msgspec

from nodes.committee import Account, ClusterConfig, Member, Parameters
from nodes.crypto import Ed25519Signer
from nodes.runtime.config import NodeConfig


def seed_of(name: str) -> bytes:
    """The secret seed of a test's node or wallet."""
    return hashlib.sha256(b"test key of " + name.encode()).digest()


def public_of(name: str) -> str:
    """Its public key, hex."""
    return Ed25519Signer(seed_of(name)).public_key.hex()


def genesis(tribe: int, gateways: int = 0, wallets: int = 0, parameters: Parameters | None = None) -> ClusterConfig:
    """One clan, keys by name."""
    names = [f"n{i}" for i in range(tribe)]
    return ClusterConfig(
        chain="test",
        epoch=0,
        cycle=0,
        beacon="00" * 32,
        tribe=tuple(Member(n, public_of(n)) for n in names),
        gateways=tuple(Member(f"g{i}", public_of(f"g{i}")) for i in range(gateways)),
        clans=(tuple(names),),
        accounts=tuple(Account(public_of(f"w{i}"), 1_000_000) for i in range(wallets)),
        parameters=parameters or Parameters(),
    )


def free_ports(count: int) -> list[int]:
    """Ports that were free a moment ago."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [s.getsockname()[1] for s in sockets]
    for bound in sockets:
        bound.close()
    return ports


def write_nodes(directory: Path, config: ClusterConfig) -> dict[str, tuple[Path, NodeConfig]]:
    """genesis.json and one node.json each, peers dialled directly; node id -> (path, content)."""
    names = [m.id for m in (*config.tribe, *config.gateways)]
    gateways = {m.id for m in config.gateways}
    (directory / "genesis.json").write_bytes(msgspec.json.encode(config))
    ports = free_ports(3 * len(names))
    listen = {n: ("127.0.0.1", ports[3 * i]) for i, n in enumerate(names)}
    start_ns = time.monotonic_ns()
    written = {}
    for i, name in enumerate(names):
        node = NodeConfig(
            id=name,
            secret_key=seed_of(name).hex(),
            genesis=str(directory / "genesis.json"),
            data=str(directory / name),
            listen=listen[name],
            control=("127.0.0.1", ports[3 * i + 1]),
            peers={n: listen[n] for n in names if n != name},
            start_ns=start_ns,
            http=("127.0.0.1", ports[3 * i + 2]) if name in gateways else None,
        )
        path = directory / f"{name}.json"
        path.write_bytes(msgspec.json.encode(node))
        written[name] = (path, node)
    return written
