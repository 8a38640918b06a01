"""etcd 3.4 as Debian packages it: a replicated key-value store on Raft, asked through its JSON gateway."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from faults.port import Capability, NodeId, Roster
from harness.targets.debian import NSS_WRAPPER, DebianPackage
from harness.targets.etcd_members import EtcdMembers
from harness.targets.packaged import Packaged
from harness.targets.port import GO_KEEPS_ITS_CLOCK, Node, Operation, Outcome, Program, Report, Site, Target

RETRIES = 5  # of a transaction whose keys somebody else changed meanwhile
BINARY = DebianPackage("etcd", "3.4", "etcd-server", "usr/bin/etcd")


class Etcd(EtcdMembers, Target):
    """`serializable_reads`: a node answers reads from what it has, without asking the others. `blind_appends`: lists
    are written back without looking whether they are still what was read. Both are known to be wrong for what the
    checkers ask."""

    name: ClassVar[str] = "etcd"
    binaries: ClassVar[tuple[Packaged, ...]] = (BINARY, NSS_WRAPPER)
    ports: ClassVar[tuple[str, ...]] = ("peer", "client")
    workloads: ClassVar[tuple[str, ...]] = ("registers", "lists", "register-transactions")
    checkers: ClassVar[tuple[str, ...]] = ("liveness",)  # it has no blocks; the workload's own checker comes with it
    refuses: ClassVar[Mapping[Capability, str]] = {
        Capability.CLOCK: GO_KEEPS_ITS_CLOCK,
        Capability.WIPE: "a member that lost its disk never starts again; fault membership has it join anew",
    }

    def __init__(
        self, roster: Roster, seed: int, serializable_reads: bool = False, blind_appends: bool = False
    ) -> None:
        super().__init__(roster, seed)
        self._serializable_reads = serializable_reads
        self._blind_appends = blind_appends
        self._names: dict[str, NodeId] = {}  # etcd's own number of a member -> node

    # ------------------------------------------------------------ 1. what to start
    def programs(self, site: Site) -> Sequence[Program]:
        return [self.program(site, node, site.nodes, "new") for node in site.nodes]

    def program(self, site: Site, node: NodeId, members: Sequence[NodeId], state: str) -> Program:
        """One node that begins with these members; all members must be told the same addresses."""
        urls = {member: "http://{}:{}".format(*site.shared(member)) for member in members}
        peer, client = ("http://{}:{}".format(*site.listen(node, port)) for port in self.ports)
        arguments = (
            site.binary("etcd"), "--name", node, "--data-dir", f"{site.home(node)}/data/etcd", "--logger", "zap",
            "--listen-peer-urls", peer, "--initial-advertise-peer-urls", urls[node],
            "--listen-client-urls", client, "--advertise-client-urls", client,
            "--initial-cluster", ",".join(f"{member}={url}" for member, url in urls.items()),
            "--initial-cluster-state", state, "--initial-cluster-token", f"moonquake-{site.seed}",
        )  # fmt: skip
        return Program(node, arguments, environment=site.resolver(node))

    # ------------------------------------------------------------ 2. what it says of itself
    async def status(self, node: Node, since: int) -> Report | None:
        code, said = await node.ask("client", "/v3/maintenance/status", {})
        if code != 200:
            return None
        self._names[said["header"]["member_id"]] = node.id
        leader = self._names.get(said.get("leader", ""), "")
        return Report(int(said.get("raftAppliedIndex", 0)), int(said.get("raftTerm", 0)), leader)

    # ------------------------------------------------------------ 3. what clients ask for
    async def perform(self, operation: Operation, node: Node) -> Outcome:
        if operation.f == "txn":
            return await self._transaction(operation, node)
        key, value = operation.value
        if operation.f == "read":
            ((_, found),) = (await self._read([key], node)).values()
            return Outcome("ok", [key, found])
        if operation.f == "write":
            return _ended(*await node.ask("client", "/v3/kv/put", {"key": _key(key), "value": _value(value)}))
        old, new = value
        guard = {"key": _key(key), "target": "VALUE", "value": _value(old)}
        return _ended(*await self._commit(node, [guard], {key: new}))

    async def _transaction(self, operation: Operation, node: Node) -> Outcome:
        """Read all keys at once; then, if anything is to be written, write it back unless a key has changed since."""
        for _ in range(RETRIES):
            try:
                found = await self._read(sorted({key for _, key, _ in operation.value}), node)
            except ConnectionError as error:
                return Outcome("fail", error=f"nothing was written yet: {error}")
            done, changed, lists = [], {}, {key: value for key, (_, value) in found.items()}
            for kind, key, value in operation.value:
                if kind != "r":
                    lists[key] = changed[key] = value if kind == "w" else [*(lists[key] or []), value]
                done.append([kind, key, lists[key] if kind == "r" else value])
            if not changed:
                return Outcome("ok", done)
            guards = [{"key": _key(k), "target": "MOD", "mod_revision": str(found[k][0])} for k in found]
            outcome = _ended(*await self._commit(node, [] if self._blind_appends else guards, changed))
            if outcome.kind != "fail":
                return Outcome(outcome.kind, done if outcome.kind == "ok" else None, outcome.error)
        return Outcome("fail", error=f"others were faster, {RETRIES} times")

    async def _read(self, keys: Sequence[int], node: Node) -> dict[int, tuple[int, Any]]:
        """Key -> (revision of its last change, value); (0, None) for one that is not there."""
        ranges = [{"requestRange": {"key": _key(k), "serializable": self._serializable_reads}} for k in keys]
        code, said = await node.ask("client", "/v3/kv/txn", {"success": ranges})
        if code != 200:
            raise ConnectionError(f"{node.id}: {said.get('error', code)}")
        rows = [one["response_range"].get("kvs", [{"mod_revision": 0}])[0] for one in said["responses"]]
        return {key: (int(row["mod_revision"]), _decoded(row)) for key, row in zip(keys, rows, strict=True)}

    async def _commit(
        self, node: Node, guards: Sequence[Mapping[str, Any]], values: Mapping[int, Any]
    ) -> tuple[int, dict[str, Any]]:
        puts = [{"requestPut": {"key": _key(key), "value": _value(value)}} for key, value in values.items()]
        code, said = await node.ask("client", "/v3/kv/txn", {"compare": guards, "success": puts})
        return code, {"succeeded": False, **said} if code == 200 else said

    def beyond(self, crashes: int) -> Sequence[str]:
        bound = (len(self.roster.tribe) - 1) // 2
        told = [f"{crashes} of {len(self.roster.tribe)} may be down, bound {bound}"] if crashes > bound else []
        told += ["serializable reads may be stale, by etcd's own documents"] if self._serializable_reads else []
        return told + (["lists are written back without a comparison"] if self._blind_appends else [])


def _ended(code: int, said: Mapping[str, Any]) -> Outcome:
    """An answer that is no success leaves open what became of a write; a comparison that failed does not."""
    if code != 200:
        return Outcome("info", error=f"{code}: {said.get('error', said)}")
    return Outcome("ok") if said.get("succeeded", True) else Outcome("fail", error="the comparison failed")


def _key(key: int) -> str:
    return base64.b64encode(f"key-{key}".encode()).decode()


def _value(value: Any) -> str:
    return base64.b64encode(json.dumps(value).encode()).decode()


def _decoded(row: Mapping[str, Any]) -> Any:
    return json.loads(base64.b64decode(row["value"])) if "value" in row else None
