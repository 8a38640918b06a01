"""Addresses and paths of a system that is not ours: as its programs see them, and as the harness reaches its nodes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import msgspec

from faults.port import NodeId
from harness.backends.port import Requests
from harness.http import UnansweredError
from harness.targets.debian import NSS_WRAPPER
from harness.targets.port import OPERATION_S, Address


class Dials(Protocol):
    """What a site needs of the links (harness.backends.program_cluster.ProgramLinks)."""

    def dial(self, source: NodeId, node: NodeId) -> Address: ...

    def shared(self, node: NodeId) -> Address: ...

    def resolver(self, node: NodeId, wrapper: str) -> Mapping[str, str]: ...


class ProgramSite(msgspec.Struct, frozen=True):
    """See `port.Site`. `addresses`: (node, port name) -> where it listens."""

    nodes: tuple[NodeId, ...]
    seed: int
    homes: Mapping[NodeId, str]
    binaries: Mapping[str, str]
    addresses: Mapping[tuple[NodeId, str], Address]
    links: Dials
    peer: str  # name of the peer port

    def binary(self, name: str) -> str:
        """See `port.Site`."""
        try:
            return self.binaries[name]
        except KeyError:
            raise KeyError(f"no program {name!r}; this target declares {', '.join(self.binaries)}") from None

    def home(self, node: NodeId) -> str:
        """See `port.Site`."""
        return self.homes[node]

    def listen(self, node: NodeId, port: str) -> Address:
        """See `port.Site`."""
        return self.addresses[node, port]

    def dial(self, source: NodeId, node: NodeId) -> Address:
        """See `port.Site`."""
        return self.addresses[node, self.peer] if source == node else self.links.dial(source, node)

    def shared(self, node: NodeId) -> Address:
        """See `port.Site`."""
        return self.links.shared(node)

    def resolver(self, node: NodeId) -> Mapping[str, str]:
        """See `port.Site`."""
        return self.links.resolver(node, self.binary(NSS_WRAPPER.name))


class ProgramNode:
    """See `port.Node`."""

    def __init__(self, node: NodeId, addresses: Mapping[tuple[NodeId, str], Address], http: Requests) -> None:
        self.id = node
        self.http = http
        self._addresses = addresses

    def address(self, port: str) -> Address:
        """See `port.Node`."""
        return self._addresses[self.id, port]

    def url(self, port: str) -> str:
        """See `port.Node`."""
        host, number = self.address(port)
        return f"http://{host}:{number}"

    async def ask(
        self, port: str, path: str, body: Any = None, timeout_s: float = OPERATION_S
    ) -> tuple[int, dict[str, Any]]:
        """See `port.Node`."""
        method, data = ("GET", b"") if body is None else ("POST", msgspec.json.encode(body))
        status, reply = await self.http.request(method, self.url(port), path, data, timeout_s)
        try:
            return status, msgspec.json.decode(reply, type=dict[str, Any])
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            said = reply[:120].decode(errors="replace")
            raise UnansweredError(f"{self.id} answered {status} with no JSON object: {said}") from error
