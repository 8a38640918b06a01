"""The netlink codec of the delay daemon."""

from __future__ import annotations

import struct

from hypothesis import given, settings
from hypothesis import strategies as st

from harness.backends.nfqueue import (
    BIND,
    CONFIG,
    NAMED,
    PACKET,
    PACKET_HDR,
    PAYLOAD,
    Packet,
    attribute,
    configuration,
    message,
    parse,
)


def queued(number: int, source: bytes, target: bytes, length: int, extra: bytes = b"") -> bytes:
    header = bytes([0x45, 0]) + length.to_bytes(2, "big") + bytes(8) + source + target
    packet = attribute(PACKET_HDR, struct.pack(">IHB", number, 0x0800, 2))
    return message(PACKET, 7, packet + extra + attribute(PAYLOAD, header))


def test_several_messages_in_one_datagram() -> None:
    first = queued(
        1, bytes([198, 18, 0, 2]), bytes([198, 18, 0, 3]), 1500, attribute(5, b"\0\0\0\1") + attribute(9, b"x")
    )
    second = queued(2, bytes([198, 18, 0, 3]), bytes([198, 18, 0, 2]), 40)
    error = struct.pack("=IHHII", 20, 2, 0, 0, 0) + struct.pack("=i", -2)
    assert list(parse(first + error + second)) == [
        Packet(1, bytes([198, 18, 0, 2]), bytes([198, 18, 0, 3]), 1500),
        Packet(2, bytes([198, 18, 0, 3]), bytes([198, 18, 0, 2]), 40),
    ]


def test_one_packet_alone_is_read_the_same_way_as_among_others() -> None:
    alone = queued(77, bytes([198, 18, 0, 2]), bytes([198, 18, 0, 3]), 1500, attribute(9, b"timestamp"))
    assert (
        list(parse(alone))
        == list(parse(alone + message(CONFIG, 7, b"")))
        == [Packet(77, bytes([198, 18, 0, 2]), bytes([198, 18, 0, 3]), 1500)]
    )


def test_what_is_not_ipv4_still_gets_an_id_so_that_it_gets_a_verdict() -> None:
    packet = attribute(PACKET_HDR, struct.pack(">IHB", 9, 0x86DD, 2)) + attribute(PAYLOAD, b"\x60" + bytes(19))
    assert list(parse(message(PACKET, 7, packet))) == [Packet(9, b"", b"", 0)]


def test_attributes_are_padded_to_four_bytes() -> None:
    assert attribute(3, b"abcde") == struct.pack("=HH", 9, 3) + b"abcde\0\0\0"


def test_binding_names_the_queue_and_asks_for_an_answer() -> None:
    bind, parameters = configuration(513)
    length, kind, flags, _, _ = NAMED.unpack_from(bind)
    assert (length, kind, flags) == (len(bind), CONFIG, 5)
    assert bind[NAMED.size + 2 : NAMED.size + 4] == (513).to_bytes(2, "big")
    assert bind[NAMED.size + 8] == BIND
    assert len(parameters) == NAMED.unpack_from(parameters)[0]


@settings(max_examples=100)
@given(st.binary(max_size=200))
def test_no_datagram_makes_the_parser_raise_or_hang(data: bytes) -> None:
    list(parse(data))
    list(parse(message(PACKET, 1, data)))
