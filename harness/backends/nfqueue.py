"""Linux NFQUEUE over a raw netlink socket: packets of one queue come in, verdicts go out in batches.

Only the IPv4 header is copied from the kernel; the packet itself stays there until its verdict. Layouts are those of
<linux/netfilter/nfnetlink_queue.h>.
"""

from __future__ import annotations

import os
import socket
import struct
import sys
from collections.abc import Iterable, Iterator
from typing import NamedTuple

NETLINK_NETFILTER = 12
SOL_NETLINK = 270
NETLINK_NO_ENOBUFS = 5
SO_RCVBUFFORCE = 33
SUBSYSTEM = 3 << 8
PACKET, VERDICT, CONFIG = SUBSYSTEM | 0, SUBSYSTEM | 1, SUBSYSTEM | 2
NLMSG_ERROR = 2
REQUEST, ACK = 1, 4
# attributes of configuration, verdict and packet messages
CFG_CMD, CFG_PARAMS, CFG_QUEUE_MAXLEN, CFG_MASK, CFG_FLAGS = 1, 2, 3, 4, 5
PACKET_HDR, VERDICT_HDR, PACKET_MARK, PAYLOAD = 1, 2, 3, 10
BIND, COPY_PACKET = 1, 2
FAIL_OPEN, GSO = 1, 4
DROP, ACCEPT = 0, 1
HEADER_BYTES = 20  # of the IPv4 header
NAMED = struct.Struct("=IHHII")  # length, type, flags, sequence, port
BATCH = 512  # verdicts per send
QUEUE_LENGTH = 65_536


_PACKET = struct.pack("=H", PACKET)
_ID = struct.pack("=HH", 11, PACKET_HDR)
_HEADER = struct.pack("=HH", 4 + HEADER_BYTES, PAYLOAD)


class Packet(NamedTuple):
    """One queued packet: its id in the queue, IPv4 addresses (4 bytes each), length in bytes, and its mark (which only
    `parse(..., marked=True)` reads)."""

    id: int
    source: bytes
    target: bytes
    length: int
    mark: int = 0


def attribute(kind: int, data: bytes) -> bytes:
    """One netlink attribute, padded."""
    return struct.pack("=HH", 4 + len(data), kind) + data + b"\0" * (-len(data) % 4)


def message(kind: int, queue: int, attributes: bytes, flags: int = REQUEST) -> bytes:
    """One nfnetlink message to a queue."""
    body = struct.pack(">BBH", socket.AF_UNSPEC, 0, queue) + attributes
    return NAMED.pack(NAMED.size + len(body), kind, flags, 0, 0) + body


def configuration(queue: int) -> list[bytes]:
    """The messages that bind `queue` to this socket: headers only, no segmentation, accept when it overflows."""
    flags = struct.pack(">I", FAIL_OPEN | GSO)
    return [
        message(CONFIG, queue, attribute(CFG_CMD, struct.pack(">BBH", BIND, 0, socket.AF_INET)), REQUEST | ACK),
        message(
            CONFIG,
            queue,
            attribute(CFG_PARAMS, struct.pack(">IB", HEADER_BYTES, COPY_PACKET))
            + attribute(CFG_QUEUE_MAXLEN, struct.pack(">I", QUEUE_LENGTH))
            + attribute(CFG_MASK, flags)
            + attribute(CFG_FLAGS, flags),
            REQUEST | ACK,
        ),
    ]


def parse(data: bytes, marked: bool = False) -> Iterator[Packet]:
    """The IPv4 packets in what one receive gave; other messages are skipped. `marked`: with their marks."""
    # The usual case, twice as fast: one packet, its id in the first attribute and the IPv4 header in the last.
    usual = data[4:6] == _PACKET and data[20:24] == _ID and data[-24:-20] == _HEADER and data[:4] == _length(data)
    if usual and not marked and data[-20] >> 4 == 4:
        yield Packet(int.from_bytes(data[24:28], "big"), data[-8:-4], data[-4:], data[-18] << 8 | data[-17])
        return
    start = 0
    while start + NAMED.size <= len(data):
        length, kind = struct.unpack_from("=IH", data, start)
        if length < NAMED.size:
            return
        if kind == PACKET:
            packet = _packet(data, start + NAMED.size + 4, min(start + length, len(data)))
            if packet is not None:
                yield packet
        start += length + (-length % 4)


def _length(data: bytes) -> bytes:
    return len(data).to_bytes(4, sys.byteorder)


def _packet(data: bytes, start: int, end: int) -> Packet | None:
    number, mark, header = -1, 0, b""
    while start + 4 <= end:
        length, kind = struct.unpack_from("=HH", data, start)
        if length < 4:
            break
        if kind == PACKET_HDR:
            (number,) = struct.unpack_from(">I", data, start + 4)
        elif kind == PACKET_MARK:
            (mark,) = struct.unpack_from(">I", data, start + 4)
        elif kind == PAYLOAD:
            header = data[start + 4 : start + length]
        start += length + (-length % 4)
    if number < 0:
        return None
    if len(header) < HEADER_BYTES or header[0] >> 4 != 4:
        return Packet(number, b"", b"", 0, mark)
    return Packet(number, header[12:16], header[16:20], header[2] << 8 | header[3], mark)


class Queue:
    """One bound queue. `queue` is its number. Raises OSError (EPERM without root, EBUSY or EPERM if it is taken)."""

    def __init__(self, queue: int, marked: bool = False) -> None:
        self.queue = queue
        self._marked = marked
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETLINK_NETFILTER)
        try:
            self._socket.setsockopt(SOL_NETLINK, NETLINK_NO_ENOBUFS, 1)
            self._socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 32 << 20)
            self._socket.bind((0, 0))
            for text in configuration(queue):
                self._socket.send(text)
                self._acknowledged()
        except OSError:
            self._socket.close()
            raise
        self._socket.setblocking(False)
        prefix = message(VERDICT, queue, b"")
        size = len(prefix) + 12
        self._verdicts = {
            v: NAMED.pack(size, VERDICT, REQUEST, 0, 0)
            + prefix[NAMED.size :]
            + struct.pack("=HH", 12, VERDICT_HDR)
            + struct.pack(">I", v)
            for v in (DROP, ACCEPT)
        }

    def fileno(self) -> int:
        """For select."""
        return self._socket.fileno()

    def receive(self, limit: int = 256) -> Iterator[Packet]:
        """The packets that have come in, at most about `limit`; never blocks."""
        for _ in range(limit):
            try:
                data = self._socket.recv(4096)
            except BlockingIOError:
                return
            yield from parse(data, self._marked)

    def verdict(self, ids: Iterable[int], verdict: int) -> None:
        """Let packets go, in the order given, or drop them."""
        prefix = self._verdicts[verdict]
        texts = [prefix + i.to_bytes(4, "big") for i in ids]
        for start in range(0, len(texts), BATCH):
            self._socket.send(b"".join(texts[start : start + BATCH]))

    def _acknowledged(self) -> None:
        data = self._socket.recv(4096)
        _, kind = struct.unpack_from("=IH", data)
        (code,) = struct.unpack_from("=i", data, NAMED.size) if kind == NLMSG_ERROR else (0,)
        if code:
            raise OSError(-code, f"binding NFQUEUE {self.queue}: {os.strerror(-code)}")
