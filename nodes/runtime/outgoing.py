"""The sending half of a link: dial, say who we are, then nothing but frames; queue while it is down."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections import deque
from collections.abc import Callable

from nodes.messages import NodeId
from nodes.runtime.framing import HEADER_BYTES, frame
from nodes.runtime.handshake import NONCE_BYTES

KEEP_ALIVE_S = 0.5
DEAD_PEER_S = 3.0
MAX_QUEUED = 10_000
MAX_QUEUED_BYTES = 16 * 1024 * 1024

_FIRST_BACK_OFF_S = 0.05
_LAST_BACK_OFF_S = 0.5
_STABLE_S = 1.0  # a connection that lived that long earns a quick reconnect
_HANDSHAKE_S = (
    1.0,
    1.0,
    1.0,
    5.0,
)  # mostly impatient, because a SYN into a cut is lost; sometimes patient, for slow links
_HIGH_WATER = 1024 * 1024
_CHUNK = 1024 * 1024


def keep_alive(now_ns: int) -> bytes:
    """A frame whose body is CLOCK_MONOTONIC when it left: 8 bytes, the first zero (no message begins so).

    On one machine the receiver reads the link's one-way delay off it.
    """
    return frame((now_ns & (2**56 - 1)).to_bytes(8, "big"))


def keep_alive_time(body: memoryview) -> int | None:
    """The time in a keep-alive's body, None if it is not one."""
    return int.from_bytes(body, "big") if len(body) == 8 and body[0] == 0 else None


class Outgoing:
    """One directed link, us -> peer. Counters: `sent` attempts, `refused` failed dials, `dropped` queue overflows."""

    def __init__(
        self, peer: NodeId, address: tuple[str, int], answer: Callable[[bytes], bytes], dirty: list[Outgoing]
    ) -> None:
        self.peer = peer
        self.sent = 0
        self.refused = 0
        self.dropped = 0
        self._address = address
        self._answer = answer  # nonce -> hello
        self._dirty = dirty  # links with something to flush at the end of this turn
        self._marked = False
        self._queue: deque[bytes] = deque()
        self._queued = 0
        self._protocol: _Dialler | None = None
        self._stuck = 0
        self._accepted = -1

    @property
    def up(self) -> bool:
        """Is the connection established and introduced?"""
        return self._protocol is not None

    @property
    def backlog(self) -> tuple[int, int]:
        """(messages, bytes) waiting in the queue."""
        return len(self._queue), self._queued

    def offer(self, data: bytes) -> None:
        """Queue one frame; it leaves at the next `flush`. The oldest are dropped when the queue is full."""
        self.sent += 1
        self._queue.append(data)
        self._queued += len(data)
        while self._queued > MAX_QUEUED_BYTES or len(self._queue) > MAX_QUEUED:
            self._queued -= len(self._queue.popleft())
            self.dropped += 1
        if not self._marked:
            self._marked = True
            self._dirty.append(self)

    def flush(self) -> None:
        """Hand everything queued to the connection in as few writes as possible; nothing while it is down or full."""
        self._marked = False
        protocol, queue = self._protocol, self._queue
        if protocol is None:
            return
        while queue and not protocol.paused:
            if self._queued <= _CHUNK:
                data = queue[0] if len(queue) == 1 else b"".join(queue)
                queue.clear()
                self._queued = 0
            else:
                data = queue.popleft()
                self._queued -= len(data)
            protocol.write(data)

    def tick(self, now_ns: int) -> None:
        """Every KEEP_ALIVE_S: one keep-alive, and close a connection that takes no bytes any more."""
        protocol = self._protocol
        if protocol is None:
            self.sent += 1  # an attempt on a link that is down counts: that is how a cut is seen to bite
            return
        if protocol.unsent() and protocol.accepted() == self._accepted:
            self._stuck += 1
            if self._stuck * KEEP_ALIVE_S >= DEAD_PEER_S:
                protocol.abort()
        else:
            self._stuck = 0
        self._accepted = protocol.accepted()
        self.offer(keep_alive(now_ns))

    async def run(self) -> None:
        """Keep the link up until cancelled."""
        back_off, attempt = _FIRST_BACK_OFF_S, 0
        loop = asyncio.get_running_loop()
        while True:
            protocol = _Dialler(self._introduce, self.flush)
            try:
                async with asyncio.timeout(_HANDSHAKE_S[attempt % len(_HANDSHAKE_S)]):
                    await loop.create_connection(lambda p=protocol: p, *self._address)  # type: ignore[misc]
                    await protocol.introduced
            except OSError:  # TimeoutError is one
                self.refused += 1
                attempt += 1
                protocol.abort()
            except asyncio.CancelledError:
                protocol.abort()
                raise
            else:
                since = loop.time()
                self._stuck, self._accepted = 0, -1
                self._protocol = protocol
                self.flush()
                try:
                    await protocol.lost
                finally:
                    self._protocol = None
                    protocol.abort()
                attempt = 0
                if loop.time() - since > _STABLE_S:
                    back_off = _FIRST_BACK_OFF_S
            await asyncio.sleep(back_off)
            back_off = min(2 * back_off, _LAST_BACK_OFF_S)

    async def drain(self) -> None:
        """Wait until the connection has taken everything (or is gone)."""
        while self._protocol is not None and (self._queue or self._protocol.unsent()):
            self.flush()
            await asyncio.sleep(0.01)

    def _introduce(self, nonce: bytes) -> bytes:
        return frame(self._answer(nonce))


