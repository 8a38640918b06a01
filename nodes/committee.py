"""Tribe, clan, family: thresholds, membership and ranking (protocol.md section 0, 2.1, 2.5)."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import Literal, TypeAlias

import msgspec

from nodes.messages import NodeId, sha256


class ConfigError(ValueError):
    """A cluster configuration that no honest node may start with."""


# ---------------------------------------------------------------- thresholds (section 0; off-by-one here is a real bug)
def tribe_faults(n: int) -> int:
    """f_t = floor((n_t - 1) / 3)."""
    return (n - 1) // 3


def tribe_quorum(n: int) -> int:
    """Q = ceil((n_t + f_t + 1) / 2): two quorums share an honest replica, and Q <= n_t - f_t."""
    return -(-(n + tribe_faults(n) + 1) // 2)


def tribe_validity(n: int) -> int:
    """V = f_t + 1: at least one honest replica."""
    return tribe_faults(n) + 1


def clan_faults(n: int) -> int:
    """f_c = ceil(n_c / 2) - 1."""
    return -(-n // 2) - 1


def clan_majority(n: int) -> int:
    """M = f_c + 1: contains one honest member, and never more than the honest members."""
    return clan_faults(n) + 1


# ---------------------------------------------------------------- configuration (genesis): equal at every node
class Member(msgspec.Struct, frozen=True):
    """A voting identity or a gateway: name and Ed25519 public key (hex)."""

    id: NodeId
    public_key: str


class Account(msgspec.Struct, frozen=True):
    """A genesis account: address (hex public key) and balance."""

    address: str
    balance: int


class LeaderSchedule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who leads view v (1.7). `fixed` repeats `order` for ever (the injectable schedule)."""

    kind: Literal["round-robin", "fair-succession", "fixed"] = "fair-succession"
    order: tuple[NodeId, ...] = ()


