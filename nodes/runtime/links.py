"""All links of one node: a listener that authenticates who dials it, one outgoing link per peer, and their counters."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections import OrderedDict
from collections.abc import Callable

from nodes.committee import Committee
from nodes.crypto import Domain, Signer, Verifier
from nodes.messages import MAX_FRAME_BYTES, DecodeError, Message, NodeId, decode, encode
from nodes.runtime.framing import FrameBuffer, FrameError, frame
from nodes.runtime.handshake import MAX_HELLO_BYTES, NONCE_BYTES, check_hello, hello
from nodes.runtime.outgoing import KEEP_ALIVE_S, Outgoing, keep_alive_time, set_user_timeout

MAX_PENDING = 64  # connections that have not introduced themselves; the oldest is closed for a new one
HELLO_S = 10.0  # generous: a slow link delays the hello, and pending connections are few and small
_QUIET_TICKS = 30  # half-open connections are forgotten after 15 s without a keep-alive

Deliver = Callable[[NodeId, Message], None]
Reject = Callable[[str, str], None]  # reason, sender


class Links:
    """What the shell sees of the network. Everything sent in one turn of the loop leaves at `flush`.

    `deliver(peer, message)` is called for every message of an authenticated peer, `reject(reason, sender)` for every
    input refused; hostile input never raises and is never kept.
    """

    def __init__(
        self,
        me: NodeId,
        committee: Committee,
        domain: Domain,
        signer: Signer,
        verifier: Verifier,
        peers: dict[NodeId, tuple[str, int]],
        deliver: Deliver,
        reject: Reject,
    ) -> None:
        self.me = me
        self.committee = committee
        self.deliver = deliver
        self.reject = reject
        self.received: dict[NodeId, int] = dict.fromkeys(sorted(peers), 0)
        self.delay_us: dict[NodeId, int] = dict.fromkeys(sorted(peers), -1)  # of the last keep-alive
        self._domain = domain
        self._verifier = verifier
        self._dirty: list[Outgoing] = []
        self._links = {
            peer: Outgoing(
                peer,
                peers[peer],
                lambda nonce, peer=peer: hello(me, peer, nonce, domain, signer),  # type: ignore[misc]
                self._dirty,
            )
            for peer in sorted(peers)
        }
        self._groups: dict[str, tuple[Outgoing, ...]] = {}
        self._last: tuple[Message | None, bytes] = (None, b"")
        self._pending: OrderedDict[_Incoming, None] = OrderedDict()
        self._incoming: dict[NodeId, _Incoming] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._server: asyncio.Server | None = None
        self._ticker: asyncio.TimerHandle | None = None

    # ---------------------------------------------------------------- life
    async def start(self, listener: socket.socket) -> None:
        """Listen on a bound socket, dial every peer, and keep at it."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Incoming(self), sock=listener, backlog=256)
        self._tasks = [loop.create_task(link.run(), name=f"link to {peer}") for peer, link in self._links.items()]
        self._ticker = loop.call_later(KEEP_ALIVE_S, self._tick)

    async def close(self, deliver_queued: bool = True) -> None:
        """Send what is queued (unless told not to; at most half a second), then close everything."""
        drains: list[asyncio.Task[None]] = []
        if deliver_queued:
            self.flush()
            drains = [asyncio.create_task(link.drain()) for link in self._links.values()]
        if drains:
            await asyncio.wait(drains, timeout=0.5)
        if self._ticker is not None:
            self._ticker.cancel()
        if self._server is not None:
            self._server.close()
        for task in (*drains, *self._tasks):
            task.cancel()
        await asyncio.gather(*drains, *self._tasks, return_exceptions=True)
        for incoming in (*self._pending, *self._incoming.values()):
            incoming.abort()

    # ---------------------------------------------------------------- out
    def send(self, to: NodeId, message: Message) -> None:
        """Queue `message` for one peer. Something that cannot be sent is a `reject` of our own."""
        link = self._links.get(to)
        if link is None:
            self.reject(f"cannot send to {to!r}: no such peer", self.me)
            return
        data = self._encode(message)
        if data:
            link.offer(data)

    def multicast(self, group: str, message: Message) -> None:
        """Queue `message`, encoded once, for every member of `group` but us. Raises KeyError on an unknown group."""
        links = self._groups.get(group)
        if links is None:
            members = self.committee.members(group)
            links = self._groups[group] = tuple(self._links[m] for m in members if m in self._links)
        data = self._encode(message)
        if data:
            for link in links:
                link.offer(data)

    def flush(self) -> None:
        """One write per link that has something to say."""
        if self._dirty:
            dirty = self._dirty[:]
            self._dirty.clear()
            for link in dirty:
                link.flush()

    def _encode(self, message: Message) -> bytes:
        """The frame; the same object sent to many in a row is encoded once. Empty if it is too large to send."""
        if message is self._last[0]:
            return self._last[1]
        body = encode(message)
        if len(body) > MAX_FRAME_BYTES:
            self.reject(f"own message of {len(body)} bytes exceeds the limit of {MAX_FRAME_BYTES}; not sent", self.me)
            return b""
        data = frame(body)
        self._last = (message, data)
        return data

    # ---------------------------------------------------------------- counters
    def counts(self) -> dict[NodeId, dict[str, int]]:
        """Per peer: sent (attempts to it), received (from it), refused (dials that failed), dropped (queue full),
        delay_us (one way, of the last keep-alive from it, true where both share a monotonic clock; -1: none yet)."""
        return {
            peer: {
                "sent": link.sent,
                "received": self.received[peer],
                "refused": link.refused,
                "dropped": link.dropped,
                "delay_us": self.delay_us[peer],
            }
            for peer, link in self._links.items()
        }

    def connected(self) -> list[NodeId]:
        """Peers to whom our connection is up."""
        return [peer for peer, link in self._links.items() if link.up]

    # ---------------------------------------------------------------- in (called by _Incoming)
    def admit(self, connection: _Incoming) -> None:
        """A connection was made; make room for it among those that have not introduced themselves."""
        while len(self._pending) >= MAX_PENDING:
            oldest, _ = self._pending.popitem(last=False)
            oldest.refuse("too many connections without a hello")
        self._pending[connection] = None

    def introduce(self, connection: _Incoming, data: bytes) -> NodeId | None:
        """Check a hello; a newer connection of the same peer replaces the older one."""
        peer, fault = check_hello(data, self.me, connection.nonce, self.committee, self._domain, self._verifier)
        if fault or peer not in self.received:
            connection.refuse(fault or f"hello from {peer!r}, which is not a configured peer")
            return None
        self._pending.pop(connection, None)
        older = self._incoming.get(peer)
        self._incoming[peer] = connection
        if older is not None:
            older.abort()
        return peer

    def forget(self, connection: _Incoming) -> None:
        """The connection is gone."""
        self._pending.pop(connection, None)
        if connection.peer is not None and self._incoming.get(connection.peer) is connection:
            del self._incoming[connection.peer]

    def _tick(self) -> None:
        now_ns = time.monotonic_ns()
        for link in self._links.values():
            link.tick(now_ns)
        self.flush()
        for connection in tuple(self._incoming.values()):
            connection.quiet += 1
            if connection.quiet > _QUIET_TICKS:
                connection.abort()
        self._ticker = asyncio.get_running_loop().call_later(KEEP_ALIVE_S, self._tick)