class _Dialler(asyncio.Protocol):
    """Waits for the nonce, answers it, then only writes. Anything more from the listener is a violation: close."""

    def __init__(self, answer: Callable[[bytes], bytes], resume: Callable[[], None]) -> None:
        loop = asyncio.get_running_loop()
        self.introduced: asyncio.Future[None] = loop.create_future()
        self.lost: asyncio.Future[None] = loop.create_future()
        self.paused = False
        self._answer = answer
        self._resume = resume
        self._heard = b""
        self._written = 0
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.set_write_buffer_limits(high=_HIGH_WATER)
        set_user_timeout(transport)

    def data_received(self, data: bytes) -> None:
        self._heard += data
        expected = HEADER_BYTES + NONCE_BYTES
        if self.introduced.done() or len(self._heard) > expected:
            self.abort()
        elif len(self._heard) == expected:
            if self._heard[:HEADER_BYTES] != NONCE_BYTES.to_bytes(HEADER_BYTES, "big"):
                self.abort()
                return
            self.write(self._answer(self._heard[HEADER_BYTES:]))
            self.introduced.set_result(None)

    def eof_received(self) -> bool:
        return False  # a listener that is done with us: close

    def connection_lost(self, error: Exception | None) -> None:
        if not self.introduced.done():
            self.introduced.set_exception(ConnectionResetError("closed before the handshake was over"))
            self.introduced.exception()  # seen, even if nobody waits for it any more
        if not self.lost.done():
            self.lost.set_result(None)

    def pause_writing(self) -> None:
        self.paused = True

    def resume_writing(self) -> None:
        self.paused = False
        self._resume()

    def write(self, data: bytes) -> None:
        if self._transport is not None:
            self._written += len(data)
            self._transport.write(data)

    def unsent(self) -> int:
        """Bytes that the kernel has not taken yet."""
        return self._transport.get_write_buffer_size() if self._transport is not None else 0

    def accepted(self) -> int:
        """Bytes that the kernel has taken so far."""
        return self._written - self.unsent()

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()


def set_user_timeout(transport: asyncio.BaseTransport) -> None:
    """Let the kernel close a connection whose data stays unacknowledged for DEAD_PEER_S (Linux)."""
    connection = transport.get_extra_info("socket")
    option = getattr(socket, "TCP_USER_TIMEOUT", None)
    if connection is not None and option is not None:
        with contextlib.suppress(OSError):  # a peer that is gone already
            connection.setsockopt(socket.IPPROTO_TCP, option, int(DEAD_PEER_S * 1000))
