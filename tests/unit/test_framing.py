"""Frames survive any way of cutting the stream up; a frame above the limit is refused before it is kept."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nodes.runtime.framing import FrameBuffer, FrameError, frame

LARGE = 300_000


def feed(buffer: FrameBuffer, data: bytes, sizes: list[int]) -> None:
    """Write `data` as an event loop would: at most what there is room for, in pieces of the given sizes, cycled."""
    at = turn = 0
    while at < len(data):
        room = buffer.room()
        count = min(len(room), len(data) - at, sizes[turn % len(sizes)])
        room[:count] = data[at : at + count]
        buffer.received(count)
        at += count
        turn += 1


@settings(max_examples=60, deadline=None)
@given(
    bodies=st.lists(st.one_of(st.binary(max_size=40), st.integers(1, 200_000).map(bytes)), max_size=8),
    sizes=st.lists(st.integers(1, 100_000), min_size=1, max_size=5),
)
def test_any_chunking_yields_the_same_frames(bodies: list[bytes], sizes: list[int]) -> None:
    heard: list[bytes] = []
    buffer = FrameBuffer(LARGE, lambda view: heard.append(bytes(view)))
    sizes = [max(s, sum(map(len, bodies)) // 2000) for s in sizes]  # keeps one-byte pieces of large bodies affordable
    feed(buffer, b"".join(frame(b) for b in bodies), sizes)
    assert heard == bodies


def test_a_frame_above_the_limit_is_refused_by_its_header_alone() -> None:
    buffer = FrameBuffer(100, lambda view: pytest.fail("delivered"))
    with pytest.raises(FrameError, match="101 bytes exceeds the limit of 100"):
        feed(buffer, (101).to_bytes(4, "big"), [4])


def test_an_announced_frame_costs_only_what_has_arrived() -> None:
    buffer = FrameBuffer(8 * 1024 * 1024, lambda view: None)
    feed(buffer, (8 * 1024 * 1024).to_bytes(4, "big") + bytes(10), [14])
    assert buffer.capacity <= 4096


def test_memory_of_a_large_frame_is_given_back() -> None:
    buffer = FrameBuffer(8 * 1024 * 1024, lambda view: None)
    feed(buffer, frame(bytes(2_000_000)), [65536])
    assert buffer.capacity <= 65536


def test_the_limit_may_change_between_frames_and_stop_silences_the_rest() -> None:
    heard: list[int] = []

    def deliver(view: memoryview) -> None:
        heard.append(len(view))
        buffer.limit = 1000
        if len(heard) == 2:
            buffer.stop()

    buffer = FrameBuffer(10, deliver)
    feed(buffer, frame(bytes(10)) + frame(bytes(900)) + frame(bytes(5)), [10_000])
    assert heard == [10, 900]
