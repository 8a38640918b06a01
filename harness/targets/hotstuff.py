"""The target `hotstuff`: chained HotStuff of the crate `hotstuff_rs` 0.4.0, unmodified, in a small process of ours.

The process (hotstuff_replica/) brings what the crate asks of its users: links, a store and an application.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any, ClassVar

import msgspec
from nacl.signing import SigningKey

from faults.port import NodeId, Roster
from harness.genesis import derive
from harness.provision.cargo import CargoProgram
from harness.targets.packaged import Packaged
from harness.targets.port import Node, Operation, Outcome, Program, Report, Site, Target, finalised

CRATE = "hotstuff_rs 0.4.0"
REPLICA = CargoProgram("hotstuff-replica", CRATE, Path(__file__).parent / "hotstuff_replica")
CHAIN = 7  # the replica's CHAIN_ID: every vote signs it
BLOCKS = 200  # read back in one look
READS = ("ordered", "local")
# A block commits when certificates of three views in a row stand on one another; the leader of a view gathers the votes
# of the view before. So three leaders in a row must be up, and a fourth: with four replicas, all of them.
STREAK = 4


class HotStuff(Target):
    """HotStuff-rs with registers and lists; its blocks and quorum certificates are read back and verified."""

    name: ClassVar[str] = "hotstuff"
    binaries: ClassVar[tuple[Packaged, ...]] = (REPLICA,)
    ports: ClassVar[tuple[str, ...]] = ("peer", "client")
    workloads: ClassVar[tuple[str, ...]] = ("registers", "lists", "register-transactions")
    checkers: ClassVar[tuple[str, ...]] = ("fork", "prefix", "liveness", "hotstuff-certificates")
    least: ClassVar[int] = 1
    patience_s: ClassVar[float] = 10.0  # with one of five down, a block takes two to six seconds
    makes_blocks: ClassVar[bool] = True

    def __init__(
        self,
        roster: Roster,
        seed: int,
        reads: str = "ordered",
        as_published: bool = False,
        view_s: int = 1,
        epoch: int = 1,
        idle_ms: int = 100,
        busy_ms: int = 20,
    ) -> None:
        """`reads`: ordered puts them in a block like writes; local answers them, and transactions that only read, from
        what the asked replica has committed. `as_published`: three defects of the crate are not mended from outside
        (docs/hotstuff.md). `view_s`: time-out of a view (whole seconds: the crate rounds down). `epoch`: every how many
        views replicas time out together, by a certificate; the time-outs of the views between add up, so that a dead
        leader may cost `epoch` of them. A leader waits `busy_ms` before it proposes, and `idle_ms` if nobody asks for
        anything."""
        super().__init__(roster, seed)
        if reads not in READS:
            raise ValueError(f"reads = {reads!r}: give one of {', '.join(READS)}")
        self._reads, self._as_published = reads, bool(as_published)
        self._view_s, self._epoch = _whole("view_s", view_s, 1), _whole("epoch", epoch, 1)
        self._idle_ms, self._busy_ms = _whole("idle_ms", idle_ms, 0), _whole("busy_ms", busy_ms, 0)
        self._numbers = count(1)
        # The crate lets validators lead in the order of their public keys: make that the order of the nodes.
        keys = sorted((SigningKey(derive(seed, "hotstuff", node)) for node in roster.tribe), key=_public)
        self.keys = dict(zip(roster.tribe, keys, strict=True))

    # ------------------------------------------------------------ 1. what to start
    def programs(self, site: Site) -> Sequence[Program]:
        return [self._program(site, node) for node in site.nodes]

    def _program(self, site: Site, node: NodeId) -> Program:
        listen, client = ("{}:{}".format(*site.listen(node, port)) for port in self.ports)
        config = {
            "me": node,
            "secret": self.keys[node].encode().hex(),
            "listen": listen,
            "client": client,
            "data": f"{site.home(node)}/data",
            "peers": [
                {"name": peer, "public": _public(self.keys[peer]), "address": "{}:{}".format(*site.dial(node, peer))}
                for peer in site.nodes
            ],
            "view_time_s": self._view_s,
            "epoch_length": self._epoch,
            "idle_ms": self._idle_ms,
            "busy_ms": self._busy_ms,
            "as_published": self._as_published,
        }
        file = "replica.json"
        arguments = (site.binary(REPLICA.name), f"{site.home(node)}/{file}")
        return Program(node, arguments, {file: msgspec.json.format(msgspec.json.encode(config), indent=1)})

    # ------------------------------------------------------------ 2. what it says of itself
    async def status(self, node: Node, since: int) -> Report | None:
        code, said = await node.ask("client", f"/status?from={since}&limit={BLOCKS}")
        if code != 200:
            return None
        height = 0 if said["height"] is None else said["height"] + 1  # the crate counts blocks from 0
        if self._as_published:
            height = max(height, 1)  # who missed the first block never has it: that it is up must do for ready
        return Report(height, said["view"], self._leader(said["view"]), [self._block(b) for b in said["blocks"]])

    def _block(self, block: Mapping[str, Any]) -> dict[str, Any]:
        return finalised(
            block["height"] + 1,
            block["hash"],
            block["justify"]["block"],  # zeros for the first one
            view=block["view"],
            proposer=self._leader(block["view"]),
            transactions=[command["id"] for command in msgspec.json.decode(block["data"])],
            **{name: block[name] for name in ("certificate", "justify", "data_hash", "data")},
        )

    def _leader(self, view: int) -> NodeId:
        return self.roster.tribe[view % len(self.roster.tribe)]

    # ------------------------------------------------------------ 3. what clients ask for
    async def perform(self, operation: Operation, node: Node) -> Outcome:
        if operation.observes and self._reads == "local":
            return await self._read(operation, node)
        identity = hashlib.sha256(f"{self.seed} {node.id} {next(self._numbers)}".encode()).hexdigest()
        body = {"id": identity, **_command(operation)}
        code, said = await node.ask("client", "/command", body, self.patience_s)
        if code == 200:
            return _ended(operation, said["result"], identity)
        kind: Any = (
            "fail" if code == 400 else "info"
        )  # 400: not even read; 504: not committed in time, but it may yet be
        return Outcome(kind, error=f"{code}: {said.get('error', said)}", tx=identity)

    async def _read(self, operation: Operation, node: Node) -> Outcome:
        """What the node itself has committed, all of one moment: however old that is."""
        transaction = operation.f == "txn"
        keys = [key for _, key, _ in operation.value] if transaction else operation.value[:1]
        code, said = await node.ask("client", f"/local?keys={','.join(map(str, keys))}")
        if code != 200:
            return Outcome("fail", error=f"{code}: {said.get('error', said)}")
        found = list(zip(keys, said["results"], strict=True))
        return Outcome("ok", [["r", key, value] for key, value in found] if transaction else list(found[0]))

    def beyond(self, crashes: int) -> Sequence[str]:
        replicas = len(self.roster.tribe)
        bound, down = (replicas - 1) // 3, len(self.roster.byzantine) + crashes
        reasons = [f"{down} of {replicas} may be down or corrupt, bound {bound}"] if down > bound else []
        if crashes and -(-(replicas - crashes) // crashes) < STREAK:
            told = f"{crashes} of {replicas} down can leave no {STREAK} leaders in a row"
            reasons.append(f"{told}, and chained HotStuff commits nothing without")
        if self._as_published:
            reasons.append(f"{CRATE} gives blocks to replicas that ask for them without their data")
        if self._reads == "local":
            reasons.append("a replica's own committed state may be old: reads of it are not linearizable")
        return reasons

    def describe(self) -> dict[str, Any]:
        return {
            "crate": CRATE,
            "chain": CHAIN,
            "validators": {node: {"key": _public(key), "power": 1} for node, key in self.keys.items()},
            "as_published": self._as_published,
        }


def _command(operation: Operation) -> dict[str, Any]:
    """As the replica reads it (hotstuff_replica/src/command.rs); its keys are strings."""
    if operation.f == "txn":
        return {"f": "txn", "ops": [[kind, str(key), value] for kind, key, value in operation.value]}
    key, value = operation.value
    if operation.f == "cas":
        return {"f": "cas", "key": str(key), "old": value[0], "new": value[1]}
    return {"f": operation.f, "key": str(key), **({"value": value} if operation.f == "write" else {})}


def _ended(operation: Operation, result: Any, tx: str) -> Outcome:
    """What a committed command's result means."""
    if operation.f == "cas" and result is not True:
        return Outcome("fail", error="the register held something else", tx=tx)
    if operation.f == "read":
        return Outcome("ok", [operation.value[0], result], tx=tx)
    if operation.f == "txn":
        done = [[kind, key, shown] for (kind, key, _), (_, _, shown) in zip(operation.value, result, strict=True)]
        return Outcome("ok", done, tx=tx)
    return Outcome("ok", tx=tx)


def _public(key: SigningKey) -> str:
    return bytes(key.verify_key).hex()


def _whole(name: str, value: int, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ValueError(f"{name} = {value!r}: give a whole number from {least} up")
    return value
