"""The few encodings that CometBFT hashes and signs: protocol buffers (as gogoproto writes them) and Merkle roots.

Source: CometBFT specification v0.38, "Data structures" and "Encoding"; the tree is that of RFC 6962.
"""

from __future__ import annotations

import calendar
import hashlib
import re
from collections.abc import Sequence

from checkers.evidence import EvidenceError

_TIME = re.compile(r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?Z")
_VARINT, _FIXED64, _BYTES = 0, 1, 2


def varint(number: int) -> bytes:
    """Base 128, least significant group first; a negative number as its 64 bit two's complement."""
    number &= (1 << 64) - 1
    groups = bytearray()
    while number > 0x7F:
        groups.append(number & 0x7F | 0x80)
        number >>= 7
    groups.append(number)
    return bytes(groups)


def whole(field: int, number: int) -> bytes:
    """A varint field; nothing for 0, as proto3 has it."""
    return varint(field << 3 | _VARINT) + varint(number) if number else b""


def fixed(field: int, number: int) -> bytes:
    """An sfixed64 field; nothing for 0."""
    return varint(field << 3 | _FIXED64) + number.to_bytes(8, "little", signed=True) if number else b""


def data(field: int, content: bytes) -> bytes:
    """A bytes or string field; nothing when it is empty."""
    return nested(field, content) if content else b""


def nested(field: int, message: bytes) -> bytes:
    """An embedded message that is never left out, even when it is empty (gogoproto: not nullable)."""
    return varint(field << 3 | _BYTES) + varint(len(message)) + message


def delimited(message: bytes) -> bytes:
    """A message after its length, as votes are signed."""
    return varint(len(message)) + message


def timestamp(text: str) -> bytes:
    """A google.protobuf.Timestamp of an RFC 3339 time in UTC. Raises EvidenceError."""
    seconds, nanos = instant(text)
    return whole(1, seconds) + whole(2, nanos)


def instant(text: str) -> tuple[int, int]:
    """(seconds since 1970, nanoseconds) of an RFC 3339 time in UTC. Raises EvidenceError."""
    found = _TIME.fullmatch(text)
    if found is None:
        raise EvidenceError(f"{text!r} is no RFC 3339 time in UTC")
    *parts, fraction = found.groups()
    try:
        seconds = calendar.timegm(tuple(int(part) for part in parts))
    except ValueError as error:
        raise EvidenceError(f"{text!r} is no time: {error}") from error
    return seconds, int((fraction or "0").ljust(9, "0"))


def merkle_root(items: Sequence[bytes]) -> bytes:
    """SHA-256 over 0x00 | leaf and 0x01 | left | right; the left subtree is the largest full one."""
    if not items:
        return hashlib.sha256(b"").digest()
    if len(items) == 1:
        return hashlib.sha256(b"\0" + items[0]).digest()
    left = 1 << (len(items) - 1).bit_length() - 1
    return hashlib.sha256(b"\1" + merkle_root(items[:left]) + merkle_root(items[left:])).digest()