class _Incoming(asyncio.BufferedProtocol):
    """The receiving half of a link, or somebody who pretends to be one."""

    def __init__(self, links: Links) -> None:
        self.nonce = os.urandom(NONCE_BYTES)
        self.peer: NodeId | None = None
        self.quiet = 0  # ticks since something arrived
        self._links = links
        self._buffer = FrameBuffer(MAX_HELLO_BYTES, self._frame)
        self._transport: asyncio.Transport | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._address = "?"

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        host, port = (transport.get_extra_info("peername") or ("?", 0))[:2]
        self._address = f"{host}:{port}"
        set_user_timeout(transport)
        self._links.admit(self)
        self._deadline = asyncio.get_running_loop().call_later(HELLO_S, self.refuse, "no hello in time")
        transport.write(frame(self.nonce))

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._buffer.room()

    def buffer_updated(self, nbytes: int) -> None:
        self.quiet = 0
        try:
            self._buffer.received(nbytes)
        except FrameError as error:
            self.refuse(str(error))

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, error: Exception | None) -> None:
        self._stop()
        self._links.forget(self)

    def refuse(self, reason: str) -> None:
        """Count, trace, close."""
        self._links.reject(reason, self.peer or self._address)
        self.abort()

    def abort(self) -> None:
        """Close without ceremony and hear nothing more."""
        self._stop()
        if self._transport is not None:
            self._transport.abort()

    def _stop(self) -> None:
        self._buffer.stop()
        if self._deadline is not None:
            self._deadline.cancel()

    def _frame(self, body: memoryview) -> None:
        peer = self.peer
        if peer is None:
            self.peer = self._links.introduce(self, bytes(body))
            if self.peer is not None and self._deadline is not None:
                self._deadline.cancel()
                self._buffer.limit = MAX_FRAME_BYTES
            return
        self._links.received[peer] += 1
        if len(body) == 8:
            sent_ns = keep_alive_time(body)
            if sent_ns is not None:
                self._links.delay_us[peer] = max(0, time.monotonic_ns() - sent_ns) // 1000
                return
        try:
            message = decode(body)
        except DecodeError as error:
            self.refuse(f"undecodable message: {error}")
            return
        self._links.deliver(peer, message)
