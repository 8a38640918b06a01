"""The target `cometbft`: CometBFT v0.38 with its built-in key-value store, unmodified, built by `go install`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from faults.port import Capability, Roster
from harness.provision.golang import GoProgram
from harness.targets.cometbft import keys, rpc
from harness.targets.cometbft.blocks import Reader
from harness.targets.cometbft.client import ANSWER_S, READS, RESEND_S, WAYS, Client
from harness.targets.packaged import Packaged
from harness.targets.port import GO_KEEPS_ITS_CLOCK, Node, Operation, Outcome, Program, Report, Site, Target

VERSION = "0.38.19"
COMETBFT = GoProgram("cometbft", "github.com/cometbft/cometbft/cmd/cometbft", VERSION)
P2P = "p2p"


class CometBFT(Target):
    """CometBFT with its key-value store: blocks, commits and evidence are read back whole and verified."""

    name: ClassVar[str] = "cometbft"
    binaries: ClassVar[tuple[Packaged, ...]] = (COMETBFT,)
    ports: ClassVar[tuple[str, ...]] = (P2P, rpc.RPC)
    workloads: ClassVar[tuple[str, ...]] = ("registers", "duplicate-writes")
    checkers: ClassVar[tuple[str, ...]] = (
        "fork", "prefix", "liveness", "linearizable", "tendermint-commits", "tendermint-evidence",
    )  # fmt: skip
    least: ClassVar[int] = 1
    patience_s: ClassVar[float] = ANSWER_S
    makes_blocks: ClassVar[bool] = True
    refuses: ClassVar[Mapping[Capability, str]] = {Capability.CLOCK: GO_KEEPS_ITS_CLOCK}

    def __init__(
        self,
        roster: Roster,
        seed: int,
        way: str = "commit",
        reads: str = "ordered",
        resends: int = 0,
        answer_ms: int = round(ANSWER_S * 1000),
        resend_ms: int = round(RESEND_S * 1000),
        twins: Sequence[Sequence[str]] = (),
        propose_ms: int = 1000,
        vote_ms: int = 500,
        commit_ms: int = 400,
        flush_ms: int = 10,
        gossip_ms: int = 20,
        cache: int = 10_000,
        expects_once: bool = False,
    ) -> None:
        """`way`, `reads`, `resends`, `answer_ms`, `resend_ms`: how clients ask (client.py). `twins`: pairs of nodes
        that vote with one key. `propose_ms`, `vote_ms`, `commit_ms`: CometBFT's time-outs (a commit time-out of 0
        begins the next height at once). `flush_ms`, `gossip_ms`: how long messages wait for company on a connection,
        and a gossip routine with nothing to tell sleeps. `cache`: transactions that a mempool remembers.
        `expects_once`: the scenario wants each transaction to take effect once, which CometBFT leaves to the
        application, and its key-value store does not see to."""
        super().__init__(roster, seed)
        self._way, self._reads = _one_of("way", way, WAYS), _one_of("reads", reads, READS)
        self._propose, self._vote = _whole("propose_ms", propose_ms, 1), _whole("vote_ms", vote_ms, 1)
        self._flush, self._gossip = _whole("flush_ms", flush_ms, 1), _whole("gossip_ms", gossip_ms, 1)
        self._commit, self._cache = _whole("commit_ms", commit_ms, 0), _whole("cache", cache, 0)
        self._resends = _whole("resends", resends, 0)
        answer_s, resend_s = _whole("answer_ms", answer_ms, 1) / 1000, _whole("resend_ms", resend_ms, 0) / 1000
        self._expects_once = expects_once
        self.replica = _replicas(roster.tribe, twins)
        self._validators = {r: keys.Key.of(seed, "validator", r) for r in dict.fromkeys(self.replica.values())}
        self._peers = {node: keys.Key.of(seed, "node", node) for node in roster.tribe}
        names = {key.address.upper(): replica for replica, key in self._validators.items()}
        self._reader = Reader(names)
        self._client = Client(self._way, self._reads, self._resends, answer_s, resend_s)

    def programs(self, site: Site) -> Sequence[Program]:
        chain = keys.genesis(keys.chain_id(self.seed), self._validators)
        return [self._program(site, node, chain) for node in site.nodes]

    def _program(self, site: Site, node: str, genesis: bytes) -> Program:
        files = {
            "config/genesis.json": genesis,
            "config/node_key.json": keys.node_key(self._peers[node]),
            "config/priv_validator_key.json": keys.validator_key(self._validators[self.replica[node]]),
            "config/config.toml": self._config(site, node),
            "data/priv_validator_state.json": keys.validator_state(),
        }
        return Program(node, (site.binary(COMETBFT.name), "start", "--home", site.home(node)), files)

    def _config(self, site: Site, node: str) -> bytes:
        others = [(self._peers[peer], "{}:{}".format(*site.dial(node, peer))) for peer in site.nodes if peer != node]
        time_outs = {"propose": self._propose, "prevote": self._vote, "precommit": self._vote, "commit": self._commit}
        sections: dict[str, dict[str, Any]] = {
            "rpc": {"laddr": "tcp://{}:{}".format(*site.listen(node, rpc.RPC)), "max_subscription_clients": 500},
            "p2p": {
                "laddr": "tcp://{}:{}".format(*site.listen(node, P2P)),
                "persistent_peers": keys.peers(others),
                "pex": False,
                "addr_book_strict": False,  # loopback and test networks
                "allow_duplicate_ip": True,
                "flush_throttle_timeout": f"{self._flush}ms",
            },
            "mempool": {"cache_size": self._cache},
            "consensus": {
                **{f"timeout_{name}": f"{ms}ms" for name, ms in time_outs.items()},
                "skip_timeout_commit": self._commit == 0,
                "peer_gossip_sleep_duration": f"{self._gossip}ms",
            },
        }
        return keys.toml(sections, {"moniker": node, "proxy_app": "kvstore", "log_level": "error"})

    async def status(self, node: Node, since: int) -> Report | None:
        try:
            events, leader = await self._reader.events(node, since, await rpc.height(node))
        except (rpc.RpcError, KeyError):  # it answers, and is not ready to tell: the next look finds out
            return None
        seen = max((e["height"] for e in events if e["event"] == "finalise"), default=since)
        return Report(seen, seen, leader, events)

    async def perform(self, operation: Operation, node: Node) -> Outcome:
        return await self._client.perform(operation, node)

    def beyond(self, crashes: int) -> Sequence[str]:
        validators, corrupt = len(self._validators), {self.replica[node] for node in self.roster.byzantine}
        bound = (validators - 1) // 3
        reasons = []
        if len(corrupt) + crashes > bound:
            told = f"{len(corrupt)} corrupted and {crashes} crashed of {validators} validators"
            reasons.append(f"{told}, bound {bound}")
        if self._reads == "local":
            reasons.append("a node's own state may be old: reads of it are not linearizable")
        if self._resends or self._expects_once or not self._cache:
            reasons.append("the key-value store applies the same bytes as often as they are in a block")
        return reasons

    def describe(self) -> dict[str, Any]:
        said = {node: self._validators[replica] for node, replica in self.replica.items()}
        return {
            "chain_id": keys.chain_id(self.seed),
            "validators": {node: {"key": key.public.hex(), "power": keys.POWER} for node, key in said.items()},
            "version": VERSION,
        }


def _replicas(nodes: Sequence[str], twins: Sequence[Sequence[str]]) -> dict[str, str]:
    """Node -> the node whose key it votes with. Raises ValueError."""
    replica = {node: node for node in nodes}
    paired: list[str] = []
    for pair in twins:
        if not isinstance(pair, Sequence) or isinstance(pair, str) or len(pair) != 2 or not {*pair} <= {*nodes}:
            raise ValueError(f'twins = {list(twins)!r}: give pairs of nodes, such as [["n3", "n4"]]')
        paired += pair
        replica[pair[1]] = pair[0]
    if len(paired) != len(set(paired)):
        raise ValueError(f"twins = {list(twins)!r}: no node may be in two pairs, or twice in one")
    return replica


def _one_of(name: str, value: str, choices: Sequence[str]) -> str:
    if value not in choices:
        raise ValueError(f"{name} = {value!r}: give one of {', '.join(choices)}")
    return value


def _whole(name: str, value: int, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ValueError(f"{name} = {value!r}: give a whole number from {least} up")
    return value
