"""etcd's members, changed while it runs: the optional part of its target (`port.Membership`)."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from faults.port import NodeId
from harness.targets.port import Node, Program, Site

PATIENCE = 20  # times one second


class EtcdMembers(ABC):
    """A member that joins is told of all, itself included, and that they exist already."""

    @abstractmethod
    def program(self, site: Site, node: NodeId, members: Sequence[NodeId], state: str) -> Program:
        """See `etcd.Etcd`."""

    async def members(self, via: Node) -> Sequence[NodeId]:
        """Their names; one that was added and has not started yet has none."""
        return [member["name"] for member in await _members(via) if member.get("name")]

    async def remove(self, member: NodeId, via: Node) -> None:
        """By its number; nothing to do for one that is no member."""
        for known in await _members(via):
            if known.get("name") == member:
                await _change(via, "remove", {"ID": known["ID"]})

    async def admit(self, newcomer: NodeId, via: Node, site: Site) -> Program:
        """Add it by its address."""
        host, port = site.shared(newcomer)
        others = [name for name in await self.members(via) if name != newcomer]
        await _change(via, "add", {"peerURLs": [f"http://{host}:{port}"]})
        return self.program(site, newcomer, [*others, newcomer], "existing")


async def _members(via: Node) -> list[dict[str, Any]]:
    code, said = await via.ask("client", "/v3/cluster/member/list", {})
    if code != 200:
        raise ConnectionError(f"{via.id}: {said.get('error', code)}")
    return list(said.get("members", ()))


async def _change(via: Node, what: str, body: dict[str, Any]) -> None:
    """It refuses while a member has been connected for less than five seconds: then ask again."""
    for _ in range(PATIENCE):
        code, said = await via.ask("client", f"/v3/cluster/member/{what}", body, timeout_s=10.0)
        if code == 200:
            return
        if "unhealthy" not in str(said.get("error")):
            break
        await asyncio.sleep(1.0)
    raise ConnectionError(f"{via.id} did not {what} the member: {said.get('error', code)}")
