"""A small cluster for the docker tests, without scenario or workload: nodes that agree on empty blocks."""

from __future__ import annotations

import hashlib
import itertools
import secrets
from collections.abc import Iterable
from pathlib import Path

from faults.port import Link, Roster, Shape
from harness.backends.port import ClusterSpec, NodeSpec
from nodes.committee import ClusterConfig, LeaderSchedule, Member, Parameters
from nodes.crypto import Ed25519Signer


def links_between(left: Iterable[str], right: Iterable[str]) -> list[Link]:
    """Both directions of every pair."""
    right = list(right)
    return [link for a in left for b in right for link in ((a, b), (b, a))]


def make_spec(directory: Path, tribe: int = 4, gateways: int = 1, delay_ms: float = 0.0) -> ClusterSpec:
    """A spec with one clan of everybody and the same delay on every link."""
    names = tuple(f"n{i}" for i in range(tribe))
    entries = tuple(f"g{i}" for i in range(gateways))
    seeds = {name: hashlib.sha256(f"docker lab {name}".encode()).digest() for name in (*names, *entries)}
    members = {name: Member(name, Ed25519Signer(seed).public_key.hex()) for name, seed in seeds.items()}
    config = ClusterConfig(
        chain="docker-lab",
        epoch=1,
        cycle=1,
        beacon="00" * 32,
        tribe=tuple(members[n] for n in names),
        gateways=tuple(members[g] for g in entries),
        clans=(names,),
        accounts=(),
        leaders=LeaderSchedule("round-robin"),
        parameters=Parameters(idle_delay_ms=100),
    )
    pairs = itertools.permutations((*names, *entries), 2)
    return ClusterSpec(
        name="docker-lab",
        run_id=f"t{secrets.token_hex(4)}",
        directory=directory,
        config=config,
        roster=Roster(tribe=names, gateways=entries, clans=(names,), leaders=names),
        nodes=tuple(
            NodeSpec(id=name, role="tribe" if name in names else "gateway", secret_key=seed.hex())
            for name, seed in seeds.items()
        ),
        base={pair: Shape(delay_ms=delay_ms) for pair in pairs} if delay_ms else {},
        needs=frozenset(),
    )
