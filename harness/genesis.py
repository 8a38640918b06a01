"""From scenario and seed to everything a cluster starts from: keys, genesis, roster, who is corrupted and how.

Everything is derived from the seed by SHA-256, so that the same seed gives the same cluster on every backend.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from random import Random

import msgspec

from faults.byzantine.config import BehaviourSpec, ByzantineConfig
from faults.port import Roster
from harness import plugins
from harness.backends.port import NodeSpec
from harness.regime import draw_byzantine
from harness.scenario import BehaviourSection, Scenario
from nodes.committee import Account, ClusterConfig, Committee, Member
from nodes.crypto import Domain, Ed25519Signer, Signer
from nodes.ideal import IdealSigner
from nodes.moonshot.leaders import fair_succession

CHAIN = "moonquake"
BALANCE = 1_000_000
SCHEMES: dict[str, Callable[[bytes], Signer]] = {"ed25519": Ed25519Signer, "ideal": IdealSigner}
SPARE_ACCOUNTS = 4  # funded accounts per client: one in use, the others for processes that follow a retired one


class Wallet(msgspec.Struct, frozen=True):
    """An account and its key. `clan` owns the account."""

    number: int
    signer: Signer
    address: bytes
    clan: int


class Genesis(msgspec.Struct, frozen=True):
    """All that is fixed before the first process starts. `behaviours`: (number, behaviour, nodes that run it)."""

    config: ClusterConfig
    committee: Committee
    roster: Roster
    nodes: tuple[NodeSpec, ...]
    seed: int
    behaviours: tuple[tuple[int, BehaviourSection, tuple[str, ...]], ...]
    scheme: str = "ed25519"

    @property
    def domain(self) -> Domain:
        """What signatures of this cluster are bound to."""
        return Domain(self.config.chain, self.config.epoch, self.config.cycle)

    def wallet(self, number: int) -> Wallet:
        """The account with this number; the first ones are funded, later ones start empty."""
        signer = SCHEMES[self.scheme](wallet_seed(self.seed, number))
        return Wallet(number, signer, signer.public_key, self.committee.clan_of_key(signer.public_key))


def derive(seed: int, *what: str | int) -> bytes:
    """32 bytes bound to the seed and a purpose."""
    return hashlib.sha256("/".join(str(part) for part in (CHAIN, seed, *what)).encode()).digest()


def wallet_seed(seed: int, number: int) -> bytes:
    """The secret of the account with this number."""
    return derive(seed, "account", number)


def random_of(seed: int, *what: str | int) -> Random:
    """A seeded generator for one purpose, so that one consumer's draws never shift another's."""
    return Random(int.from_bytes(derive(seed, "random", *what), "big"))


def make_genesis(scenario: Scenario, seed: int, scheme: str = "ed25519") -> Genesis:
    """The cluster of this scenario and seed, its keys of the signature scheme that the backend uses.

    Raises ConfigError if the scenario's committee could not be safe.
    """
    key = SCHEMES[scheme]
    cluster = scenario.cluster
    everyone = cluster.tribe + cluster.gateways
    secrets = {node: derive(seed, "node", node) for node in everyone}
    members = {node: Member(node, key(secret).public_key.hex()) for node, secret in secrets.items()}
    wallets = (key(wallet_seed(seed, i)) for i in range(scenario.workload.clients * SPARE_ACCOUNTS))
    config = ClusterConfig(
        chain=CHAIN,
        epoch=0,
        cycle=0,
        beacon=derive(seed, "beacon").hex(),
        tribe=tuple(members[node] for node in cluster.tribe),
        gateways=tuple(members[node] for node in cluster.gateways),
        clans=cluster.clans,
        accounts=tuple(Account(signer.public_key.hex(), BALANCE) for signer in wallets),
        leaders=cluster.leaders,
        parameters=cluster.parameters,
    )
    byzantine = draw_byzantine(scenario, random_of(seed, "byzantine"))
    roster = Roster(cluster.tribe, cluster.gateways, cluster.clans, byzantine, leaders_of(config))
    behaviours = tuple((i, b, b.nodes or byzantine) for i, b in enumerate(scenario.adversary.behaviours, 1))
    coalition = {node: secrets[node].hex() for node in byzantine}
    specs = tuple(
        NodeSpec(
            id=node,
            role="tribe" if node in cluster.tribe else "gateway",
            secret_key=secrets[node].hex(),
            byzantine=_corruption(node, coalition, behaviours, seed) if node in coalition else None,
        )
        for node in everyone
    )
    return Genesis(config, Committee(config), roster, specs, seed, behaviours, scheme)


def _corruption(
    node: str,
    coalition: dict[str, str],
    behaviours: tuple[tuple[int, BehaviourSection, tuple[str, ...]], ...],
    seed: int,
) -> ByzantineConfig:
    """What the corrupted node is told. A window that begins at 0 is open from the node's start, before any load."""
    specs = tuple(
        BehaviourSpec(
            id=number,
            use=behaviour.use,
            parameters=dict(behaviour.options),
            from_ns=int(behaviour.from_s * 1e9) if behaviour.from_s else None,
            until_ns=None if behaviour.until_s is None else int(behaviour.until_s * 1e9),
            views=behaviour.views,
            event=behaviour.event,
        )
        for number, behaviour, nodes in behaviours
        if node in nodes
    )
    return ByzantineConfig(node, coalition, "", int.from_bytes(derive(seed, "behaviour", node)[:6], "big"), specs)


def leaders_of(config: ClusterConfig) -> tuple[str, ...]:
    """The leader of view v is the v-th of these, cyclically (protocol.md 1.7)."""
    names = tuple(member.id for member in config.tribe)
    if config.leaders.kind == "fixed":
        return config.leaders.order
    if config.leaders.kind == "round-robin":
        return names
    return tuple(names[i] for i in fair_succession(len(names)))


def attack_files(scenario: Scenario) -> tuple[Path, ...]:
    """Files of behaviours given as path.py:Class; the backend carries them to the nodes."""
    files = {plugins.file_of(b.use) for b in scenario.adversary.behaviours if plugins.is_file(b.use)}
    return tuple(sorted(files))
