"""Frames on a byte stream: 4-byte big-endian length, then the body. Sans I/O.

The length is checked before anything of the body is kept, and the buffer grows only as bytes really arrive, so a peer
that announces 8 MiB and sends ten bytes costs ten bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

HEADER_BYTES = 4
_SMALL = 4 * 1024  # what a connection that has not said anything yet may cost
_LARGE = 64 * 1024  # a busy link reads that much at a time
_length_at = struct.Struct(">I").unpack_from


class FrameError(ValueError):
    """The peer announced a frame above the limit; the stream is of no more use."""


def frame(body: bytes) -> bytes:
    """`body` with its length in front."""
    return len(body).to_bytes(HEADER_BYTES, "big") + body


class FrameBuffer:
    """Collects bytes and delivers whole frames, as an asyncio.BufferedProtocol wants it: `room`, then `received`.

    `deliver` gets each body as a memoryview that is valid only during the call. `limit` is the largest body accepted;
    it may be changed between frames, also from within `deliver`. After `stop()` nothing more is delivered.
    """

    __slots__ = ("_data", "_deliver", "_end", "_start", "_stopped", "_view", "limit")

    def __init__(self, limit: int, deliver: Callable[[memoryview], None]) -> None:
        self.limit = limit
        self._deliver = deliver
        self._data = bytearray(_SMALL)
        self._view = memoryview(self._data)
        self._start = 0  # first byte not delivered
        self._end = 0  # first free byte
        self._stopped = False

    @property
    def capacity(self) -> int:
        """Bytes of memory held."""
        return len(self._data)

    def stop(self) -> None:
        """Deliver nothing any more (the connection is being closed)."""
        self._stopped = True

    def room(self) -> memoryview:
        """Where the next bytes go; never empty."""
        return self._view[self._end :]

    def received(self, count: int) -> None:
        """`count` bytes were written to `room()`. Raises FrameError on a frame above the limit."""
        view, data, start, end = self._view, self._data, self._start, self._end + count
        need = HEADER_BYTES
        while end - start >= HEADER_BYTES:
            length: int = _length_at(data, start)[0]
            if length > self.limit:
                self._stopped = True
                raise FrameError(f"frame of {length} bytes exceeds the limit of {self.limit}")
            need = HEADER_BYTES + length
            if end - start < need:
                break
            self._deliver(view[start + HEADER_BYTES : start + need])
            if self._stopped:
                return
            start += need
            need = HEADER_BYTES
        self._start, self._end = start, end
        self._make_room(need)

    def _make_room(self, need: int) -> None:
        kept, capacity = self._end - self._start, len(self._data)
        if kept == 0:
            full = self._end == capacity
            self._start = self._end = 0
            if capacity > _LARGE:
                self._resize(_LARGE)
            elif full and capacity < _LARGE:
                self._resize(capacity * 2)
        elif kept == capacity:  # one frame longer than the buffer
            self._resize(min(max(need, 2 * capacity), max(_LARGE, 2 * capacity)))
        elif self._start and (self._end == capacity or self._start + need > capacity):
            self._resize(capacity)

    def _resize(self, capacity: int) -> None:
        """Move what is kept to the front of a buffer of `capacity` bytes (the old one if the size is the same)."""
        kept = self._view[self._start : self._end]
        size = len(kept)
        if capacity == len(self._data):
            self._view[:size] = bytes(kept)
        else:
            fresh = bytearray(capacity)
            fresh[:size] = kept
            self._data, self._view = fresh, memoryview(fresh)
        self._start, self._end = 0, size