class Parameters(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Protocol constants and switches; times in milliseconds."""

    delta_ms: int = 500  # the bound Delta; the view timer is 3 Delta (1.6)
    variant: Literal["commit", "pipelined"] = "commit"
    timeout_resend_ms: int = 1000  # repeat the timeout message for lossy links (1.4)
    idle_delay_ms: int = 0  # how long a leader with nothing to order waits before its normal proposal (1.6)
    sync_retry_ms: int = 500  # block sync (1.8)
    recency_bound: int = 20  # accept messages up to this many views ahead (1.4)
    max_clock_skew_ms: int = 500  # refuse blocks from further in the future (1.4)
    max_batch_delay_ms: int = 100
    max_batch_txs: int = 200
    max_batch_bytes: int = 500_000
    batch_retry_ms: int = 1000  # proposer repeats a batch without a certificate; fetch retry
    inclusion_timeout_ms: int = 2000  # secondaries include after this (2.5)
    family_size: int = 0  # 0: f_c + 1
    batch_ttl_ms: int = 600_000
    equivocation: Literal["first", "both"] = "first"  # EQ-FIRST / EQ-BOTH (U6)
    max_bucket_txs: int = 20_000
    too_new_backlog: int = 25  # transactions of one account that may wait for a gap (2.5 c)


class ClusterConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The genesis file: who takes part, in which clan, with which constants. Written by the harness as JSON."""

    chain: str
    epoch: int
    cycle: int
    beacon: str  # hex; salts the family ranking
    tribe: tuple[Member, ...]
    gateways: tuple[Member, ...]
    clans: tuple[tuple[NodeId, ...], ...]
    accounts: tuple[Account, ...]
    leaders: LeaderSchedule = LeaderSchedule()
    parameters: Parameters = Parameters()


ClanId: TypeAlias = int


@lru_cache(maxsize=4)
def committee_of(config: ClusterConfig) -> Committee:
    """The Committee of `config`; nodes that live in one process share it. Raises ConfigError as it does."""
    return Committee(config)


class Committee:
    """A ClusterConfig with its look-ups and thresholds. Raises ConfigError on one that could not be safe."""

    def __init__(self, config: ClusterConfig) -> None:
        self.config = config
        self.parameters = config.parameters
        self.tribe: tuple[NodeId, ...] = tuple(m.id for m in config.tribe)
        self.gateways: tuple[NodeId, ...] = tuple(m.id for m in config.gateways)
        self.clans = config.clans
        self.keys: dict[NodeId, bytes] = {m.id: bytes.fromhex(m.public_key) for m in (*config.tribe, *config.gateways)}
        self.beacon = bytes.fromhex(config.beacon)
        self._check()
        self.index: dict[NodeId, int] = {node: i for i, node in enumerate(self.tribe)}
        self.clan_of: dict[NodeId, ClanId] = {node: c for c, clan in enumerate(self.clans) for node in clan}
        self.faults = tribe_faults(len(self.tribe))
        self.quorum = tribe_quorum(len(self.tribe))
        self.validity = tribe_validity(len(self.tribe))
        self._families = lru_cache(maxsize=8192)(self._rank)  # gateway, buckets and execution all ask

    def _check(self) -> None:
        names = [*self.tribe, *self.gateways]
        if len(set(names)) != len(names) or len(set(self.keys.values())) != len(names):
            raise ConfigError("two members share a name or a key; every member needs its own")
        if not self.tribe or not self.clans:
            raise ConfigError("the cluster needs at least one tribe node and one clan")
        assigned = [node for clan in self.clans for node in clan]
        if sorted(assigned) != sorted(self.tribe):
            raise ConfigError(f"every tribe node belongs to exactly one clan; clans hold {sorted(assigned)}")
        n = len(self.tribe)
        if 2 * tribe_quorum(n) - n < tribe_faults(n) + 1:  # section 0: safety
            raise ConfigError(f"quorum {tribe_quorum(n)} of {n} does not intersect in an honest replica")
        if tribe_quorum(n) > n - tribe_faults(n):  # section 0: liveness
            raise ConfigError(f"quorum {tribe_quorum(n)} of {n} is more than the honest replicas")
        for node in self.config.leaders.order:
            if node not in self.tribe:
                raise ConfigError(f"leader schedule names {node}, which is not in the tribe")

    def majority(self, clan: ClanId) -> int:
        """M of this clan."""
        return clan_majority(len(self.clans[clan]))

    def members(self, group: str) -> tuple[NodeId, ...]:
        """Members of a multicast group: tribe, gateways, everyone, clan:<k>. Raises KeyError on another name."""
        if group == "tribe":
            return self.tribe
        if group == "gateways":
            return self.gateways
        if group == "everyone":
            return self.tribe + self.gateways
        kind, _, number = group.partition(":")
        if kind == "clan" and number.isdigit() and int(number) < len(self.clans):
            return self.clans[int(number)]
        raise KeyError(f"no group named {group!r}")

    def clan_of_key(self, key: bytes) -> ClanId:
        """The clan that owns an account address (32 bytes) or a list key (`list_shard(key)`)."""
        if len(self.clans) == 1:
            return 0
        return int.from_bytes(sha256(b"SHARD", key)[:8], "big") % len(self.clans)

    def family(self, tx: bytes, clan: ClanId) -> tuple[NodeId, ...]:
        """family(t): the clan's proposers ranked by H("FAM"|txHash|beacon|id); rank 0 is the primary (2.5)."""
        return self._families(tx, clan)

    def _rank(self, tx: bytes, clan: ClanId) -> tuple[NodeId, ...]:
        size = self.parameters.family_size or clan_faults(len(self.clans[clan])) + 1
        ranked = sorted(
            self.clans[clan], key=lambda node: hashlib.sha256(b"FAM" + tx + self.beacon + node.encode()).digest()
        )
        return tuple(ranked[: min(size, len(ranked))])


def list_shard(key: int) -> bytes:
    """The bytes under which a list key is assigned to a clan."""
    return b"LIST" + key.to_bytes(8, "big")
